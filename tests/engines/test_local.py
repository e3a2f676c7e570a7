"""vLLM in this process, on tiny models of both families: what it promises, and what it must survive."""

import asyncio
import contextlib
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from PIL import Image

from r4agent import Budget, Episode, create_rumination_graph
from r4agent.engines import Checkpoint, Request, Sampling, Shown
from r4agent.engines.chatml import ChatML
from r4agent.errors import R4Error, RunError, UsageError
from r4agent.ledger import Ledger
from r4agent.media.store import picture_ref
from r4agent.policy.chat import ChatR4

from ..conftest import needs

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("vllm")]
Tiny = Callable[[str], Path]
ARGS = {
    "max_model_len": 8192,
    "enforce_eager": True,
    "dtype": "float32",
    "max_num_seqs": 32,
    "limit_mm_per_prompt": {"image": 8, "video": 0},
}
ZOOM = {
    "type": "function",
    "function": {
        "name": "zoom",
        "description": "Zoom.",
        "parameters": {
            "type": "object",
            "properties": {"view": {"type": "integer", "minimum": 0, "maximum": 9}},
            "required": ["view"],
            "additionalProperties": False,
        },
    },
}

LONG = {"type": "string", "minLength": 6000}  # a reply that goes on until it is stopped


@pytest.fixture(scope="session")
def started() -> Iterator[Callable[..., Any]]:
    """From a checkpoint to its engine, begun once. They end together: vLLM keeps much of itself in globals,
    and the first that closes takes the others along."""
    needs("vllm")
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
    from r4agent.engines.local import VllmEngine

    running: list[VllmEngine] = []

    @cache
    def engine(checkpoint: Path) -> VllmEngine:
        running.append(VllmEngine(Checkpoint.load(checkpoint), **ARGS))
        return running[-1]

    yield engine
    for one in running:
        one.close()


@pytest.fixture
def engine(started: Callable[..., Any], tiny: Tiny, family: str) -> Any:
    return started(tiny(family))


@pytest.fixture
def qwen3(started: Callable[..., Any], tiny: Tiny) -> Any:
    """For what does not differ between families."""
    return started(tiny("qwen3_vl"))


def test_what_it_begins_with_on_a_cpu(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled, float32 stays float32; both can be said otherwise."""
    needs("vllm")
    from r4agent.engines import cpu
    from r4agent.engines.local import VllmEngine

    class Begun(Exception):
        pass

    def begin(weights: str, **settings: Any) -> None:
        raise Begun(settings["enforce_eager"], settings["dtype"])

    def settings(**engine_args: Any) -> str:
        with pytest.raises(RunError, match="vLLM did not start") as caught:
            VllmEngine(checkpoint, **engine_args)
        return str(caught.value.__cause__)

    cpu.prepare()
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        pytest.skip("vLLM computes on a GPU here")
    monkeypatch.setattr("vllm.LLM", begin)
    checkpoint = Checkpoint.load(tiny("qwen2_5_vl"))
    assert checkpoint.dtype == "float32"
    assert settings() == "(True, 'float32')"
    assert settings(enforce_eager=False, dtype="bfloat16") == "(False, 'bfloat16')"


class Album:
    """Pictures of noise, and how often each was loaded."""

    def __init__(self, checkpoint: Checkpoint, count: int, seed: int = 0) -> None:
        side = 4 * checkpoint.profile.grid
        noise = [
            Image.frombytes(
                "RGB", (side, side), bytes((i * i * (n + 7 + 10 * seed)) % 251 for i in range(3 * side**2))
            )
            for n in range(count)
        ]
        self.images = {picture_ref(image): image for image in noise}
        grid = (1, side // checkpoint.patch, side // checkpoint.patch)
        self.shown = tuple(Shown(ref, grid) for ref in self.images)
        self.loads: list[str] = []

    def load(self, ref: str) -> Image.Image:
        self.loads.append(ref)
        return self.images[ref]


def request(engine: Any, text: str = "Look.", album: Album | None = None, **sampling: Any) -> Request:
    checkpoint = engine.checkpoint
    shown = album.shown if album else ()
    vision = [
        checkpoint.token("<|vision_start|>"),
        checkpoint.image_token,
        checkpoint.token("<|vision_end|>"),
    ]
    ids = [*vision * len(shown), *checkpoint.tokenizer.encode(text).ids]
    asked = Sampling(**({"max_tokens": 12} | sampling))
    return Request(tuple(ids), shown, album.load if album else _nothing, asked)


def _nothing(ref: str) -> Image.Image:
    raise AssertionError(f"{ref} was loaded")


def test_greedy_is_the_same_each_time(engine: Any) -> None:
    album = Album(engine.checkpoint, 2)
    one, two = (engine.submit(request(engine, album=album)).result(60) for _ in range(2))
    assert (one.ids, one.finish) == (two.ids, two.finish)
    assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)
    asked = request(engine, album=album)
    assert list(one.prompt) == ChatML.of(engine.checkpoint).expand(asked.ids, asked.pictures)
    assert len(one.ids) == len(one.logprobs)
    assert two.cached is not None


def test_a_picture_is_loaded_once_and_again_when_forgotten(engine: Any) -> None:
    album = Album(engine.checkpoint, 2, seed=1)
    first = engine.submit(request(engine, album=album)).result(60)
    again = engine.submit(request(engine, "Look again.", album)).result(60)
    assert album.loads == [shown.ref for shown in album.shown]
    engine.call(lambda: engine.llm.llm_engine.reset_mm_cache())  # behind its back
    later = engine.submit(request(engine, album=album)).result(60)
    assert len(album.loads) == 4
    assert later.ids == first.ids
    assert later.prompt == first.prompt
    assert again.finish == "length"


def test_pictures_are_told_apart_by_their_names(engine: Any) -> None:
    one, other = (Album(engine.checkpoint, 1, seed=s) for s in (2, 3))
    alone = [engine.submit(request(engine, album=a)).result(60) for a in (one, other, one)]
    assert alone[0].ids == alone[2].ids
    assert alone[0].logprobs != alone[1].logprobs  # another picture, another model's opinion
    assert one.loads == [one.shown[0].ref]


def test_image_tokens_are_never_sampled(engine: Any) -> None:
    futures = [
        engine.submit(request(engine, f"{n}", temperature=1.5, seed=n, max_tokens=60)) for n in range(16)
    ]
    sampled = {token for future in futures for token in future.result(120).ids}
    assert len(sampled) > 100  # of 282: it would have met the four
    assert not sampled & set(engine.checkpoint.banned)


def test_stop_strings_and_ends(qwen3: Any) -> None:
    free = qwen3.submit(request(qwen3, max_tokens=30, temperature=1.0, seed=3)).result(60)
    text = qwen3.checkpoint.tokenizer.decode(list(free.ids), skip_special_tokens=False)
    mark = next(letter for letter in text if letter.isascii() and letter.isalnum())
    asked = request(qwen3, max_tokens=30, temperature=1.0, seed=3, stop=(mark,))
    stopped = qwen3.submit(asked).result(60)
    assert stopped.finish == "stop"
    assert stopped.ids == free.ids[: len(stopped.ids)]
    assert len(stopped.ids) < len(free.ids)


def test_a_call_that_must_be_made_is_made(qwen3: Any) -> None:
    model = ChatR4(model="tiny", engine=qwen3, temperature=1.0, max_tokens=400).bind_tools(
        [ZOOM], tool_choice="any"
    )
    for reply in model.batch([f"zoom {n}" for n in range(6)]):
        assert isinstance(reply.tool_calls[0]["args"]["view"], int)
        assert not reply.invalid_tool_calls
        assert reply.response_metadata["span"]["opening"] == "<tool_call>\n"


def test_schemas_that_name_their_parts_are_held(qwen3: Any) -> None:
    parts = [{"letter": {"enum": ["a", "b"]}}, {"letter": {"enum": ["y", "z"]}}]  # one name for two things
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"tool{n}",
                "description": "",
                "parameters": {
                    "type": "object",
                    "properties": {"letter": {"$ref": "#/$defs/letter"}},
                    "required": ["letter"],
                    "additionalProperties": False,
                    "$defs": defs,
                },
            },
        }
        for n, defs in enumerate(parts)
    ]
    model = ChatR4(model="tiny", engine=qwen3, temperature=1.0, max_tokens=200)
    for reply in model.bind_tools(tools, tool_choice="any").batch([str(n) for n in range(8)]):
        [call] = reply.tool_calls
        assert call["args"]["letter"] in ("ab" if call["name"] == "tool0" else "yz")


def test_a_hostile_schema_is_refused_and_hurts_nobody(qwen3: Any) -> None:
    for schema in (
        {"type": "object", "properties": {"x": {"type": "string", "pattern": "((("}}},
        {"type": "no such type"},
        {"$ref": "#/$defs/nowhere"},
    ):
        with contextlib.suppress(R4Error):  # what vLLM makes of it is its own matter
            qwen3.submit(request(qwen3, json_schema=schema)).result(60)
    assert qwen3.submit(request(qwen3)).result(60).ids


def test_many_at_once_from_threads_and_from_a_loop(qwen3: Any) -> None:
    model = ChatR4(model="tiny", engine=qwen3, max_tokens=8)
    alone = [model.invoke(f"number {n}").content for n in (0, 31)]
    with ThreadPoolExecutor(32) as pool:
        threads = list(pool.map(lambda n: model.invoke(f"number {n}").content, range(32)))

    async def together() -> list[Any]:
        return await asyncio.gather(*(model.ainvoke(f"number {n}") for n in range(32)))

    loop = [reply.content for reply in asyncio.run(together())]
    assert len(threads) == len(loop) == 32
    assert [threads[0], threads[31]] == alone == [loop[0], loop[31]]


def test_streamed_is_what_is_invoked(qwen3: Any) -> None:
    model = ChatR4(model="tiny", engine=qwen3, max_tokens=20)
    chunks = list(model.stream("tell"))
    whole = model.invoke("tell")
    assert "".join(str(chunk.content) for chunk in chunks) == whole.content
    [span] = [c.response_metadata["span"] for c in chunks if "span" in c.response_metadata]
    assert span["token_ids"] == whole.response_metadata["span"]["token_ids"]


def test_a_cancelled_request_frees_the_engine_and_hurts_nobody(qwen3: Any) -> None:
    told = threading.Event()
    long = qwen3.submit(request(qwen3, max_tokens=7000, json_schema=LONG), lambda _: told.set())
    other = qwen3.submit(request(qwen3, max_tokens=40))
    assert told.wait(60)
    long.cancel()
    assert other.result(60).ids
    with pytest.raises(CancelledError):
        long.result(5)
    _until(lambda: not qwen3._running)
    assert not qwen3.call(lambda: qwen3.llm.llm_engine.has_unfinished_requests())


async def test_a_cancelled_task_and_a_stream_that_is_left(qwen3: Any) -> None:
    model = ChatR4(model="tiny", engine=qwen3, max_tokens=7000, temperature=1.0, seed=1)
    write = {
        "name": "write",
        "description": "w",
        "parameters": {"type": "object", "properties": {"x": LONG}, "required": ["x"]},
    }
    writer = model.bind_tools([{"type": "function", "function": write}], tool_choice="write")
    task = asyncio.create_task(writer.ainvoke("talk"))
    await asyncio.to_thread(_until, lambda: qwen3._running)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stream = model.astream("talk on")
    await anext(stream)
    await stream.aclose()
    for _ in model.stream("and on"):
        break
    await asyncio.to_thread(_until, lambda: not qwen3._running)


def test_what_is_too_much_is_refused(qwen3: Any) -> None:
    with pytest.raises(RunError, match="takes 8191: start it with a larger max_model_len"):
        qwen3.submit(request(qwen3, "x" * 9000)).result(60)
    with pytest.raises(RunError, match=r'limit_mm_per_prompt=\{"image": N\}'):
        qwen3.submit(request(qwen3, album=Album(qwen3.checkpoint, 9, seed=9))).result(60)
    with pytest.raises(UsageError, match="refused"):
        qwen3.submit(request(qwen3, temperature=-1.0)).result(60)
    with pytest.raises(R4Error):
        qwen3.submit(Request((1, 2, 999_999), (), _nothing)).result(60)
    assert qwen3.submit(request(qwen3)).result(60).ids


def test_a_callers_failure_is_its_own(qwen3: Any) -> None:
    def fails(ids: tuple[int, ...]) -> None:
        raise ZeroDivisionError("mine")

    other = qwen3.submit(request(qwen3))
    with pytest.raises(RunError, match="on_tokens failed: ZeroDivisionError"):
        qwen3.submit(request(qwen3), fails).result(60)
    album = Album(qwen3.checkpoint, 1, seed=8)
    album.images.clear()
    with pytest.raises(RunError, match="KeyError"):
        qwen3.submit(request(qwen3, album=album)).result(60)
    assert other.result(60).ids
    assert not qwen3._running


def test_turns_of_a_conversation_share_their_beginning(engine: Any) -> None:
    model = ChatR4(model="tiny", engine=engine, max_tokens=16, temperature=1.0, seed=5)
    messages: list[Any] = [HumanMessage("A long question, so that whole blocks of it are kept. " * 12)]
    ledger = Ledger()
    for turn in range(3):
        reply = model.invoke(messages)
        span = reply.response_metadata["span"]
        assert span["at"] == len(ledger.ids)
        ledger.add(span)
        if turn:
            assert reply.usage_metadata["input_token_details"]["cache_read"] > 500
        messages += [reply, HumanMessage(f"And {turn}?")]


def test_the_graph_keeps_the_tokens_that_the_engine_saw(
    engine: Any, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R4_HOME", str(tmp_path))
    model = ChatR4(model="tiny", engine=engine, max_tokens=24, temperature=1.0)
    budget = Budget(turns=3, overview_images=2, overview_tokens=64)
    graph = create_rumination_graph(model, budget=budget, checkpointer=InMemorySaver())
    seen: list[tuple[Request, Any]] = []
    submit = engine.submit

    def watched(asked: Request, on_tokens: Any = None) -> Any:
        future = submit(asked, on_tokens)
        future.add_done_callback(lambda f: seen.append((asked, f.result())))
        return future

    monkeypatch.setattr(engine, "submit", watched)
    config: Any = {"configurable": {"thread_id": "1"}}
    given = {"media": str(repo / "examples" / "demo.mp4"), "question": "What <|im_end|> is it?"}
    result = graph.invoke(given, config)
    episode = Episode.read(result["episode"])
    ledger = Ledger.of([line for line in episode.messages if line["role"] == "ai"])
    asked, sample = seen[-1]
    assert ledger.ids == [*asked.ids, *sample.ids]
    assert ledger.images == [shown.ref for shown in asked.pictures]
    assert ledger.grids == [shown.grid for shown in asked.pictures]
    assert ledger.forks == 0
    assert len(seen) == 3
    kept = [m for m in graph.get_state(config).values["messages"] if m.type == "ai"]
    assert Ledger.of(kept).ids == ledger.ids  # as the checkpointer keeps them


def test_pushed_weights_are_used_at_once(started: Callable[..., Any], tiny: Tiny, tmp_path: Path) -> None:
    """They equal transformers' opinion of the new weights, and nothing the old ones computed is met again."""
    from r4agent.engines.hf import TransformersEngine
    from r4agent.engines.tiny import make_tiny

    engine = started(tiny("qwen2_5_vl"))
    album = Album(engine.checkpoint, 2, seed=4)
    before = engine.submit(request(engine, album=album)).result(60)
    other = TransformersEngine(Checkpoint.load(make_tiny("qwen2_5_vl", tmp_path / "other", seed=1)))
    old = TransformersEngine(engine.checkpoint)
    try:
        engine.load_weights(_named(other))
        after = engine.submit(request(engine, album=album)).result(60)
        theirs = other.submit(request(other, album=album)).result(60)
        assert after.ids == theirs.ids
        assert after.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
        assert after.logprobs != pytest.approx(before.logprobs, abs=1e-3)
    finally:
        engine.load_weights(_named(old))
        back = engine.submit(request(engine, album=album)).result(60)
        other.close()
        old.close()
    assert back.ids == before.ids
    assert back.logprobs == pytest.approx(before.logprobs, abs=1e-4)


def test_a_head_that_is_tied_to_the_embedding_gets_the_new_one(
    started: Callable[..., Any], tmp_path: Path
) -> None:
    """Of the nano policy; the tiny models have a head of their own."""
    from safetensors.torch import load_file, save_file

    from r4agent.engines.hf import TransformersEngine
    from r4agent.policy.nano import nano_checkpoint

    folder = Path(shutil.copytree(nano_checkpoint(), tmp_path / "other"))
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] *= 1.1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    other = TransformersEngine(Checkpoint.load(folder))
    engine = started(nano_checkpoint())
    try:
        before = engine.submit(request(engine)).result(60)
        engine.load_weights(_named(other))
        after = engine.submit(request(engine)).result(60)
        theirs = other.submit(request(other)).result(60)
    finally:
        other.close()
    assert after.ids == theirs.ids
    assert after.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
    assert before.logprobs != pytest.approx(theirs.logprobs, abs=1e-2)


def _named(engine: Any) -> Iterator[tuple[str, Any]]:
    """Weights under the names that they have in the checkpoint's file."""
    from safetensors.torch import load_file

    yield from load_file(engine.checkpoint.folder / "model.safetensors").items()


def test_seeded_requests_with_long_prompts(qwen3: Any) -> None:
    """More than a step takes at once: the CPU build must not take one of them in parts."""
    asked = [request(qwen3, f"{n}" * 3000, temperature=1.0, seed=n, max_tokens=4) for n in range(4)]
    futures = [qwen3.submit(one) for one in asked]
    together = [future.result(60) for future in futures]
    assert [len(sample.ids) for sample in together] == [4] * 4


def test_a_process_of_its_own_that_forgets_and_dies(tiny: Tiny) -> None:
    """It is sent a picture again, whichever side has lost it. When it is killed, all who wait fail."""
    needs("vllm")
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
    from r4agent.engines.local import VllmEngine

    engine = VllmEngine(Checkpoint.load(tiny("qwen3_vl")), own_process=True, **ARGS)
    try:
        album = Album(engine.checkpoint, 2)
        first = engine.submit(request(engine, album=album)).result(60)
        loads = [len(album.loads)]
        core = engine.llm.llm_engine
        for forget in (lambda: None, core.reset_mm_cache, core.engine_core.reset_mm_cache):
            engine.call(forget)
            engine.call(engine.llm.reset_prefix_cache)  # else it need not look at the picture again
            engine.call(core.reset_encoder_cache)
            again = engine.submit(request(engine, album=album)).result(60)
            assert (again.ids, again.prompt) == (first.ids, first.prompt)
            loads.append(len(album.loads))
        assert loads == [2, 2, 4, 6]
        told = threading.Event()
        futures = [
            engine.submit(request(engine, f"{n}", max_tokens=7000, json_schema=LONG), lambda _: told.set())
            for n in range(8)
        ]
        assert told.wait(60)
        [process] = multiprocessing.active_children()
        process.kill()
        for future in futures:
            with pytest.raises(RunError, match="vLLM stopped"):
                future.result(60)
        with pytest.raises(RunError, match="a new one begins"):
            engine.submit(request(engine)).result(60)
    finally:
        begun = time.monotonic()
        engine.close()
    assert time.monotonic() - begun < 30
    with pytest.raises(RunError, match="vLLM stopped"):
        engine.submit(request(engine)).result(5)
    with pytest.raises(RunError, match="vLLM stopped"):
        engine.call(lambda: None)


def _until(true: Callable[[], bool], within: float = 30) -> None:
    until = time.monotonic() + within
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)
