"""Killed anywhere, a run goes on: the same answer, one log line a message, on a real SQLite checkpointer.

Each case runs the graph in a child that gets a real SIGKILL at one exact point: after the k-th line of the
log is written, in the middle of it, or as a node is entered or left.
"""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from r4agent import Episode

from .conftest import EVERY_NODE

THREAD = {"configurable": {"thread_id": "t"}}
LINES = 11  # header, system, opening, 4 replies, 3 observations, end
WRITERS = ["re_encode"] * 3 + ["policy", "re_encode"] * 3 + ["policy", "answer"]


@contextmanager
def saver(path: Path) -> Iterator[SqliteSaver]:
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        yield SqliteSaver(connection)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def forks() -> Iterator[subprocess.Popen[str]]:
    script = Path(__file__).with_name("killed.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        yield server
        assert server.stdin
        server.stdin.close()


@pytest.fixture
def run_killed(forks: subprocess.Popen[str], clip: Path, tmp_path: Path) -> Callable[..., None]:
    """`run_killed(nth, when)`: start the run that the test will resume, and kill it there."""

    def run(nth: int, when: str, media: Path = clip) -> None:
        request = {
            "nth": nth,
            "when": when,
            "media": str(media),
            "replies": EVERY_NODE,
            "db": str(tmp_path / "db"),
            "store": str(tmp_path / "pictures"),
            "episodes": str(tmp_path / "episodes"),
        }
        assert forks.stdin
        assert forks.stdout
        forks.stdin.write(json.dumps(request) + "\n")
        forks.stdin.flush()
        assert int(forks.stdout.readline()) == -9, "the child came to its end"

    return run


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, LINES + 1), ids=[f"{n}-{node}" for n, node in enumerate(WRITERS, 1)])
def test_killed_at_a_node(nth: int, when: str, run_killed: Any, graph_of: Any, tmp_path: Path) -> None:
    run_killed(nth, when)
    with saver(tmp_path / "db") as checkpoints:
        graph = graph_of(EVERY_NODE, checkpointer=checkpoints)
        result = graph.invoke(None, THREAD)
        check_whole(result, graph.get_state(THREAD).values["messages"], tmp_path)


def check_whole(result: dict[str, Any], messages: list[Any], tmp_path: Path) -> None:
    """The run ended as one that was never killed: its answer, its cost, each line once."""
    assert (result["answer"], result["status"]) == ("42", "answered")
    assert (result["usage"]["turns"], result["usage"]["images"]) == (4, 12)
    [path] = (tmp_path / "episodes").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == LINES
    assert len({line["key"] for line in lines}) == LINES
    assert [line["id"] for line in lines if line["type"] == "message"] == [m.id for m in messages]
    assert not Episode.read(path).torn


NODES = [
    "prepare 1",
    "re_encode 1",
    "policy 1",
    "select_frames 1",
    "re_encode 2",
    "zoom 1",
    "policy 4",
    "answer 1",
]


@pytest.mark.parametrize("edge", ["enter", "leave"])
@pytest.mark.parametrize("node", NODES)
def test_killed_on_entering_or_leaving_a_node(
    node: str, edge: str, run_killed: Any, graph_of: Any, tmp_path: Path
) -> None:
    name, nth = node.split()
    run_killed(0, f"{name} {edge} {nth}")
    with saver(tmp_path / "db") as checkpoints:
        graph = graph_of(EVERY_NODE, checkpointer=checkpoints)
        result = graph.invoke(None, THREAD)
        check_whole(result, graph.get_state(THREAD).values["messages"], tmp_path)


def test_resumed_by_the_async_twin(run_killed: Any, graph_of: Any, tmp_path: Path) -> None:
    async def resume() -> None:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as checkpoints:
            graph = graph_of(EVERY_NODE, checkpointer=checkpoints)
            result = await graph.ainvoke(None, THREAD)
            state = await graph.aget_state(THREAD)
            check_whole(result, state.values["messages"], tmp_path)

    run_killed(6, "before")
    asyncio.run(resume())


def test_a_resumed_policy_is_not_asked_again_for_a_reply_it_has_given(
    run_killed: Any, graph_of: Any, tmp_path: Path
) -> None:
    """The reply was logged, the checkpoint was not: another sample would make log and state disagree."""

    def never(messages: list[Any]) -> str:
        raise AssertionError("asked again")

    run_killed(4, "after")  # the first reply
    with saver(tmp_path / "db") as checkpoints:
        graph = graph_of([never, *EVERY_NODE[1:]], checkpointer=checkpoints)
        assert graph.invoke(None, THREAD)["answer"] == "42"
        replies = [m for m in graph.get_state(THREAD).values["messages"] if isinstance(m, AIMessage)]
    assert replies[0].content == EVERY_NODE[0]


def test_the_media_must_still_be_the_same(run_killed: Any, graph_of: Any, clip: Path, tmp_path: Path) -> None:
    moving = tmp_path / "moving.mp4"
    moving.write_bytes(clip.read_bytes())
    run_killed(4, "after", moving)
    moving.write_bytes(clip.read_bytes() + b"\0" * 1000)
    with (
        saver(tmp_path / "db") as checkpoints,
        pytest.raises(Exception, match="changed since this run began"),
    ):
        graph_of(EVERY_NODE, checkpointer=checkpoints).invoke(None, THREAD)
