"""A server that is killed in the middle of episodes and begun again: the benchmark, with fewer of them."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("vllm")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("served")]


def test_every_episode_ends_and_ends_once(repo: Path) -> None:
    command = [sys.executable, str(repo / "benchmarks" / "server_kill.py"), "--episodes", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            out, errors = running.communicate(timeout=900)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)  # so that it ends its server too
            raise
    assert running.returncode == 0, errors[-3000:]
    said = json.loads(out.splitlines()[-1])
    assert 1 <= said["resumed"] <= 2, out  # one may have ended before the kill
    expected = {"episodes": 4, "ended": 4, "waited": 2, "lost": 0, "twice": 0}
    assert {key: said[key] for key in expected} == expected, out
