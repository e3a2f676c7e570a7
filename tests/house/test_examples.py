"""The examples run, and print what they promise. The server runs in `langgraph dev`, on loopback."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import well_read

pytestmark = pytest.mark.slow

PRINTS = {
    "compiled_graph.py": [
        r"invoke: 48\.2 GB at 8\.7 s in ",
        r"stream: opened … answer",
        r"batch: \['48\.2 GB', '412 ms'\]",
        r"ainvoke: 48\.2 GB",
        r"astream: 48\.2 GB",
        r"abatch: \['48\.2 GB', '412 ms'\]",
    ],
    "subgraph.py": [
        r"events: answer, frame, opened, region, turn",
        r"messages: \['opened', 'closed with 412 ms \(found there: yes\)'\]",
    ],
    "tool.py": [
        r"success: .*48\.2 GB",
        r"artifact: 48\.2 GB yes",
        r"error: .*passwd",
        r"The tool said: .*48\.2 GB",
    ],
    "middleware.py": [
        r"human: 8 pictures",
        r"tool: 1 pictures\nai: a call\ntool: 1 pictures",
        r"tool: filed: the snapshot is 48\.2 GB",
        r"answered read at 8\.67 s",
        r"episode: 10 pictures, by reference",
    ],
    "human_in_the_loop.py": [
        r"interrupted: .*84\.2 TB",
        r"answer: 48\.2 GB yes 2 pictures more",
    ],
    "tracing.py": [
        r"a call: 8 references, 0 pictures as base64",
        r"a call: 10 references, 0 pictures as base64\nthe model saw 10 pictures",
        r"the trace: rumination, ",
    ],
}
SERVED = [
    r"run: 412 ms answered yes",
    r"stream: opened … answer",
    r"interrupt: \{'answer': '412 ms', 'ask': 'Is that right\?'\}",
    r"resume: 412 ms yes",
    r"refused: MediaError",
]


def check(printed: str, expected: list[str]) -> None:
    for pattern in expected:
        assert re.search(pattern, printed), f"{pattern!r} is not in:\n{printed}"


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home that the examples share."""
    return os.environ | {
        "R4_HOME": str(well_read(tmp_path_factory.mktemp("home"))),
        "LANGSMITH_TRACING": "false",
    }


@pytest.mark.parametrize("name", PRINTS)
def test_an_example_prints_what_it_shows(name: str, repo: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, str(repo / "examples" / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    check(done.stdout, PRINTS[name])


def test_every_example_is_short_and_says_what_it_shows(repo: Path) -> None:
    for path in [
        *(repo / "examples" / name for name in PRINTS),
        *(repo / "examples" / "server").glob("*.py"),
    ]:
        text = path.read_text()
        assert len(text.splitlines()) < 60, path
        assert "\nShows: " in text, path


@pytest.fixture
def server(repo: Path, tmp_path: Path, environment: dict[str, str]) -> Iterator[str]:
    """The address of `langgraph dev` with the example's langgraph.json."""
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copy(repo / "examples" / "demo.mp4", tmp_path)  # a link would lead out of the roots
    for name in ("graph.py", "langgraph.json"):
        (folder / name).write_text((repo / "examples" / "server" / name).read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "langgraph"), "dev", "--no-browser", "--no-reload"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/ok", process, tmp_path / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(120):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(1)
    raise AssertionError(log.read_text()[-3000:])


def test_langgraph_dev_serves_runs_streams_and_interrupts(server: str, repo: Path) -> None:
    client = [sys.executable, str(repo / "examples" / "server" / "client.py"), server]
    done = subprocess.run(client, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    check(done.stdout, SERVED)
