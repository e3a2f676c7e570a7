"""School: a term that is killed goes on, several processes learn as one, and a checkpoint comes of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r4agent.engines import Checkpoint


def attend(start: Path, out: Path, frames: Path, minutes: float) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("-m", "r4agent.training.nano.school", str(start), str(out)),
        *("--frames", str(frames), "--clips", "0", "--minutes", str(minutes), "--save", "2"),
    ]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, start_new_session=True)


def steps(out: Path, rank: int) -> list[dict[str, float]]:
    path = out / f"steps{rank}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
def test_a_term_that_was_killed_goes_on(student: Checkpoint, frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with attend(student.folder, out, frames, 60) as running:
        deadline = time.monotonic() + 240
        while len(steps(out, 0)) < 3 and time.monotonic() < deadline:
            assert running.poll() is None
            time.sleep(0.2)
        os.killpg(running.pid, signal.SIGKILL)
    before = steps(out, 0)
    assert before[0]["step"] == 1
    lasted = before[-1]["minutes"]
    with attend(student.folder, out, frames, lasted + 0.05) as running:
        told = running.communicate(timeout=240)[0]
        assert running.returncode == 0
    after = steps(out, 0)[len(before) :]
    assert after[0]["step"] in (3, 5)  # after a save
    assert {step["task"] for step in steps(out, 0)} == {"read"}
    assert {step["task"] for step in steps(out, 1)} >= {"bind", "locate"}
    assert str(out / "checkpoint") in told
    learnt = Checkpoint.load(out / "checkpoint")
    assert learnt.profile == student.profile
    files = {path.name for path in student.folder.iterdir()}
    assert {path.name for path in learnt.folder.iterdir()} == files
    score = json.loads((out / "scores.jsonl").read_text().splitlines()[-1])
    assert score.keys() == {"step", "read", "read, unknown typefaces", "text", "frame", "board"}


def test_gradients_are_the_mean_of_all(tmp_path: Path) -> None:
    """Of two processes, one of which has none for a weight that the other uses."""
    code = """
import sys, torch, torch.distributed as dist
from r4agent.training.nano.school import average
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
both, one = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
both.grad = torch.tensor([1.0, 4.0]) * (1 + 2 * rank)
if rank:
    one.grad = torch.tensor([6.0])
average([both, one])
assert both.grad.tolist() == [2.0, 8.0], both.grad
assert one.grad.tolist() == [3.0], one.grad
"""
    command = [sys.executable, "-c", code]
    runs = [subprocess.Popen([*command, str(rank), str(tmp_path / "meet")]) for rank in (0, 1)]
    assert [run.wait(120) for run in runs] == [0, 0]
