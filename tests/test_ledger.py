"""The ledger is a fold: what it holds is what the engine was given and what it sampled."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk

from r4agent.errors import UsageError
from r4agent.ledger import Ledger, Span, confidence, digest, span_of

IDS = st.lists(st.integers(0, 9), max_size=5)


def span(at: int, prompt: list[int], sampled: list[int], images: tuple[str, ...] = ()) -> Span:
    return Span(
        at=at,
        prompt_ids=prompt,
        token_ids=sampled,
        logprobs=[-0.5] * len(sampled),
        images=list(images),
        image_grid_thw=[[1, 4, 4]] * len(images),
        opening="",
        said="",
    )


def reply(one: Span) -> AIMessage:
    return AIMessage("x", response_metadata={"span": one})


@given(st.lists(st.tuples(IDS, IDS, st.lists(st.sampled_from("ab"), max_size=2)), max_size=6))
def test_a_fold_over_turns(turns: list[tuple[list[int], list[int], list[str]]]) -> None:
    whole: list[int] = []
    spans = []
    for prompt, sampled, images in turns:
        spans.append(span(len(whole), prompt, sampled, tuple(images)))
        whole += prompt + sampled
    ledger = Ledger.of(reply(s) for s in spans)
    assert ledger.ids == whole
    assert len(ledger.ids) == len(ledger.sampled) == len(ledger.logprobs)
    assert [i for i, mine in zip(ledger.ids, ledger.sampled, strict=True) if mine] == [
        token for _, sampled, _ in turns for token in sampled
    ]
    assert ledger.images == [image for _, _, images in turns for image in images]
    assert len(ledger.grids) == len(ledger.images)
    assert all(lp == 0 for lp, mine in zip(ledger.logprobs, ledger.sampled, strict=True) if not mine)
    lines = [{"role": "ai", "response_metadata": json.loads(json.dumps({"span": s}))} for s in spans]
    assert Ledger.of(lines) == ledger  # an episode's lines say the same
    assert ledger.ahead([*whole, 1], ledger.images) == len(whole)


def test_an_edited_history_is_a_fork() -> None:
    first, other = span(0, [1, 2], [3], ("a",)), span(0, [1, 9], [4, 5], ("b",))
    ledger = Ledger.of([reply(first), reply(other)])
    assert (ledger.ids, ledger.images, ledger.forks) == ([1, 9, 4, 5], ["b"], 1)
    ledger.add(span(4, [6], [7]))
    assert (ledger.ids, ledger.forks) == ([1, 9, 4, 5, 6, 7], 1)


def test_a_reply_that_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match="begins at token 3 of 2: a reply before it is missing"):
        Ledger.of([reply(span(0, [1], [2])), reply(span(3, [4], [5]))])


@pytest.mark.parametrize("foreign", [AIMessage("x"), {"role": "ai", "content": "x"}])
def test_a_reply_without_tokens_is_named(foreign: object) -> None:
    with pytest.raises(UsageError, match="reply 2 has no token ids"):
        Ledger.of([reply(span(0, [1], [2])), foreign])  # type: ignore[list-item]
    assert span_of(foreign) is None  # type: ignore[arg-type]


def test_another_picture_is_another_history() -> None:
    """Every picture is one token of the ledger: the ids alone don't tell."""
    ledger = Ledger.of([reply(span(0, [1, 2], [3], ("a",)))])
    assert ledger.ahead([1, 2, 3, 4], ["a"]) == 3
    assert ledger.ahead([1, 2, 3, 4], ["a", "c"]) == 3
    assert ledger.ahead([1, 2, 3, 4], ["b"]) == 0
    assert ledger.ahead([1, 2], ["a"]) == 0


@given(st.text(), st.dictionaries(st.text(max_size=3), st.one_of(st.integers(), st.text())))
def test_a_digest_knows_a_message_again(text: str, args: dict[str, int | str]) -> None:
    call = {"name": "zoom", "args": args, "id": "1", "type": "tool_call"}
    message = AIMessage(text, tool_calls=[call])
    chunk = AIMessageChunk(
        text, tool_call_chunks=[{"name": "zoom", "args": json.dumps(args), "id": "1", "index": 0}]
    )
    blocks = AIMessage([{"type": "text", "text": text}], tool_calls=[call])
    assert digest(message) == digest(chunk) == digest(blocks)
    assert digest(message) == digest(AIMessage.model_validate_json(message.model_dump_json()))
    assert digest(message) != digest(AIMessage(text + ".", tool_calls=[call]))
    assert digest(message) != digest(AIMessage(text))


def test_confidence() -> None:
    assert confidence(reply(span(0, [1], [2, 3]))) == pytest.approx(0.6065, abs=1e-4)
    assert confidence(reply(span(0, [1], []))) is None
    assert confidence(AIMessage("x")) is None
