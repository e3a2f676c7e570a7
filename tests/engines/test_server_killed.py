"""A server that is killed in the middle of episodes and begun again: the benchmark, with fewer of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("vllm")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("served")]


def test_every_episode_ends_and_ends_once(repo: Path) -> None:
    command = [sys.executable, str(repo / "benchmarks" / "server_kill.py"), "--episodes", "4"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stderr[-3000:]
    said = json.loads(ran.stdout.splitlines()[-1])
    assert 1 <= said["resumed"] <= 2, ran.stdout  # one may have ended before the kill
    expected = {"episodes": 4, "ended": 4, "waited": 2, "lost": 0, "twice": 0}
    assert {key: said[key] for key in expected} == expected, ran.stdout
