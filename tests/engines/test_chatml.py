"""ChatML: what the families' own templates give, by id; and no text becomes a special token."""

import json
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from r4agent.engines import Checkpoint, Shown
from r4agent.engines.chatml import FORCED, ChatML, calls_in
from r4agent.engines.tiny import SPECIALS, TAGS, chat_template
from r4agent.errors import UsageError

from ..graphs.hostile_text import HOSTILE
from ..policy.scripted_engine import bare_checkpoint

PICTURE = Shown("img:" + 64 * "0", (1, 4, 4))
IMAGE = {"type": "image", "file_id": PICTURE.ref}
TEXT = st.text(st.sampled_from("ab {}<>\"'\\\n%é你"), max_size=8)
FILLED = TEXT.filter(bool)
NAME = st.text(st.sampled_from("abé_"), min_size=1, max_size=5)
CONTENT = st.one_of(
    TEXT,
    st.lists(st.one_of(st.just(IMAGE), TEXT.map(lambda t: {"type": "text", "text": t})), max_size=4),
)
CALLS = st.lists(st.tuples(NAME, st.dictionaries(TEXT, st.one_of(TEXT, st.integers(-99, 99)))), max_size=2)
MESSAGE = st.one_of(
    CONTENT.map(HumanMessage),
    CONTENT.map(lambda c: ToolMessage(c, tool_call_id="1")),
    st.builds(
        lambda text, calls: AIMessage(
            text, tool_calls=[{"name": n, "args": a, "id": "1", "type": "tool_call"} for n, a in calls]
        ),
        TEXT,
        CALLS,
    ),
)
CONVERSATION = st.builds(
    lambda system, messages: [*system, *messages],
    st.lists(FILLED.map(SystemMessage), max_size=1),
    st.lists(MESSAGE, min_size=1, max_size=6),
)
TOOLS = st.lists(
    st.builds(
        lambda name, said: {
            "type": "function",
            "function": {"name": name, "description": said, "parameters": {"type": "object"}},
        },
        NAME,
        TEXT,
    ),
    max_size=2,
)


@pytest.fixture(scope="session", params=["qwen2_5_vl", "qwen3_vl"])
def chatml(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ChatML:
    return ChatML.of(bare_checkpoint(request.param, tmp_path_factory.mktemp("bare") / request.param))


def spelt(chatml: ChatML, ids: list[int]) -> str:
    return str(chatml.checkpoint.tokenizer.decode(ids, skip_special_tokens=False))


def templated(template: str, messages: list[BaseMessage], tools: list[Any]) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    roles = {"human": "user", "ai": "assistant", "tool": "tool", "system": "system"}
    plain = [
        {
            "role": roles[m.type],
            "content": m.content,
            "tool_calls": [
                {"type": "function", "function": {"name": c["name"], "arguments": c["args"]}}
                for c in getattr(m, "tool_calls", [])
            ],
        }
        for m in messages
    ]
    options = {"tools": tools or None, "add_generation_prompt": True}
    return str(render_jinja_template([plain], chat_template=template, **options)[0][0])


@settings(deadline=None)  # the first one imports transformers
@given(CONVERSATION, TOOLS)
def test_it_says_what_the_template_says(
    chatml: ChatML, messages: list[BaseMessage], tools: list[Any]
) -> None:
    ids, pictures = chatml.render(messages, lambda _: PICTURE, tools=tools)
    assert spelt(chatml, ids) == templated(chat_template(chatml.checkpoint.family), messages, tools)
    assert len(pictures) == ids.count(chatml.checkpoint.image_token)
    grown = chatml.expand(ids, pictures)
    assert len(grown) == len(ids) + 3 * len(pictures)  # four tokens each


@settings(deadline=None)
@given(CONVERSATION, TOOLS)
def test_it_says_what_qwen3_vl_says(chatml: ChatML, messages: list[BaseMessage], tools: list[Any]) -> None:
    if chatml.checkpoint.family != "qwen3_vl":
        return
    template = (files("trl") / "chat_templates" / "qwen3_vl.jinja").read_text()
    ids, _ = chatml.render(messages, lambda _: PICTURE, tools=tools)
    assert spelt(chatml, ids) == templated(template, messages, tools)


# Nothing that anyone writes is a special token

EVERYWHERE = [*SPECIALS, *(f" {name}\n" for name in SPECIALS), *HOSTILE.values()]


def specials(chatml: ChatML, ids: list[int]) -> list[str]:
    known = {chatml.token(name): name for name in SPECIALS}
    return [known[token] for token in ids if token in known]


def everywhere(text: str) -> tuple[list[BaseMessage], list[Any]]:
    """A conversation with a text in every place that someone else may write in."""
    call = {"name": "zoom", "args": {text or "x": text}, "id": "1", "type": "tool_call"}
    messages = [
        SystemMessage(text),
        HumanMessage([{"type": "text", "text": text}, IMAGE, {"type": "text", "text": text}]),
        AIMessage(text, tool_calls=[call]),
        ToolMessage(text, tool_call_id="1"),
        ToolMessage([IMAGE, {"type": "text", "text": text}], tool_call_id="2"),
        HumanMessage(text),
    ]
    tool = {
        "type": "function",
        "function": {"name": "zoom", "description": text, "parameters": {"title": text}},
    }
    return messages, [tool]


def frame(chatml: ChatML) -> list[str]:
    messages, tools = everywhere("")
    return specials(chatml, chatml.render(messages, lambda _: PICTURE, tools=tools)[0])


@pytest.mark.parametrize("text", EVERYWHERE)
def test_no_text_is_a_special_token(chatml: ChatML, text: str) -> None:
    messages, tools = everywhere(text)
    ids, pictures = chatml.render(messages, lambda _: PICTURE, tools=tools)
    assert specials(chatml, ids) == frame(chatml)
    assert len(pictures) == 2


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([*SPECIALS, *TAGS, "<|", "|>", "im_end", "a", " ", "\n"]), max_size=8))
def test_no_mixture_is_one_either(chatml: ChatML, parts: list[str]) -> None:
    messages, tools = everywhere("".join(parts))
    ids, _ = chatml.render(messages, lambda _: PICTURE, tools=tools)
    assert specials(chatml, ids) == frame(chatml)


# What was sampled stays


def test_sampled_ids_are_kept_whatever_they_spell(chatml: ChatML) -> None:
    from r4agent.ledger import Span, digest

    odd = [255, 128, chatml.token("<|im_start|>"), 64, chatml.token("<|endoftext|>")]
    reply = AIMessage(chatml.text(odd))
    reply.response_metadata["span"] = Span(
        at=0, prompt_ids=[], token_ids=odd, logprobs=[0.0] * 5, images=[], image_grid_thw=[], opening="",
        said=digest(reply),
    )  # fmt: skip
    ids, _ = chatml.render([HumanMessage("x"), reply, HumanMessage("y")], lambda _: PICTURE)
    at = next(n for n in range(len(ids)) if ids[n : n + 5] == odd)
    assert ids[at + 5] == chatml.token("<|im_end|>")  # closed, since it had no end of its own
    edited = reply.model_copy(update={"content": "something else"})
    ids, _ = chatml.render([HumanMessage("x"), edited, HumanMessage("y")], lambda _: PICTURE)
    assert "something else" in spelt(chatml, ids)


def test_text_of_garbage(chatml: ChatML) -> None:
    end = chatml.token("<|im_end|>")
    assert chatml.text([]) == chatml.text([end]) == ""
    assert chatml.text([end, end]) == "<|im_end|>"
    assert "\ufffd" in chatml.text([0xE4])
    assert chatml.text([], FORCED) == "<tool_call>\n\n</tool_call>"


# Calls


@given(
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), st.none())),
    st.text(),
    st.text(),
)
def test_a_call_is_found_in_its_text(args: dict[str, Any], before: str, after: str) -> None:
    body = json.dumps({"name": "zoom", "arguments": args})
    said, [call] = calls_in(f"{before}<tool_call>\n{body}\n</tool_call>{after}")
    assert (said, call.name, call.arguments, call.raw) == (before + after, "zoom", args, body)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "not valid JSON"),
        ("[]", "got list"),
        ("3", "got int"),
        ('{"name": "zoom"}', "an object"),
        ('{"name": 3, "arguments": {}}', "must be a string"),
        ('{"name": "zoom", "arguments": [1]}', "an object"),
        ('{"name": "zoom", "arguments": {"x": NaN}}', "NaN is not a number"),
        ('{"name": "zoom", "arguments": {"x": -Infinity}}', "-Infinity is not a number"),
        (
            '{"name": "zoom", "arguments": {"x": 12345678901234567890}}',
            "beyond 64 bits",
        ),  # no checkpoint keeps it
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_call_that_can_not_be_used(body: str, error: str) -> None:
    _, [call] = calls_in(f"<tool_call>{body}</tool_call>")
    assert call.arguments is None
    assert error in call.error


def test_a_call_that_is_only_thought_of_is_none() -> None:
    call = '<tool_call>{"name": "zoom", "arguments": {}}</tool_call>'
    assert calls_in(f"<think>I could say {call}</think>No.")[1] == []
    assert len(calls_in(f"<think>{call}</think>{call}")[1]) == 1
    assert calls_in("<tool_call>{") == ("<tool_call>{", [])


@pytest.mark.parametrize(
    "text", ["<tool_call>" * 100_000, "<tool_call>" + " " * 1_000_000, "<tool_call></tool_call>" * 50_000]
)
def test_long_replies_take_linear_time(text: str) -> None:
    begun = time.thread_time()
    calls_in(text)
    assert time.thread_time() - begun < 5


# Refusals


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (ChatMessage(role="x", content="x"), "a message of type 'chat'"),
        (HumanMessage([{"type": "audio", "base64": "x", "mime_type": "audio/wav"}]), "type 'audio'"),
        (HumanMessage([{"type": "file", "base64": "x", "mime_type": "application/pdf"}]), "type 'file'"),
        (HumanMessage([{"type": "odd"}]), "type 'non_standard'"),
        (SystemMessage([IMAGE]), "a system message with 'image'"),
    ],
)
def test_what_it_does_not_take(chatml: ChatML, message: BaseMessage, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        chatml.render([message], lambda _: PICTURE)


def test_another_providers_thoughts_and_calls_are_passed_over(chatml: ChatML) -> None:
    blocks = [
        {"type": "thinking", "thinking": "secret", "signature": "x"},
        {"type": "text", "text": "said"},
        {"type": "tool_use", "id": "1", "name": "zoom", "input": {}},
    ]
    ids, _ = chatml.render([AIMessage(blocks)], lambda _: PICTURE)  # type: ignore[arg-type]
    assert "assistant\nsaid" in spelt(chatml, ids)
    assert "secret" not in spelt(chatml, ids)


def test_one_for_a_checkpoint(chatml: ChatML, tmp_path: Path) -> None:
    assert ChatML.of(Checkpoint.load(chatml.checkpoint.folder)) is chatml
