"""ChatR4 keeps its tokens, whatever happens to a conversation, and whatever its engine gives it."""

import asyncio
import base64
import copy
import io
import json
import pickle
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

import ormsgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.load import dumps
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
)
from PIL import Image
from pydantic import BaseModel, Field

import r4agent.engines as engines
from r4agent.engines import Checkpoint, Request, Sample, open_engine
from r4agent.engines.chatml import ChatML
from r4agent.engines.request import Tokens
from r4agent.errors import RunError, UsageError
from r4agent.ledger import Ledger, Span, span_of
from r4agent.policy.chat import ChatR4

from .scripted_engine import ScriptedEngine, bare_checkpoint, obliging

ZOOM = {
    "type": "function",
    "function": {"name": "zoom", "description": "Zoom.", "parameters": {"type": "object", "properties": {}}},
}
CALL = '<tool_call>{"name": "zoom", "arguments": {"view": "v1"}}</tool_call>'


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return bare_checkpoint(request.param, tmp_path_factory.mktemp("bare") / request.param)


def saying(checkpoint: Checkpoint, *replies: str | list[int], **options: Any) -> ChatR4:
    """A model that gives these replies in turn, then the last one for ever."""
    left = list(replies)
    engine = ScriptedEngine(checkpoint, lambda *_: left.pop(0) if len(left) > 1 else left[0], **options)
    return ChatR4(model="tiny", engine=engine, timeout=20)


def span(message: BaseMessage) -> Span:
    found = span_of(message)  # type: ignore[arg-type]
    assert found is not None
    return found


def picture(number: int) -> dict[str, Any]:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (number, 0, 0)).save(out, "PNG")
    return {"type": "image", "base64": base64.b64encode(out.getvalue()).decode(), "mime_type": "image/png"}


# Append-only, over any history

WORDS = st.text(st.sampled_from("ab <|im_end|>{}你\n"), max_size=6)
SAMPLED = st.one_of(
    WORDS,
    st.just(CALL),
    st.lists(st.integers(0, 281).filter(lambda t: t not in (265, 266, 268, 269)), max_size=6),
)
SHOWN = st.lists(st.one_of(WORDS.map(lambda t: {"type": "text", "text": t}), st.integers(0, 3)), max_size=3)
TURN = st.one_of(
    st.tuples(st.just("ask"), SHOWN, SAMPLED),
    st.tuples(st.just("observe"), SHOWN, SAMPLED),
    st.tuples(st.just("foreign"), WORDS, SAMPLED),
    st.tuples(st.sampled_from(["edit", "trim", "swap", "reload"]), st.integers(0, 9), SAMPLED),
)


def turned(messages: list[BaseMessage], kind: str, what: Any) -> list[BaseMessage]:
    """The history that the next turn is asked with."""
    match kind:
        case "ask" | "observe":
            content = [picture(b) if isinstance(b, int) else b for b in what]
            more = HumanMessage(content) if kind == "ask" else ToolMessage(content, tool_call_id="1")
            return [*messages, more]
        case "foreign":
            return [*messages, AIMessage(what), HumanMessage("go on")]
        case "trim":
            return messages[what % len(messages) :] or messages
        case "reload":  # as a checkpointer gives it back
            return [type(m).model_validate_json(m.model_dump_json()) for m in messages]
    at = what % len(messages)
    content = "edited" if kind == "edit" else [picture(what + 10)]
    if kind == "swap" and not isinstance(messages[at], HumanMessage):
        return messages
    changed = messages[at].model_copy(update={"content": content})
    return [*messages[:at], changed, *messages[at + 1 :]]


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.lists(TURN, min_size=1, max_size=7))
def test_the_ledger_is_what_the_engine_was_given(
    checkpoint: Checkpoint, turns: list[tuple[str, Any, Any]]
) -> None:
    model = saying(checkpoint, *(reply for _, _, reply in turns))
    engine = model.runner
    assert isinstance(engine, ScriptedEngine)
    messages: list[BaseMessage] = [HumanMessage([{"type": "text", "text": "look"}, picture(9)])]
    replies: list[AIMessage] = []
    before: tuple[list[int], list[str]] = ([], [])
    for kind, what, _ in turns:
        messages = turned(messages, kind, what)
        reply = model.bind_tools([ZOOM]).invoke(messages)
        messages, replies = [*messages, reply], [*replies, reply]
        asked = engine.requests[-1]
        refs = [shown.ref for shown in asked.pictures]
        ids, images = before
        goes_on = list(asked.ids[: len(ids)]) == ids and refs[: len(images)] == images
        if kind in ("ask", "observe", "foreign", "reload") and len(replies) > 1:
            assert goes_on, f"{kind} is no edit"
        if span(reply)["at"]:
            assert goes_on
        before = ([*asked.ids, *span(reply)["token_ids"]], refs)
        ledger = Ledger.of(replies)
        assert (ledger.ids, ledger.images) == before
        assert ledger.grids == [shown.grid for shown in asked.pictures]
        assert sum(ledger.sampled) == len([t for t in ledger.logprobs if t])


def test_ids_that_the_tokenizer_would_not_write_are_kept(checkpoint: Checkpoint) -> None:
    """`</think>` is a token; spelt in letters it reads the same and is another history."""
    split = [*range(220, 228), *[ord(c) for c in "abc"]]
    tag = checkpoint.token("</think>")
    letters = [checkpoint.tokenizer.encode(c).ids[0] for c in "</think>"]
    assert checkpoint.tokenizer.encode("</think>").ids == [tag]
    model = saying(checkpoint, [*letters, *split])
    reply = model.invoke("x")
    assert checkpoint.tokenizer.encode(reply.text).ids != [*letters, *split]
    model.invoke([HumanMessage("x"), reply, HumanMessage("y")])
    asked = list(model.runner.requests[-1].ids)
    at = len(span(reply)["prompt_ids"])
    assert asked[at : at + 19] == [*letters, *split]


def test_a_swapped_picture_is_a_fork(checkpoint: Checkpoint) -> None:
    model = saying(checkpoint, "yes")
    first = model.invoke([HumanMessage([picture(1)])])
    second = model.invoke([HumanMessage([picture(2)]), first, HumanMessage("more")])
    assert span(second)["at"] == 0
    assert span(second)["images"] != span(first)["images"]
    assert Ledger.of([first, second]).forks == 1


def test_after_trimming_spans_grow_again(checkpoint: Checkpoint) -> None:
    model = saying(checkpoint, "yes")
    messages: list[BaseMessage] = [HumanMessage("1")]
    messages.append(model.invoke(messages))
    messages += [HumanMessage("2")]
    messages.append(model.invoke(messages))
    messages = [*messages[2:], HumanMessage("3")]  # the first turn is gone
    third = model.invoke(messages)
    fourth = model.invoke([*messages, third, HumanMessage("4")])
    assert span(third)["at"] == 0
    assert span(fourth)["at"] == len(span(third)["prompt_ids"]) + len(span(third)["token_ids"])


@pytest.mark.parametrize("more", [[0], [5, 5]])
def test_an_engine_that_saw_other_tokens_is_refused(checkpoint: Checkpoint, more: list[int]) -> None:
    with pytest.raises(RunError, match=r"saw \d+ prompt tokens where \d+ were meant"):
        saying(checkpoint, "yes", more=more).invoke("x")
    with pytest.raises(RunError, match="were meant"):
        list(saying(checkpoint, "yes", more=more).stream("x"))


# Streams say the same


REPLIES = [
    "hello",
    "",
    f"\n\n I call. \n{CALL}\n",
    f"{CALL} and {CALL}",
    '<tool_call>{"name": "zoom", "argum</tool_call>',
    '<tool_call>{"name": "zoom", "arguments": [1]}</tool_call>',
    "<tool_call>{",
    f"<think>I might {CALL}</think>no",
    "<tool_cal",
    "你好 🙂",
    [0xE4, 0x41, 0xBD],
    [0xE4, 0xBD],
    [258],
]


@pytest.mark.parametrize("said", REPLIES)
@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize("stop", [None, ["l"], ["<tool", "🙂"]])
def test_a_stream_adds_up_to_the_reply(
    checkpoint: Checkpoint, said: str | list[int], tools: bool, stop: list[str] | None
) -> None:
    plain = saying(checkpoint, said)
    model: Any = plain.bind_tools([ZOOM]) if tools else plain
    whole = model.invoke("x", stop=stop)
    chunks = list(model.stream("x", stop=stop))
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert isinstance(total, AIMessageChunk)
    streamed = message_chunk_to_message(total)
    for key in ("content", "tool_calls", "usage_metadata", "response_metadata"):
        assert getattr(streamed, key) == getattr(whole, key), key
    assert len(streamed.invalid_tool_calls) == len(whole.invalid_tool_calls)
    for reply in (whole, streamed):  # and each goes on by its ids
        after = model.invoke([HumanMessage("x"), reply, HumanMessage("y")])
        assert span(after)["at"] == len(span(whole)["prompt_ids"]) + len(span(whole)["token_ids"])
        assert "\ufffd" not in str(span(after))

    async def gathered() -> list[Any]:
        return [chunk async for chunk in model.astream("x", stop=stop)]

    assert [chunk.content for chunk in asyncio.run(gathered())] == [chunk.content for chunk in chunks]


def test_content_as_blocks_keeps_its_span(checkpoint: Checkpoint) -> None:
    model = saying(checkpoint, f"see {CALL}").model_copy(update={"output_version": "v1"})
    bound = model.bind_tools([ZOOM])
    reply = bound.invoke("x")
    assert isinstance(reply.content, list)
    after = bound.invoke([HumanMessage("x"), reply, ToolMessage("seen", tool_call_id="1")])
    assert span(after)["at"] > 0


# Garbage from an engine


@pytest.mark.parametrize("logprob", [float("nan"), float("-inf"), float("inf")])
def test_logprobs_that_no_log_could_keep(checkpoint: Checkpoint, logprob: float) -> None:
    with pytest.raises(RunError, match="finite logprob"):
        saying(checkpoint, "yes", logprob=logprob).invoke("x")


def test_a_sampled_picture_is_refused(checkpoint: Checkpoint) -> None:
    for token in checkpoint.banned:
        with pytest.raises(RunError, match="sampled an image token"):
            saying(checkpoint, [65, token]).invoke("x")


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=50)
@given(st.lists(st.integers(0, 281).filter(lambda t: t not in (265, 266, 268, 269)), max_size=12))
def test_any_ids_are_a_reply_that_logs_can_keep(checkpoint: Checkpoint, ids: list[int]) -> None:
    reply = saying(checkpoint, ids).bind_tools([ZOOM]).invoke("x")
    assert span(reply)["token_ids"] == ids
    assert ormsgpack.unpackb(ormsgpack.packb(reply.model_dump()))["content"] == reply.content
    text = json.dumps(reply.model_dump(), allow_nan=False)
    assert json.loads(text)["response_metadata"]["span"] == span(reply)


def test_a_huge_reply(checkpoint: Checkpoint) -> None:
    begun = time.thread_time()
    reply = saying(checkpoint, "<tool_call>" * 20_000 + " " * 20_000).bind_tools([ZOOM]).invoke("x")
    assert len(span(reply)["token_ids"]) == 40_001
    assert time.thread_time() - begun < 10


# Waiting, and leaving


class Silent:
    """An engine that never answers."""

    name, closed = "silent", False

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.futures: list[Future[Sample]] = []

    def submit(self, request: Request, on_tokens: Tokens | None = None) -> "Future[Sample]":
        self.futures.append(Future())
        if on_tokens:
            on_tokens((65,))
        return self.futures[-1]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def silent(checkpoint: Checkpoint) -> Silent:
    return Silent(checkpoint)


def test_a_reply_that_takes_too_long(silent: Silent) -> None:
    model = ChatR4(model="tiny", engine=silent, timeout=0.1)
    for ask in (
        lambda: model.invoke("x"),
        lambda: list(model.stream("x")),
        lambda: asyncio.run(model.ainvoke("x")),
        lambda: asyncio.run(_all(model.astream("x"))),
    ):
        with pytest.raises(RunError, match=r"no reply within 0.1 s; give ChatR4 a larger timeout"):
            ask()
    assert all(future.cancelled() for future in silent.futures)


def test_a_timeout_is_for_the_whole_stream(silent: Silent, monkeypatch: pytest.MonkeyPatch) -> None:
    def drip(request: Request, on_tokens: Tokens) -> "Future[Sample]":
        future: Future[Sample] = Future()

        def run() -> None:
            for n in range(1, 1000):
                if future.cancelled():
                    return
                on_tokens((65,) * n)
                time.sleep(0.05)

        threading.Thread(target=run, daemon=True).start()
        return future

    monkeypatch.setattr(silent, "submit", drip)
    begun = time.monotonic()
    with pytest.raises(RunError, match="no reply within"):
        list(ChatR4(model="tiny", engine=silent, timeout=0.4).stream("x"))
    assert time.monotonic() - begun < 20


async def _all(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


async def test_a_cancelled_task_cancels_its_request(silent: Silent) -> None:
    model = ChatR4(model="tiny", engine=silent)
    for asked in (model.ainvoke("x"), _all(model.astream("x"))):
        task = asyncio.ensure_future(asked)
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [future.cancelled() for future in silent.futures] == [True, True]


async def test_a_stream_that_is_left_cancels_its_request(silent: Silent) -> None:
    model = ChatR4(model="tiny", engine=silent)
    stream = model.stream("x")
    assert next(stream).content
    stream.close()
    later = model.astream("x")
    assert (await anext(later)).content
    await later.aclose()
    assert [future.cancelled() for future in silent.futures] == [True, True]


def test_an_interrupt_cancels_its_request(silent: Silent, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any, timeout: Any = None) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ChatR4(model="tiny", engine=silent).invoke("x")
    assert silent.futures[0].cancelled()


# One engine for all who ask for the same


def test_threads_that_begin_at_once_start_one_engine(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[ScriptedEngine] = []

    def start(name: str, given: Checkpoint, *_: Any) -> ScriptedEngine:
        time.sleep(0.1)
        started.append(ScriptedEngine(given, obliging))
        return started[-1]

    monkeypatch.setattr(engines, "_started", start)
    monkeypatch.setattr(engines, "_open", {})
    folder = str(checkpoint.folder)
    threads = [threading.Thread(target=lambda: ChatR4(model=folder).invoke("x")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 1
    other = ChatR4(model=folder, engine_args={"max_model_len": 9})
    assert other.runner is not started[0]
    started[0].close()
    assert ChatR4(model=folder).runner is started[2]  # one that was closed begins anew


def test_of_threads_that_wait_for_one_start_none_tries_again_when_it_fails(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def start(name: str, given: Checkpoint, *_: Any) -> ScriptedEngine:
        tries.append(name)
        time.sleep(0.5)
        raise RunError("no memory")

    monkeypatch.setattr(engines, "_started", start)
    monkeypatch.setattr(engines, "_open", {})
    model = ChatR4(model=str(checkpoint.folder))
    _ = model.checkpoint
    with ThreadPoolExecutor(8) as threads:
        failures = [failed.exception() for failed in [threads.submit(model.invoke, "x") for _ in range(8)]]
    assert {str(failure) for failure in failures} == {"no memory"}
    assert len(tries) == 1
    with pytest.raises(RunError, match="no memory"):
        _ = model.runner
    assert len(tries) == 2


def test_engines_that_are_none(checkpoint: Checkpoint) -> None:
    folder = str(checkpoint.folder)
    with pytest.raises(UsageError, match="there are vllm, http, transformers"):
        open_engine("sglang", folder, base_url=None, api_key=None)
    with pytest.raises(UsageError, match="go together"):
        _ = ChatR4(model=folder, engine="http").runner
    with pytest.raises(UsageError, match="engine_args: got an unexpected keyword argument 'tempreture'"):
        _ = ChatR4(model=folder, engine="transformers", engine_args={"tempreture": 1}).runner
    with pytest.raises(UsageError, match="go together"):
        _ = ChatR4(model=folder, base_url="http://localhost").runner


# As a LangChain object


def test_the_key_is_shown_nowhere(checkpoint: Checkpoint) -> None:
    model = ChatR4(model=str(checkpoint.folder), engine="http", base_url="http://x", api_key="s3cret")
    for text in (
        repr(model),
        str(model),
        model.model_dump_json(),
        dumps(model),
        str(model._identifying_params),
    ):
        assert "s3cret" not in text


def test_copies_know_their_own_model(checkpoint: Checkpoint, tmp_path: Path) -> None:
    model = ChatR4(model=str(checkpoint.folder))
    assert model.speaks.name == checkpoint.profile.name
    _ = model.chatml
    other = bare_checkpoint("qwen3_vl", tmp_path / "other")
    moved = model.model_copy(update={"model": str(other.folder)})
    assert moved.speaks.name == "qwen3-vl"
    assert moved.chatml is ChatML.of(other)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        assert twin == model
        assert twin.speaks == model.speaks


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"top_p": 0}, {"top_p": 2}, {"max_tokens": 0}, {"timeout": 0}]
)
def test_settings_that_can_not_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ChatR4(model="tiny", **wrong)


# Tools and structured output


class Joke(BaseModel):
    """A joke."""

    setup: str
    rating: int | None = Field(default=None)


class Answer(TypedDict):
    """An answer."""

    text: str


class Inner(BaseModel):
    name: str


class Outer(BaseModel):
    """Nested."""

    inner: Inner
    more: list[Inner]


@pytest.mark.parametrize("method", ["function_calling", "json_schema", None])
@pytest.mark.parametrize("raw", [False, True])
def test_structured_output(checkpoint: Checkpoint, method: str | None, raw: bool) -> None:
    model = ChatR4(model="tiny", engine=ScriptedEngine(checkpoint, obliging))
    options: dict[str, Any] = {"include_raw": raw} | ({"method": method} if method else {})

    def parsed(schema: Any) -> Any:
        result = model.with_structured_output(schema, **options).invoke("x")
        return result["parsed"] if raw else result

    assert isinstance(parsed(Joke), Joke)
    assert isinstance(parsed(Outer).more[0], Inner)
    assert parsed(Answer)["text"]
    assert parsed({"title": "T", "type": "object", "properties": {"n": {"type": "integer"}}}) == {"n": 3}


def test_schemas_that_name_their_parts_keep_them(checkpoint: Checkpoint) -> None:
    """`$ref` is from the root of a schema, and the arguments are a part of the call's."""
    tree = {
        "type": "object",
        "properties": {"root": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    }
    tool = {"type": "function", "function": {"name": "tree", "description": "t", "parameters": tree}}
    engine = ScriptedEngine(checkpoint, lambda *_: '{"name": "tree", "arguments": {}}')
    ChatR4(model="tiny", engine=engine).bind_tools([ZOOM, tool], tool_choice="any").invoke("x")
    schema = engine.requests[-1].sampling.json_schema
    assert schema is not None
    assert schema["$defs"]["1.node"]["properties"]["next"] == {"$ref": "#/$defs/1.node"}
    assert schema["anyOf"][1]["properties"]["arguments"]["properties"]["root"] == {"$ref": "#/$defs/1.node"}


@pytest.mark.parametrize(
    ("choice", "forced", "shown"),
    [
        ("any", True, True),
        ("required", True, True),
        (True, True, True),
        ("zoom", True, True),
        ({"type": "function", "function": {"name": "zoom"}}, True, True),
        ("auto", False, True),
        (None, False, True),
        (False, False, True),
        ("none", False, False),
    ],
)
def test_tool_choices(checkpoint: Checkpoint, choice: Any, forced: bool, shown: bool) -> None:
    engine = ScriptedEngine(checkpoint, obliging)
    model = ChatR4(model="tiny", engine=engine).bind_tools([ZOOM], tool_choice=choice)
    model.invoke([HumanMessage("x")])
    asked = engine.requests[-1]
    prompt = checkpoint.tokenizer.decode(list(asked.ids), skip_special_tokens=False)
    assert (asked.sampling.json_schema is not None) == forced
    assert prompt.endswith("<tool_call>\n") == forced
    assert ("<tools>" in prompt) == shown


def test_tools_that_are_none(checkpoint: Checkpoint) -> None:
    model = saying(checkpoint, "x")
    with pytest.raises(UsageError, match="the tools are zoom"):
        model.bind_tools([ZOOM], tool_choice="open")
    with pytest.raises(UsageError, match="a tool without a function"):
        model.bind_tools([{"type": "web_search_preview"}])


def test_a_system_message_and_limits_reach_the_engine(checkpoint: Checkpoint) -> None:
    model = saying(checkpoint, "x")
    model.invoke([SystemMessage("be brief"), HumanMessage("x")], stop=["\n"], max_tokens=3, temperature=0.5)
    asked = model.runner.requests[-1].sampling
    assert (asked.max_tokens, asked.temperature, asked.stop) == (3, 0.5, ("\n",))


def test_tokens_are_counted(checkpoint: Checkpoint) -> None:
    model = saying(checkpoint, "x")
    assert model.get_num_tokens("<|im_end|>") == 10
    usage = model.invoke([HumanMessage([picture(1)])]).usage_metadata
    assert usage is not None
    assert usage["input_tokens"] == len(model.runner.requests[-1].ids) + 3
    assert model.get_num_tokens_from_messages([HumanMessage("hi")]) > 2
