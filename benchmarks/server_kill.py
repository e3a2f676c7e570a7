"""Kill the server in the middle of many episodes, and start it again: does every episode end, once?

    python benchmarks/server_kill.py [--episodes 20]

A real `vllm serve` on a tiny random model gets SIGKILL once a third of all replies are logged, and is started
again on the same port. Half of the episodes wait for it (`retry_for`); the other half give up after a second,
stay `failed`, and are resumed from their SQLite checkpoints once the server is back (`graph.invoke(None,
thread)`). The model's replies are noise, which costs an episode its turns, so each takes four turns and ends
with the status `budget`: this is about the run, not about answers.

Then every log is read: one header, each message once and after the one before it, a reply for every turn, one
end that counts, and a `failed` one before it only where an episode was resumed. Ends with one line of JSON:
episodes, ended, waited (ended by themselves), resumed, lost, twice, seconds_away.
"""

import argparse
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver
from PIL import Image

from r4agent import Budget, create_rumination_graph
from r4agent.engines.cpu import serve_environment
from r4agent.engines.tiny import make_tiny
from r4agent.graphs.rumination import Graph
from r4agent.media import Limits
from r4agent.media.store import MediaStore
from r4agent.policy.chat import ChatR4

TURNS = 4
PATIENT, IMPATIENT = 600.0, 1.0  # retry_for, in seconds
BUDGET = Budget(turns=TURNS, overview_images=2, overview_tokens=16)


class Server:
    """`vllm serve` in a session of its own, so that a kill reaches all its processes."""

    def __init__(self, model: Path, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.command = [
            *(sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(model), "--enable-scale-out"),
            *("--host", "127.0.0.1", "--port", str(self.port), "--enforce-eager", "--dtype", "float32"),
            *("--max-model-len", "32768", "--max-num-seqs", "32", "--limit-mm-per-prompt", '{"video": 0}'),
        ]
        self.log = log
        self.start()

    def start(self) -> None:
        environment = serve_environment() | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Until it takes connections."""
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"vllm serve ended:\n{self.log.read_text(errors='replace')[-3000:]}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(1)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(model: Path, log: Path) -> Iterator[Server]:
    server = Server(model, log)
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def make_graph(folder: Path, model: Path, url: str, retry_for: float) -> Graph:
    # check_same_thread: batch runs its episodes in threads; SqliteSaver has a lock of its own
    saver = SqliteSaver(sqlite3.connect(folder / f"{retry_for:g}.db", check_same_thread=False))
    policy = ChatR4(
        model=str(model),
        engine="http",
        base_url=url,
        engine_args={"retry_for": retry_for},
        temperature=1.0,
        max_tokens=96,
        timeout=2 * PATIENT,
    )
    return create_rumination_graph(
        policy,
        budget=BUDGET,
        store=MediaStore(folder / "pictures"),
        episodes=folder / "episodes",
        limits=Limits(decode_seconds=300),  # many at once on a small machine, beside a server that starts
        checkpointer=saver,
    )


def make_media(folder: Path, number: int) -> Path:
    """Two pictures that no other episode has."""
    media = folder / f"media{number}"
    media.mkdir()
    for page in range(2):
        Image.new("RGB", (320, 240), (number * 9 % 256, page * 99, 40)).save(media / f"{page}.png")
    return media


def replies_logged(folder: Path) -> int:
    return sum(path.read_bytes().count(b'"role":"ai"') for path in (folder / "episodes").glob("*.jsonl"))


def run(graph: Graph, asked: list[dict[str, Any]], threads: list[dict[str, Any]], ends: list[Any]) -> None:
    """All at once; `ends` gets the output of each, or what it failed with."""
    configs = [{**thread, "max_concurrency": len(asked)} for thread in threads]
    ends += graph.batch(asked, configs, return_exceptions=True)  # type: ignore[arg-type]


def interrupted(
    server: Server, folder: Path, graphs: list[Graph], count: int
) -> tuple[list[list[Any]], float]:
    """Run `count` episodes on each graph, and kill the server in the middle. What each came to, and how long
    the server was away."""
    ends: list[list[Any]] = [[] for _ in graphs]
    workers = []
    for number, graph in enumerate(graphs):
        names = range(number * count, (number + 1) * count)
        asked = [{"media": str(make_media(folder, n)), "question": f"What is on sign {n}?"} for n in names]
        threads = [thread(n) for n in range(count)]
        workers.append(threading.Thread(target=run, args=(graph, asked, threads, ends[number])))
    for worker in workers:
        worker.start()
    while replies_logged(folder) < len(graphs) * count * TURNS // 3:
        time.sleep(0.01)
    server.kill()
    print(f"killed with {replies_logged(folder)} of {len(graphs) * count * TURNS} replies logged", flush=True)
    began = time.monotonic()
    workers[-1].join()  # those that give up have done so
    server.start()
    server.wait()
    away = time.monotonic() - began
    for worker in workers:
        worker.join()
    return ends, away


def thread(number: int) -> dict[str, Any]:
    return {"configurable": {"thread_id": str(number)}}


def resume(graph: Graph, ends: list[Any]) -> set[str]:
    """Go on with the episodes that failed; which those were."""
    failed = [number for number, end in enumerate(ends) if isinstance(end, BaseException)]
    for number in failed:
        ends[number] = graph.invoke(None, thread(number))
    return {ends[number]["episode"] for number in failed}


def twice(path: Path, resumed: bool) -> list[str]:
    """What a log has too often or too rarely; nothing, if all is well."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    messages = [line for line in lines if line["type"] == "message"]
    ends = [line["status"] for line in lines if line["type"] == "end"]
    wrong = []
    if [line["type"] for line in lines].count("episode") != 1:
        wrong.append("headers")
    if len({line["id"] for line in messages}) != len(messages):
        wrong.append("a message twice")
    if [line["after"] for line in messages[1:]] != [line["id"] for line in messages[:-1]]:
        wrong.append("messages that don't follow one another")
    if sum(line["role"] == "ai" for line in messages) != TURNS:
        wrong.append("replies")
    if ends != ["failed"] * resumed + ["budget"] or lines[-1]["type"] != "end":
        wrong.append(f"ends {ends}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill the server in the middle of many episodes.")
    parser.add_argument("--episodes", type=int, default=20)
    count = parser.parse_args().episodes // 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_tiny("qwen3_vl", folder / "model")
        with running(model, folder / "serve.log") as server:
            graphs = [make_graph(folder, model, server.url, seconds) for seconds in (PATIENT, IMPATIENT)]
            (waited, gave_up), away = interrupted(server, folder, graphs, count)
            for end in waited:
                print("waited:", end["status"] if isinstance(end, dict) else end)
            print("gave up:", *{str(end) for end in gave_up if isinstance(end, BaseException)}, sep="\n    ")
            resumed = resume(graphs[1], gave_up)
        done = [end for end in (*waited, *gave_up) if isinstance(end, dict)]
        logs = sorted((folder / "episodes").glob("*.jsonl"))
        wrong = {path.stem: found for path in logs if (found := twice(path, str(path) in resumed))}
        for episode, found in wrong.items():
            print(episode, *found)
        print(
            json.dumps(
                {
                    "episodes": 2 * count,
                    "ended": len(done),
                    "waited": sum(isinstance(end, dict) for end in waited),
                    "resumed": len(resumed),
                    "lost": 2 * count - len({end["episode"] for end in done}),
                    "twice": len(wrong) + len(logs) - 2 * count,
                    "seconds_away": round(away),
                }
            )
        )


if __name__ == "__main__":
    main()
