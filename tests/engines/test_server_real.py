"""The engine over HTTP against a real `vllm serve`, on a tiny model."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("vllm")

import httpx

from r4agent.engines import Checkpoint, Request, Sampling, Shown
from r4agent.engines.chatml import ChatML
from r4agent.engines.server import ServerEngine
from r4agent.errors import RunError, UsageError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("served")]

SIZES = {"wide": (128, 64), "tall": (64, 160), "small": (64, 64)}


class Pictures:
    """Makes them, and notes which were asked for."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, ref: str) -> Image.Image:
        self.loaded.append(ref)
        return Image.effect_noise(SIZES[ref.split(":")[1]], 60).convert("RGB")


@pytest.fixture(scope="module")
def engine(served: Callable[[str], str], tiny: Callable[[str], Path]) -> Iterator[ServerEngine]:
    engine = ServerEngine(Checkpoint.load(tiny("qwen3_vl")), served("qwen3_vl"))
    yield engine
    engine.close()


def request(
    engine: ServerEngine, load: Pictures, *names: str, text: str = "Hi", **sampling: object
) -> Request:
    """names: like `wide:1`; the size, and what makes it another picture."""
    know = engine.checkpoint
    ids = know.tokenizer.encode(text).ids
    shown = []
    for name in names:
        ids += [know.token("<|vision_start|>"), know.image_token, know.token("<|vision_end|>")]
        width, height = SIZES[name.split(":")[0]]
        shown.append(Shown(f"img:{name}", (1, height // know.patch, width // know.patch)))
    return Request(tuple(ids), tuple(shown), load, Sampling(**{"max_tokens": 12, **sampling}))  # type: ignore[arg-type]


def gauge(engine: ServerEngine, name: str) -> float:
    lines = httpx.get(f"{engine.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}{{"))


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("names", [(), ("wide:1",), ("wide:1", "tall:2", "small:3"), ("tall:4", "tall:4")])
def test_the_prompt_that_it_saw_is_the_one_meant(engine: ServerEngine, names: tuple[str, ...]) -> None:
    asked = request(engine, Pictures(), *names)
    sample = engine.submit(asked).result(60)
    assert list(sample.prompt) == ChatML(engine.checkpoint).expand(asked.ids, asked.pictures)
    assert len(sample.ids) == len(sample.logprobs)
    assert sample.cached is not None


def test_a_picture_is_sent_once_and_again_when_forgotten(engine: ServerEngine) -> None:
    pictures = Pictures()
    asked = request(engine, pictures, "wide:20", "small:21")
    first = engine.submit(asked).result(60)
    second = engine.submit(asked).result(60)
    assert (second.ids, second.prompt) == (first.ids, first.prompt)
    assert pictures.loaded == ["img:wide:20", "img:small:21"]
    httpx.post(f"{engine.url}/reset_mm_cache").raise_for_status()
    third = engine.submit(asked).result(60)
    assert third.prompt == first.prompt
    assert pictures.loaded == ["img:wide:20", "img:small:21"] * 2


def test_another_clients_picture_is_known_by_its_id(engine: ServerEngine) -> None:
    pictures = Pictures()
    engine.submit(request(engine, pictures, "wide:30")).result(60)
    other = ServerEngine(engine.checkpoint, engine.url)
    other.submit(request(other, pictures, "wide:30", "small:31")).result(60)
    other.close()
    assert pictures.loaded == ["img:wide:30", "img:wide:30", "img:small:31"]


def test_image_tokens_are_never_sampled(engine: ServerEngine) -> None:
    asked = request(engine, Pictures(), "wide:40", max_tokens=200, temperature=1.0)
    samples = [future.result(120) for future in [engine.submit(asked) for _ in range(24)]]
    said = [ident for sample in samples for ident in sample.ids]
    assert len(said) > 1000
    assert not set(said) & set(engine.checkpoint.banned)
    assert len({sample.ids for sample in samples}) == len(samples)


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0])
def test_logprobs_are_the_models_own(engine: ServerEngine, temperature: float) -> None:
    """What was sampled, given as a prompt, is as likely."""
    asked = request(engine, Pictures(), "wide:50", "tall:51", max_tokens=24, temperature=temperature)
    sample = engine.submit(asked).result(60)
    parts = [{"type": "image_url", "url": None, "uuid": shown.ref} for shown in asked.pictures]
    body = {
        "token_ids": [*asked.ids, *sample.ids],
        "content_parts": parts,
        "sampling_params": {"max_tokens": 1, "prompt_logprobs": 0},
    }
    answer = httpx.post(f"{engine.url}/inference/v1/generate", json=body, timeout=60).json()
    scored = [
        next(iter(entry.values()))["logprob"] for entry in answer["prompt_logprobs"][-len(sample.ids) :]
    ]
    assert list(sample.logprobs) == pytest.approx(scored, abs=1e-4)


def test_tokens_are_told_one_by_one(engine: ServerEngine) -> None:
    told: list[tuple[int, ...]] = []
    sample = engine.submit(request(engine, Pictures()), told.append).result(60)
    assert told[-1] == sample.ids
    assert [ids == sample.ids[: len(ids)] for ids in told] == [True] * len(told)
    assert len(told) > 2


def test_a_schema_holds_and_stops_stop(engine: ServerEngine) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    schema["additionalProperties"] = False
    forced = {
        "json_schema": schema,
        "max_tokens": 1000,
        "temperature": 1.0,
        "seed": 1,
    }  # greedy writes only spaces
    sample = engine.submit(request(engine, Pictures(), **forced)).result(60)
    said = engine.checkpoint.tokenizer.decode(list(sample.ids))
    assert '"a"' in said
    assert sample.finish == "stop"
    stopped = engine.submit(request(engine, Pictures(), stop=('"a',), **forced)).result(60)
    assert engine.checkpoint.tokenizer.decode(list(stopped.ids)).endswith('"a')


def test_cancelling_frees_the_server(engine: ServerEngine) -> None:
    endless = {"type": "string", "minLength": 8000}
    future = engine.submit(request(engine, Pictures(), "wide:60", json_schema=endless, max_tokens=8000))
    assert eventually(lambda: gauge(engine, "num_requests_running") == 1)
    made = gauge(engine, "generation_tokens_total")
    assert future.cancel()
    assert eventually(lambda: gauge(engine, "num_requests_running") == 0)
    assert gauge(engine, "generation_tokens_total") - made < 4000


def test_a_seed_is_taken(engine: ServerEngine) -> None:
    asked = request(engine, Pictures(), "small:70", temperature=1.0, seed=7)
    assert engine.submit(asked).result(60).ids == engine.submit(asked).result(60).ids


def test_too_long_a_prompt(engine: ServerEngine) -> None:
    for names, length in (((), 20000), (("small:75",), 20003)):
        with pytest.raises(
            RunError, match=rf"a prompt of {length} tokens, and it takes 16383.*--max-model-len"
        ):
            engine.submit(request(engine, Pictures(), *names, text="x" * 20000)).result(60)


def test_a_new_picture_of_a_prompt_too_long_does_no_harm(engine: ServerEngine) -> None:
    """vLLM's front end then takes it for sent, and its engine has never seen it."""
    pictures = Pictures()
    with pytest.raises(RunError, match="--max-model-len"):
        engine.submit(request(engine, pictures, "wide:80", text="x" * 16380)).result(60)
    assert engine.submit(request(engine, pictures, "wide:80")).result(60).finish


def test_too_many_pictures(engine: ServerEngine) -> None:
    with pytest.raises(RunError, match=r"more pictures .* than the 48 .*--limit-mm-per-prompt"):
        engine.submit(request(engine, Pictures(), *[f"small:{n}" for n in range(100, 149)])).result(60)


def test_a_reply_ends_where_the_context_does(engine: ServerEngine) -> None:
    endless = {"type": "string", "minLength": 8000}
    asked = request(engine, Pictures(), text="x" * 16300, json_schema=endless, max_tokens=4000)
    sample = engine.submit(asked).result(60)
    assert (sample.finish, len(sample.ids)) == ("length", 84)


def test_what_it_serves(engine: ServerEngine) -> None:
    assert (engine.served().model, engine.served().context) == ("tiny", 16384)
    other = ServerEngine(engine.checkpoint, f"{engine.url}/v1", model="huge")
    with pytest.raises(UsageError, match="one of those it serves: tiny"):
        other.submit(request(engine, Pictures())).result(60)
    other.close()
