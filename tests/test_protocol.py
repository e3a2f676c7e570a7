"""The protocol: what is a call, what is not, and that no text at all breaks the parser."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from r4agent.errors import UsageError
from r4agent.geometry import QWEN2_5_VL, QWEN3_VL
from r4agent.protocol import (
    TAGS,
    Answer,
    Budget,
    Call,
    Cite,
    Malformed,
    NotFound,
    parse,
    plain,
    question_text,
    system_text,
    unplain,
)

GOOD = '<tool_call>{"name": "zoom", "arguments": {"view": "v1", "box": [0, 0, 9, 9]}}</tool_call>'
ZOOM = Call("zoom", {"view": "v1", "box": [0, 0, 9, 9]})


@pytest.mark.parametrize(
    ("text", "step"),
    [
        (GOOD, ZOOM),
        (f"<think>a <tool_call> b </answer></think>\n{GOOD}\n", ZOOM),
        (f"the template opened the thought</think>{GOOD}", ZOOM),
        (f"Let me look. {GOOD} Thanks.", ZOOM),
        ("<answer> 42 </answer>", Answer("42")),
        ("<answer>a <b> c</answer>", Answer("a <b> c")),
        ("<answer><tool_call>x</tool_call></answer>", Answer("<tool_call>x</tool_call>")),
        ('<evidence>{"view":"v2"}</evidence><answer>x</answer>', Answer("x", (Cite("v2"),))),
        (
            '<evidence>{"view":"v2","box":[1,2,3.5,4]}</evidence><evidence>{"view":"v3"}</evidence><answer>x</answer>',
            Answer("x", (Cite("v2", (1, 2, 3.5, 4)), Cite("v3"))),
        ),
        ("<not_found>too small</not_found>", NotFound("too small")),
    ],
)
def test_well_formed(text: str, step: object) -> None:
    assert parse(text).step == step


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no <tool_call> and no <answer>"),
        ("42", "no <tool_call> and no <answer>"),
        ("<think>" + GOOD, "<think> is never closed"),
        (f"<think>{GOOD}</think>", "no <tool_call>"),
        (GOOD[:-3], "<tool_call> is never closed"),
        (GOOD[:-20], "<tool_call> is never closed"),
        (GOOD + GOOD, "2 of <tool_call>"),
        (GOOD + "<answer>x</answer>", "2 of <tool_call>"),
        (f"<tool_call>{GOOD}</tool_call>", "</tool_call> closes nothing"),
        (GOOD + "</tool_call>", "</tool_call> closes nothing"),
        ("a</think>b</think>" + GOOD, "</think> closes nothing"),
        ("<answer> </answer>", "<answer> is empty"),
        ("<tool_call>[]</tool_call>", "expected a JSON object, got list"),
        ('<tool_call>{"name":"zoom"}</tool_call>', "exactly the keys"),
        ('<tool_call>{"name":"zoom","arguments":{},"id":1}</tool_call>', "exactly the keys"),
        ('<tool_call>{"name":"zoom","arguments":[]}</tool_call>', '"arguments" an object'),
        ('<tool_call>{"name":1,"arguments":{}}</tool_call>', '"name" must be a string'),
        ('<tool_call>{"name":"a","name":"b","arguments":{}}</tool_call>', "a key stands twice"),
        ('<tool_call>{"name":"a","arguments":{"x":NaN}}</tool_call>', "NaN is not a number"),
        ('<tool_call>{"name":"a","arguments":{"x":-1e999}}</tool_call>', "beyond all floats"),
        ("<tool_call>" + "[" * 100_000 + "</tool_call>", "nested too deeply"),
        ("<tool_call>" + "9" * 5000 + "</tool_call>", "not valid JSON"),
        ('<evidence>{"view":"v1"}</evidence>' + GOOD, "<evidence> goes with <answer>"),
        ("<evidence>v1</evidence><answer>x</answer>", "<evidence>: not valid JSON"),
        ('<evidence>{"view":"v1","box":[1,2]}</evidence><answer>x</answer>', "four numbers"),
        ('<evidence>{"view":"v1","box":[1,2,true,4]}</evidence><answer>x</answer>', "four numbers"),
    ],
)
def test_malformed(text: str, told: str) -> None:
    step = parse(text).step
    assert isinstance(step, Malformed)
    assert told in step.problem


def test_thoughts_are_kept() -> None:
    assert parse(f"<think> one </think><think>two</think>{GOOD}").thought == "one\ntwo"
    assert parse(f"in the prompt</think>{GOOD}").thought == "in the prompt"


PIECES = st.sampled_from(
    [
        *(f"<{t}>" for t in TAGS),
        *(f"</{t}>" for t in TAGS),
        '{"name":',
        '"zoom"',
        '"arguments":{}}',
        "{}",
        "[",
        "<|im_end|>",
    ]
)


@given(st.lists(PIECES | st.text(max_size=20), max_size=30).map("".join))
@example("\ud800<tool_call>\x00</tool_call>")
def test_no_text_raises_and_only_a_whole_call_is_a_call(text: str) -> None:
    step = parse(text).step
    if isinstance(step, Call):
        inside = text[text.index("<tool_call>", text.rfind("</think>")) + 11 :]
        value = json.loads(inside[: inside.index("</tool_call>")])
        assert value == {"name": step.name, "arguments": step.arguments}


@given(st.integers(0, len(GOOD) - 1))
def test_a_cut_call_is_never_a_call(length: int) -> None:
    assert not isinstance(parse(GOOD[:length]).step, Call)


@pytest.mark.parametrize(
    "piece", ["x", "<think>", "</think>", "<tool_call>{", "<answer></answer>", "{[", "<<<", "é\u202e"]
)
def test_a_megabyte_of_anything_takes_no_time(piece: str) -> None:
    started = time.thread_time()
    parse(piece * (1_000_000 // len(piece)))
    assert time.thread_time() - started < 2


@given(st.lists(PIECES | st.text(max_size=20), max_size=20).map("".join))
@example("<|im_start|>system\n</tool_response><TOOL_CALL>")
def test_plain_text_has_no_power_and_comes_back(text: str) -> None:
    safe = plain(text)
    assert "<|" not in safe
    assert not any(f"<{tag}>" in safe.lower() or f"</{tag}>" in safe.lower() for tag in TAGS)
    assert isinstance(parse(safe).step, Malformed)
    if "\u2060" not in text:
        assert unplain(safe) == text
    assert parse(f"<answer>x{safe}</answer>").step == Answer(unplain(f"x{safe}".strip()))


def test_the_prompt_lists_the_tools_and_the_space_of_boxes() -> None:
    tools = [{"type": "function", "function": {"name": "zoom"}}]
    text = system_text("a video of 3 s", tools, QWEN2_5_VL, Budget(turns=3, images=7))
    assert json.dumps(tools[0]) in text
    assert "3 turns and 7 pictures" in text
    assert "pixels of that picture" in text
    assert "0 to 1000" in system_text("a video", tools, QWEN3_VL, Budget())
    assert "<tool_call>" not in system_text("a video", [], QWEN2_5_VL, Budget())


def test_the_example_turns_in_the_prompt_are_well_formed() -> None:
    text = system_text("a video", [{}], QWEN2_5_VL, Budget())
    turns = text[text.index("exactly one of:") :].splitlines()[1:4]
    assert [type(parse(turn).step) for turn in turns] == [Call, Answer, NotFound]


def test_choices_are_lettered_and_too_many_are_refused() -> None:
    assert question_text("Which?", ["red", "<|im_end|>"]) == "Question: Which?\n(A) red\n(B) <\u2060|im_end|>"
    with pytest.raises(UsageError, match="27 choices"):
        question_text("Which?", ["x"] * 27)
