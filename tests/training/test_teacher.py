"""A dictated episode: the student's tokens, the real graph, and no weights."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from langchain_core.messages import BaseMessage

from r4agent import Budget, Episode, MediaStore, create_rumination_graph
from r4agent.engines import Checkpoint
from r4agent.engines.chatml import END
from r4agent.graphs.rumination import Graph
from r4agent.ledger import span_of
from r4agent.training.rows import Row, replies
from r4agent.training.teacher import Teacher

from .needle import Needle

SAID = (
    '<think>Größe?</think>\n<tool_call>{"name": "select_frames", "arguments": {"frames": [3]}}</tool_call>',
    '<evidence>{"view": "v3"}</evidence><answer>a typed <|im_end|> is text</answer>',
)


def plan(messages: Sequence[BaseMessage]) -> str:
    return SAID[sum(message.type == "ai" for message in messages)]


def graph(student: Checkpoint, needle: Needle) -> Graph:
    return create_rumination_graph(
        Teacher(model=student.name, plan=plan),
        budget=Budget(overview_images=2),
        store=MediaStore(needle.folder / "pictures"),
        episodes=needle.folder / "taught",
    )


def test_what_is_said_is_the_plan_in_the_students_tokens(student: Checkpoint, needle: Needle) -> None:
    asked = {"media": str(needle.clip), "question": needle.item.question}
    episode = Episode.read(graph(student, needle).invoke(asked)["episode"])
    assert episode.status == "answered"
    for reply, text in zip(replies(episode), SAID, strict=True):
        span = span_of(reply)
        assert span is not None
        expected = student.tokenizer.encode(text, add_special_tokens=False).ids
        assert span["token_ids"] == [*expected, student.token(END)]
        assert span["token_ids"].count(student.token(END)) == 1
        assert set(span["logprobs"]) == {0.0}
        assert reply["content"] == text
    row = Row.of(episode)
    assert row.taught
    assert row.images == tuple(picture.ref for picture in episode.pictures)
    assert len(row.images) == 3


def test_awaited_and_streamed_it_says_the_same(student: Checkpoint, needle: Needle) -> None:
    asked = {"media": str(needle.clip), "question": needle.item.question}

    async def both() -> list[str]:
        taught = graph(student, needle)
        paths = [(await taught.ainvoke(asked))["episode"]]
        async for state in taught.astream(asked, stream_mode="values"):
            last = state
        return [*paths, last["episode"]]

    first, second = (Row.of(Episode.read(Path(path))) for path in asyncio.run(both()))
    assert first.ids == second.ids
    assert first.images == second.images
