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
    del said["seconds_away"]
    assert said == {"episodes": 4, "ended": 4, "waited": 2, "resumed": 2, "lost": 0, "twice": 0}, ran.stdout
