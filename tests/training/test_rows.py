"""Rows: what the policy saw and wrote, token by token."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from r4agent import Budget, ChatR4, Episode, MediaStore, create_rumination_graph
from r4agent.engines import Checkpoint
from r4agent.engines.chatml import END
from r4agent.errors import RunError, UsageError
from r4agent.ledger import Ledger
from r4agent.textworld.writer import clip_file
from r4agent.training.checks import check
from r4agent.training.rows import Row, led, replies
from r4agent.training.store import EpisodeStore

from ..policy.scripted_engine import ScriptedEngine
from .conftest import SCRIPTS, ZOOM, Played


def test_a_row_is_the_ledger_with_the_number_of_each_turn(episodes: Played, checkpoint: Checkpoint) -> None:
    for episode, script in zip(episodes.episodes, SCRIPTS, strict=True):
        row, ledger = Row.of(episode), Ledger.of(replies(episode))
        assert (list(row.ids), list(row.logprobs)) == (ledger.ids, ledger.logprobs)
        assert [turn > 0 for turn in row.turns] == ledger.sampled
        for number, said in enumerate(script, start=1):
            ids = [ident for ident, turn in zip(row.ids, row.turns, strict=True) if turn == number]
            assert ids.pop() == checkpoint.token(END)
            assert checkpoint.tokenizer.decode(ids, skip_special_tokens=False) == said
        assert row.turns[row.prompt] == 1
        assert row.images == tuple(picture.ref for picture in episode.pictures)
        assert not row.taught
        assert row.temperature == row.top_p == 1


def test_replies_that_led_to_the_answer(episodes: Played) -> None:
    zoomed, unread, direct = episodes.episodes
    assert led(zoomed) == {2, 3, 4}  # v6 of v4; v3 led nowhere
    assert led(unread) == {1, 2, 3}  # nothing is cited
    assert led(direct) == {1}


def test_a_follow_up_is_one_row_with_the_question_before_it(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Its turns go on counting; of the replies only those to the last question led to its answer."""
    said = iter([*SCRIPTS[0], ZOOM, '<evidence>{"view": "v7"}</evidence><answer>43</answer>'])
    engine = ScriptedEngine(checkpoint, lambda prompt, request: next(said))
    graph = create_rumination_graph(
        ChatR4(model=checkpoint.name, engine=engine, temperature=1.0),
        budget=Budget(overview_images=2, overview_tokens=16, picture_tokens=64),
        store=MediaStore(tmp_path / "pictures"),
        episodes=tmp_path / "episodes",
        checkpointer=InMemorySaver(),
    )
    clip, _ = clip_file(0, 0, tmp_path)
    thread: RunnableConfig = {"configurable": {"thread_id": "one"}}
    first = graph.invoke({"media": str(clip), "question": "What?"}, thread)
    after = graph.invoke({"media": str(clip), "question": "And then?"}, thread)
    engine.close()
    before, row = (Row.of(Episode.read(result["episode"])) for result in (first, after))
    length = len(before.ids)
    assert (row.ids[:length], row.turns[:length]) == (before.ids, before.turns)
    assert set(row.turns[length:]) == {0, 5, 6}
    assert row.images[: len(before.images)] == before.images
    assert led(Episode.read(after["episode"])) == {5, 6}
    check(row, checkpoint, MediaStore(tmp_path / "pictures"), for_rl=True)
    store = EpisodeStore(tmp_path / "store")
    store.add(Episode.read(after["episode"]))
    assert [Row.of(stored.episode) for stored in store.select()] == [before, row]


def edited(episode: Episode, number: int, **span: Any) -> Episode:
    """The episode with another span at a reply, counted from 1."""
    lines = [dict(line) for line in episode.messages]
    reply = [line for line in lines if line["role"] == "ai"][number - 1]
    metadata = reply["response_metadata"]
    reply["response_metadata"] = metadata | {"span": metadata["span"] | span}
    return replace(episode, messages=tuple(lines))


def test_a_history_that_was_edited_is_refused(episodes: Played) -> None:
    forked = edited(episodes.episodes[0], 4, at=0)
    with pytest.raises(RunError, match=f"episode {forked.id}, turn 4: the history before this reply is not"):
        Row.of(forked)


def test_a_reply_that_is_missing_or_was_held_is_refused(episodes: Played) -> None:
    first = episodes.episodes[0]
    lines = tuple(line for line in first.messages if line["id"] != first.messages[4]["id"])
    with pytest.raises(UsageError, match=f"episode {first.id}: .*a reply before it is missing"):
        Row.of(replace(first, messages=lines))
    with pytest.raises(UsageError, match=f"episode {first.id}: reply 2 was held to a schema"):
        Row.of(edited(first, 2, opening="<tool_call>"))
    with pytest.raises(UsageError, match=f"episode {first.id}: its policy never replied"):
        Row.of(replace(first, messages=first.messages[:2]))


def test_what_a_teacher_dictated_is_marked(episodes: Played) -> None:
    first = episodes.episodes[0]
    model = first.header["model"] | {"engine": "teacher"}
    assert Row.of(replace(first, header=first.header | {"model": model})).taught
