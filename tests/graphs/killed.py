"""Runs the scripted graph in a fork that is killed by SIGKILL at an exact point.

Started by test_resume.py as a process of its own, which never runs a graph itself, so that forking is
safe. One JSON request a line on standard input, the child's wait status as the answer.
"""

import inspect
import json
import os
import signal
import sqlite3
import sys
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from r4agent import MediaStore, ScriptedPolicy, create_rumination_graph
from r4agent.graphs.nodes import Nodes
from r4agent.log import Log


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_line(nth: int, when: str) -> None:
    """SIGKILL this process at the nth line that is really appended: after it, or in the middle of it."""
    append, seen = Log._append, 0

    def counted(self: Log, file: int, data: bytes) -> None:
        nonlocal seen
        seen += 1
        if seen == nth and when == "before":
            os.write(file, data[: len(data) // 2])  # a torn line, as a kill in mid-write leaves
            kill_self()
        append(self, file, data)
        if seen == nth:
            kill_self()

    Log._append = counted  # type: ignore[method-assign]


def kill_at_edge(node: str, edge: str, nth: str) -> None:
    """SIGKILL this process when the node is entered or left for the nth time."""
    work, seen = getattr(Nodes, node), 0

    def edged(self: Nodes, *arguments: Any, **named: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == int(nth) and edge == "enter":
            kill_self()
        update = work(self, *arguments, **named)
        if seen == int(nth) and edge == "leave":
            kill_self()
        return update

    edged.__signature__ = inspect.signature(work)  # type: ignore[attr-defined]
    setattr(Nodes, node, edged)


def run(request: dict[str, Any]) -> None:
    if request["nth"]:
        kill_at_line(request["nth"], request["when"])
    else:
        kill_at_edge(*request["when"].split())
    checkpoints = SqliteSaver(sqlite3.connect(request["db"], check_same_thread=False))
    graph = create_rumination_graph(
        ScriptedPolicy(replies=request["replies"]),
        store=MediaStore(request["store"]),
        episodes=request["episodes"],
        checkpointer=checkpoints,
    )
    graph.invoke(
        {"media": request["media"], "question": "What does the red sign say?"},
        {"configurable": {"thread_id": "t"}},
    )


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            run(json.loads(line))
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
