"""What a node costs without a model and without decoding: our own time, and LangGraph's.

    python benchmarks/node_overhead.py [--runs 40]

A scripted policy zooms turn after turn and answers. The source is open and its views are made, by a run
before the first that counts, so what is left is ours: messages, log lines, budget, routing. Per node: the
time of a whole run over its nodes, which are prepare, then policy, zoom and re_encode for each turn, and
answer. Runs without checkpoints, with checkpoints in memory and with SQLite's take turns, and so does a graph
of the same shape whose nodes hand back what ours gave, made beforehand: that is LangGraph's share. Then 32
episodes of 4 turns at once, in processor time a turn. On a busy machine the least is nearer to the cost than
the median.
Ends with one line of JSON: median milliseconds a node at 4 turns, with checkpoints in memory and in SQLite.
"""

import argparse
import asyncio
import itertools
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command

from r4agent import Budget, MediaStore, ScriptedPolicy, create_rumination_graph
from r4agent.graphs import RuminationInput, RuminationOutput, RuminationState
from r4agent.media import open_source
from r4agent.textworld import make_clip
from r4agent.textworld.writer import encode

AT_ONCE = 32
TURNS = (4, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=40, help="runs of each kind")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name, opened_media(Path(name)) as media:
        folder = Path(name)
        question = {"media": str(media), "question": "What is written there?"}
        found: dict[str, float] = {}
        print(f"milliseconds a node, median of {runs} runs\n")
        print(f"{'turns':>5} {'checkpoints':12} {'r4agent':>8} {'least':>6} {'LangGraph':>10} {'least':>6}")
        for turns in TURNS:
            found |= one_after_another(folder, question, turns, runs)
        found |= at_once(folder, question)
    head = {f"median_ms_{kind}": found.pop(f"median_ms_{kind}_{TURNS[0]}") for kind in ("memory", "sqlite")}
    print(json.dumps({key: round(value, 3) for key, value in (head | found).items()}))


# -- 1. one after another ------------------------------------------------------------------------------


def one_after_another(folder: Path, question: RuminationInput, turns: int, runs: int) -> dict[str, float]:
    """Median milliseconds a node, by kind of checkpoints; ours and the empty graph's."""
    steps = recorded(graph_of(folder, turns), question)
    database = sqlite3.connect(folder / f"{turns}.db", check_same_thread=False)
    with closing(database):
        savers = {"none": None, "memory": InMemorySaver(), "sqlite": SqliteSaver(database)}
        graphs = {
            (kind, whose): graph_of(folder, turns, saver) if whose == "ours" else empty_graph(steps, saver)
            for kind, saver in savers.items()
            for whose in ("ours", "empty")
        }
        wall: dict[Any, list[float]] = {which: [] for which in graphs}
        cpu: dict[Any, list[float]] = {which: [] for which in graphs}
        for number in range(-3, runs):  # three to warm up
            for which, graph in graphs.items():
                config = {"configurable": {"thread_id": f"{which} {number}"}}
                started, busy = time.perf_counter(), time.process_time()
                result = graph.invoke(question, config)
                times = time.perf_counter() - started, time.process_time() - busy
                assert result["answer"] == "42"
                if number >= 0:
                    wall[which].append(times[0] * 1000 / len(steps))
                    cpu[which].append(times[1] * 1000 / len(steps))
                if saver := savers[which[0]]:
                    saver.delete_thread(config["configurable"]["thread_id"])
    found = {}
    for kind in savers:
        ours, empty = (statistics.median(wall[kind, whose]) for whose in ("ours", "empty"))
        least, its_least = (min(wall[kind, whose]) for whose in ("ours", "empty"))
        print(f"{turns:5} {kind:12} {ours:8.2f} {least:6.2f} {empty:10.2f} {its_least:6.2f}", flush=True)
        found |= {f"median_ms_{kind}_{turns}": ours, f"langgraph_ms_{kind}_{turns}": empty}
        found |= {f"cpu_ms_{kind}_{turns}": statistics.median(cpu[kind, "ours"])}
    return found


# -- 2. many at once -----------------------------------------------------------------------------------


def at_once(folder: Path, question: RuminationInput) -> dict[str, float]:
    """Median processor milliseconds a turn, with many episodes at once and no checkpoints."""
    turns = TURNS[0]
    ours = graph_of(folder, turns)
    empty = empty_graph(recorded(ours, question), None)
    ways: dict[str, Callable[[Any], object]] = {
        "batch": lambda graph: graph.batch([question] * AT_ONCE),
        "abatch": lambda graph: asyncio.run(gathered(graph, question)),
    }
    print(
        f"\n{AT_ONCE} episodes of {turns} turns at once: processor milliseconds a turn, median and least of 9"
    )
    spent: dict[tuple[str, str], list[float]] = {}
    for _ in range(9):
        for (way, run), (whose, graph) in itertools.product(
            ways.items(), {"cpu": ours, "langgraph_cpu": empty}.items()
        ):
            busy = time.process_time()
            run(graph)
            busy = time.process_time() - busy
            spent.setdefault((whose, way), []).append(busy * 1000 / (AT_ONCE * turns))
    for (whose, way), times in spent.items():
        print(f"{way:8} {whose:14} {statistics.median(times):6.2f} {min(times):6.2f}")
    return {f"{whose}_ms_per_turn_{way}": statistics.median(times) for (whose, way), times in spent.items()}


async def gathered(graph: Any, question: RuminationInput) -> object:
    return await graph.abatch([question] * AT_ONCE)


# -- the graphs ----------------------------------------------------------------------------------------


@contextmanager
def opened_media(folder: Path) -> Iterator[Path]:
    """A clip whose source is open already, and stays so, whoever opens and closes it."""
    clip = folder / "clip.mp4"
    encode(make_clip(level=0, seed=1), clip)
    with (
        open_source(clip) as source,
        mock.patch("r4agent.graphs.sources.open_source", return_value=source),
        mock.patch.object(source, "close"),
    ):
        yield clip


STORES: dict[Path, MediaStore] = {}


def graph_of(folder: Path, turns: int, saver: BaseCheckpointSaver[Any] | None = None) -> Any:
    """A graph whose policy zooms into one overview picture after the other, then answers."""
    boxes = [[10 + n, 10, 210 + n, 110] for n in range(turns - 1)]
    calls = [
        {"name": "zoom", "arguments": {"view": f"v{n % 8 + 1}", "box": box}} for n, box in enumerate(boxes)
    ]
    replies = [f"<think>Closer.</think><tool_call>{json.dumps(call)}</tool_call>" for call in calls]
    return create_rumination_graph(
        ScriptedPolicy(replies=[*replies, '<evidence>{"view": "v9"}</evidence><answer>42</answer>']),
        budget=Budget(turns=turns),
        store=STORES.setdefault(folder, MediaStore(folder / "pictures")),
        episodes=folder / "episodes",
        checkpointer=saver,
    )


Steps = list[tuple[str, dict[str, Any]]]


def recorded(graph: Any, question: RuminationInput) -> Steps:
    """What each node of a run gave, in order."""
    return [step for chunk in graph.stream(question, stream_mode="updates") for step in chunk.items()]


def empty_graph(steps: Steps, saver: BaseCheckpointSaver[Any] | None) -> Any:
    """A graph that takes the same steps and gives the same updates, and does nothing for them. Where a run
    stands is told by its messages, so that many may run at once."""
    canned: dict[tuple[str, int], Command[Any]] = {}
    heard = 0
    for number, (name, update) in enumerate(steps):
        after = [steps[number + 1][0]] if number + 1 < len(steps) else []
        canned[name, heard] = Command(update=update, goto=after)
        heard += len(update.get("messages", []))

    def node(name: str) -> Callable[[RuminationState], Command[Any]]:
        return lambda state: canned[name, len(state.get("messages", []))]

    graph = StateGraph(RuminationState, input_schema=RuminationInput, output_schema=RuminationOutput)
    names = tuple(dict(steps))
    for name in names:
        graph.add_node(name, node(name), destinations=names)
    graph.add_edge(START, names[0])
    return graph.compile(checkpointer=saver)


if __name__ == "__main__":
    main()
