"""School: a run that is killed goes on, several processes learn as one, and a checkpoint comes of it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from r4agent.engines import Checkpoint


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Frames for a school of twenty clips."""
    from r4agent.training.nano.pool import draw
    from r4agent.training.nano.school import FRAMES, SCORED
    from r4agent.training.nano.student import BUDGET

    for first in (FRAMES, SCORED):
        list(draw(tmp_path / "frames", range(first, first + 20), BUDGET))
    return tmp_path / "frames"


@pytest.fixture
def typefaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with a typeface of a family that is held out, which a machine may lack: Pillow's own by another
    name."""
    from r4agent.textworld.fonts import built_in

    data = built_in().data
    for encoding in ("latin-1", "utf-16-be"):
        assert "Aileron".encode(encoding) in data
        data = data.replace("Aileron".encode(encoding), "Caladea".encode(encoding))
    folder = tmp_path / "home" / ".fonts"
    folder.mkdir(parents=True)
    (folder / "Caladea-Regular.ttf").write_bytes(data)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@contextmanager
def attending(
    start: Path, taught: Path, out: Path, frames: Path, minutes: float
) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes, as torchrun begins them. Those that are left are killed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        meet = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    meet |= {"WORLD_SIZE": "2", "R4_HOME": str(taught)}
    command = [
        *(sys.executable, "-m", "r4agent.training.nano.school", str(start), str(taught / "data"), str(out)),
        *("--frames", str(frames), "--clips", "20", "--minutes", str(minutes)),
        *("--save", "2", "--share", "0.2"),
    ]
    runs = [
        subprocess.Popen(
            command,
            env=meet | {"RANK": str(rank)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=(frames.parent / f"err{rank}").open("w"),
        )
        for rank in (0, 1)
    ]
    try:
        yield runs
    finally:
        for run in runs:
            run.kill()
            run.communicate()


def steps(out: Path, rank: int) -> list[dict[str, float]]:
    path = out / f"steps{rank}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
@pytest.mark.usefixtures("typefaces")
def test_a_run_that_was_killed_goes_on(
    student: Checkpoint, taught: Path, drawn: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with attending(student.folder, taught, out, drawn, 60) as runs:
        deadline = time.monotonic() + 240
        while len(steps(out, 0)) < 3 and time.monotonic() < deadline:
            assert [run.poll() for run in runs] == [None, None]
            time.sleep(0.1)
    before = steps(out, 0)
    assert len(before) >= 3
    saved = torch.load(out / "state.pt", weights_only=True)
    taken, kept = saved["taken"], saved["model"]["lm_head.weight"].clone()
    with attending(student.folder, taught, out, drawn, taken + 0.03) as runs:
        told = runs[0].communicate(timeout=240)[0]
        assert (runs[0].returncode, runs[1].wait(60)) == (0, 0)
    after = steps(out, 0)[len(before) :]
    assert after[0]["step"] == saved["step"] + 1
    assert {step["task"] for step in steps(out, 0)} <= {"read", "read alone"}
    assert {"bind", "locate"} <= {step["task"] for step in steps(out, 1)}
    assert str(out / "checkpoint") in told
    learnt = Checkpoint.load(out / "checkpoint")
    assert {path.name for path in learnt.folder.iterdir()} == {p.name for p in student.folder.iterdir()}
    now = load_file(learnt.folder / "model.safetensors")["model.embed_tokens.weight"]
    begun = load_file(student.folder / "model.safetensors")["model.embed_tokens.weight"]
    moved = float((now - begun).norm())
    assert float((now - kept).norm()) < moved  # it went on from what was saved, not from the start
    score = json.loads((out / "scores.jsonl").read_text().splitlines()[-1])
    assert score.keys() == {
        "step",
        *("read", "read, unknown typefaces", "text", "label, unknown typefaces"),
        *("frame", "board", "place named"),
    }
    with attending(out / "checkpoint", taught, out, drawn, 60) as runs:  # another student
        assert runs[0].wait(240) == 1
        assert "was begun with another student" in (tmp_path / "err0").read_text()


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


def test_turns() -> None:
    from r4agent.training.nano.school import task_of

    def turns(rank: int, world: int, early: bool) -> list[str]:
        return [task_of(rank, world, step, early) for step in range(12)]

    assert turns(0, 2, True) == 12 * ["read alone"]
    assert turns(1, 2, True) == 6 * ["bind", "locate"]
    assert turns(0, 2, False) == 6 * ["read", "read alone"]
    late = ["corner", "whole", "bind", "whole", "corner", "whole", "locate", "whole"]
    late += ["corner", "whole", "scan", "whole"]
    assert turns(1, 2, False) == turns(3, 4, False) == late
    alone = [task_of(0, 1, step, False) for step in range(24)]
    assert set(alone) == {"read", "read alone", *late}
