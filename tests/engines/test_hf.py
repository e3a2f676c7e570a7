"""The transformers engine: what it samples is what the model says, in any batch; an error ends one request
only."""

import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from r4agent.engines import Checkpoint, Request, Shown
from r4agent.engines.hf import TransformersEngine
from r4agent.errors import MissingError, RunError, UsageError

Tiny = Callable[[str], Path]
Ask = Callable[..., Request]


@pytest.fixture
def engine(family: str, transformers_engine: Callable[[str], TransformersEngine]) -> TransformersEngine:
    return transformers_engine(family)


@contextmanager
def logits(engine: TransformersEngine, change: Callable[[Any], Any]) -> Iterator[None]:
    """The engine's model, its logits changed."""
    hook = engine.model.lm_head.register_forward_hook(lambda module, inputs, output: change(output))
    try:
        yield
    finally:
        hook.remove()


def favour(token: int) -> Callable[[Any], Any]:
    def change(output: Any) -> Any:
        output[..., token] += 50
        return output

    return change


def whole(engine: TransformersEngine, request: Request) -> dict[str, Any]:
    """A request as transformers' own methods take it."""
    import torch

    ids = torch.tensor([engine.submit(request).result(60).prompt])
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == engine.checkpoint.image_token).int(),
        "pixel_values": torch.cat([engine.pixels(picture, request.load) for picture in request.pictures]),
        "image_grid_thw": torch.tensor([picture.grid for picture in request.pictures]),
    }


@pytest.mark.parametrize("pictures", [1, 3])
def test_greedy_is_transformers_own(engine: TransformersEngine, ask: Ask, pictures: int) -> None:
    request = ask(pictures)
    sample = engine.submit(request).result(60)
    made = engine.model.generate(
        **whole(engine, request),
        max_new_tokens=12,
        do_sample=False,
        suppress_tokens=list(engine.checkpoint.banned),
    )
    assert sample.ids == tuple(made[0, len(sample.prompt) :].tolist())
    assert sample.finish == "length"


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_logprobs_are_those_of_one_pass_over_all(
    engine: TransformersEngine, ask: Ask, temperature: float
) -> None:
    import torch

    request = ask(2, temperature=temperature, top_p=0.9, seed=1)
    sample = engine.submit(request).result(60)
    inputs = whole(engine, request)
    ids = torch.tensor([sample.prompt + sample.ids])
    inputs |= {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == engine.checkpoint.image_token).int(),
    }
    with torch.no_grad():
        scores = engine.model(**inputs).logits[0].log_softmax(-1)
    place = len(sample.prompt) - 1
    expected = [scores[place + number, token].item() for number, token in enumerate(sample.ids)]
    assert sample.logprobs == pytest.approx(expected, abs=1e-5)


def test_a_batch_gives_what_each_gives_alone(engine: TransformersEngine, ask: Ask) -> None:
    """Text after pictures: what the model keeps of a batch must not move the positions of the next."""
    requests = [ask(count, chance=count, max_tokens=5 + count) for count in (5, 1, 0, 2, 3)]
    together = [future.result(60) for future in [engine.submit(request) for request in requests]]
    alone = [engine.submit(request).result(60) for request in requests]
    assert [sample.ids for sample in together] == [sample.ids for sample in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
    assert [len(sample.ids) for sample in alone] == [10, 6, 5, 7, 8]


def test_pictures_matter(engine: TransformersEngine, ask: Ask) -> None:
    """Else equal logprobs would say nothing about what is seen."""
    request, other = ask(2), ask(2, chance=1)
    swapped = dataclasses.replace(request, pictures=request.pictures[:1] + other.pictures[:1])
    swapped = dataclasses.replace(swapped, load=lambda ref: (request if ref in seen else other).load(ref))
    seen = {picture.ref for picture in request.pictures}
    first, second = (engine.submit(asked).result(60) for asked in (request, swapped))
    assert abs(first.logprobs[0] - second.logprobs[0]) > 0.01


def test_a_seed_holds_in_any_batch(engine: TransformersEngine, ask: Ask) -> None:
    asked = [ask(number % 3, temperature=1.0, seed=number) for number in range(4)]
    together = [future.result(60) for future in [engine.submit(request) for request in asked]]
    alone = [engine.submit(request).result(60) for request in reversed(asked)][::-1]
    assert [sample.ids for sample in together] == [sample.ids for sample in alone]
    other = [engine.submit(ask(1, temperature=1.0, seed=seed)).result(60).ids for seed in (None, None, 7)]
    assert len({*other, together[1].ids}) == 4


def test_requests_begun_together_make_the_same_batches_in_every_run(
    tiny: Tiny, family: str, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit: rounding depends on a batch's shape, which must not be luck."""
    from r4agent.engines import hf

    sizes: list[int] = []

    def noted(model: Any, checkpoint: Any, rows: Any) -> None:
        sizes.append(len(rows))
        decode(model, checkpoint, rows)

    decode = hf.decode
    monkeypatch.setattr(hf, "decode", noted)
    engine = TransformersEngine(Checkpoint.load(tiny(family)), batch=2)
    asked = [ask(number % 3, temperature=1.0, seed=number) for number in range(5)]
    runs = [[future.result(60) for future in engine.submit_all(asked)] for _ in range(2)]
    engine.close()
    assert sizes == [2, 2, 1] * 2
    assert runs[0] == runs[1]


def test_image_tokens_are_never_sampled_and_the_raw_logprob_shows_it(
    engine: TransformersEngine, ask: Ask
) -> None:
    with logits(engine, favour(engine.checkpoint.image_token)):
        for temperature in (0.0, 1.0):
            sample = engine.submit(ask(temperature=temperature)).result(60)
            assert not set(sample.ids) & set(engine.checkpoint.banned)
            assert max(sample.logprobs) < -40


def test_the_end_of_a_turn_is_kept(engine: TransformersEngine, ask: Ask) -> None:
    for name in ("<|im_end|>", "<|endoftext|>"):
        with logits(engine, favour(engine.checkpoint.token(name))):
            sample = engine.submit(ask()).result(60)
        assert (sample.ids, sample.finish) == ((engine.checkpoint.token(name),), "stop")


def test_stop_strings_end_a_reply_with_the_token_that_completes_them(
    engine: TransformersEngine, ask: Ask
) -> None:
    decode = engine.checkpoint.tokenizer.decode
    for seed in range(5):
        free = engine.submit(ask(temperature=1.0, seed=seed, max_tokens=40)).result(60)
        text = decode(list(free.ids), skip_special_tokens=False)
        stop = text[7:10]
        sample = engine.submit(ask(temperature=1.0, seed=seed, max_tokens=40, stop=("⌘⌘", stop))).result(60)
        assert sample.ids == free.ids[: len(sample.ids)]
        assert sample.finish == "stop"
        said = [decode(list(sample.ids[:end]), skip_special_tokens=False) for end in (-1, None)]
        assert stop not in said[0]
        assert stop in said[1]


def test_tokens_are_told_as_they_come(engine: TransformersEngine, ask: Ask) -> None:
    told: list[tuple[int, ...]] = []
    sample = engine.submit(ask(), told.append).result(60)
    assert told == [sample.ids[:end] for end in range(1, 13)]


def test_cancelling_one_leaves_the_others(engine: TransformersEngine, ask: Ask) -> None:
    told: list[int] = []
    ready = threading.Event()

    def tell(ids: tuple[int, ...]) -> None:
        ready.wait(60)
        told.append(len(ids))
        if len(ids) == 3:
            future.cancel()

    future = engine.submit(ask(2), tell)
    other = engine.submit(ask(1))
    ready.set()
    assert len(other.result(60).ids) == 12
    assert future.cancelled()
    assert told == [1, 2, 3]
    waiting = [engine.submit(ask(2)) for _ in range(3)]
    waiting[1].cancel()
    assert len(waiting[2].result(60).ids) == 12


def test_what_is_wrong_with_a_request_is_its_own_error(engine: TransformersEngine, ask: Ask) -> None:
    good = ask(2)
    picture = good.pictures[0]
    wide, high = good.load(picture.ref).size
    turned = (1, picture.grid[2], picture.grid[1] + 2)

    def nowhere(ref: str) -> Image.Image:
        raise KeyError("no such picture")

    def raising(ids: tuple[int, ...]) -> None:
        raise ZeroDivisionError("mine")

    change = dataclasses.replace
    size = engine.checkpoint.config["text_config"]["vocab_size"]
    long = good.ids + (5,) * engine.checkpoint.context
    gone = (Shown("img:gone", picture.grid),) * 2
    other = change(good, pictures=(Shown(picture.ref, turned), good.pictures[1]))
    wrong: list[tuple[Request, Any, type[Exception], str]] = [
        (ask(json_schema={}), None, UsageError, "JSON schema: use engine vllm or http"),
        (change(good, pictures=good.pictures[:1]), None, UsageError, "2 image tokens, and 1 pictures"),
        (change(good, ids=(*good.ids, size)), None, UsageError, f"from 0 to {size - 1}"),
        (change(good, ids=(), pictures=()), None, UsageError, "must have ids"),
        (change(good, ids=long), None, RunError, r"prompt of 3\d{4} tokens, .* takes 32767: lower"),
        (other, None, UsageError, f"{picture.ref}: {wide}x{high} is a grid of"),
        (
            change(good, pictures=gone, load=nowhere),
            None,
            RunError,
            "img:gone: could not be loaded: 'no such",
        ),
        (good, raising, RunError, "on_tokens failed: ZeroDivisionError: mine"),
    ]
    futures = [engine.submit(request, on_tokens) for request, on_tokens, *_ in wrong]
    fine = engine.submit(good)
    for future, (_, _, error, message) in zip(futures, wrong, strict=True):
        with pytest.raises(error, match=message):
            future.result(60)
    assert len(fine.result(60).ids) == 12


def test_a_reply_ends_where_the_context_does(engine: TransformersEngine, ask: Ask) -> None:
    request = ask(0, max_tokens=100)
    text = engine.checkpoint.config["text_config"] | {"max_position_embeddings": len(request.ids) + 2}
    short = dataclasses.replace(engine.checkpoint, config=engine.checkpoint.config | {"text_config": text})
    narrow = TransformersEngine(short, model=engine.model)
    try:
        sample = narrow.submit(request).result(60)
    finally:
        narrow.close()
    assert (len(sample.ids), sample.finish) == (2, "length")


def test_out_of_memory_and_nan_say_what_to_do(engine: TransformersEngine, ask: Ask) -> None:
    import torch

    def full(output: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with logits(engine, full):
        message = r"out of memory with \d requests of up to \d+ prompt tokens at once: .* smaller batch"
        for future in [engine.submit(ask(count)) for count in (1, 2)]:
            with pytest.raises(RunError, match=message):
                future.result(60)
    with logits(engine, lambda output: output * float("nan")), pytest.raises(RunError, match="NaN"):
        engine.submit(ask()).result(60)
    assert len(engine.submit(ask()).result(60).ids) == 12


def test_no_picture_is_processed_twice(engine: TransformersEngine, ask: Ask) -> None:
    request = ask(5, chance=11)
    before = engine.pixels.processed
    for _ in range(2):
        engine.submit(request).result(60)
    assert engine.pixels.processed - before == len({picture.ref for picture in request.pictures})


def test_a_trainers_model_is_left_as_it_was(tiny: Tiny, family: str, ask: Ask, engine: Any) -> None:
    import torch
    from transformers import AutoModelForImageTextToText

    class Wrapped(torch.nn.Module):
        """As peft or accelerate wrap a model."""

        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner, self.get_input_embeddings = inner, inner.get_input_embeddings

        def forward(self, **inputs: Any) -> Any:
            assert not self.training
            return self.inner(**inputs)

    model = AutoModelForImageTextToText.from_pretrained(tiny(family))
    model.gradient_checkpointing_enable()
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
    wrapped = Wrapped(model).train()
    model.lm_head.eval()
    modes = [module.training for module in wrapped.modules()]
    trainers = TransformersEngine(engine.checkpoint, model=wrapped)
    try:
        assert trainers.submit(ask(2)).result(60).ids == engine.submit(ask(2)).result(60).ids
    finally:
        trainers.close()
    assert [module.training for module in wrapped.modules()] == modes
    assert all(weight.grad is None and weight.requires_grad for weight in wrapped.parameters())


def test_a_model_of_another_family_is_refused(tiny: Tiny, engine: Any, family: str) -> None:
    import torch

    other = Checkpoint.load(tiny("qwen3_vl" if family == "qwen2_5_vl" else "qwen2_5_vl"))
    with pytest.raises(UsageError, match=f"is a '{family}', and .* a '{other.family}'"):
        TransformersEngine(other, model=engine.model)
    with pytest.raises(UsageError, match="is a 'Linear'"):
        TransformersEngine(other, model=torch.nn.Linear(1, 1))
    with pytest.raises(UsageError, match="batch 0"):
        TransformersEngine(other, batch=0)


def test_weights_that_are_not_there(tiny: Tiny, family: str, tmp_path: Path) -> None:
    for path in tiny(family).iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(MissingError, match="weights can't be loaded"):
        TransformersEngine(Checkpoint.load(tmp_path))


def test_closing_ends_what_runs_and_what_waits(tiny: Tiny, family: str, ask: Ask) -> None:
    engine = TransformersEngine(Checkpoint.load(tiny(family)), batch=1)
    begun, go_on = threading.Event(), threading.Event()

    def tell(ids: tuple[int, ...]) -> None:
        begun.set()
        go_on.wait(60)

    futures = [engine.submit(ask(max_tokens=1000), tell), engine.submit(ask())]
    begun.wait(60)
    closing = threading.Thread(target=engine.close)
    closing.start()
    go_on.set()
    closing.join(60)
    for future in [*futures, engine.submit(ask())]:
        with pytest.raises(RunError, match="the engine was closed"):
            future.result(60)
