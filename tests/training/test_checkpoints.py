"""Checkpoints of a run: which count, which go, and what a kill at any moment leaves."""

import errno
import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from r4agent.errors import RunError
from r4agent.training.checkpoints import COMPLETE, Completed, complete, disk, mark, newest


def saved(folder: Path, step: int, *, whole: bool = True) -> Path:
    """A checkpoint as a trainer leaves it."""
    checkpoint = folder / f"checkpoint-{step}"
    (checkpoint / "global_step").mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"x")
    if whole:
        mark(checkpoint)
    return checkpoint


def on_save(folder: Path, step: int, keep: int = 1) -> None:
    state: Any = SimpleNamespace(global_step=step, is_world_process_zero=True)
    args: Any = SimpleNamespace(output_dir=str(folder))
    control: Any = None
    Completed(keep).on_save(args, state, control)


def test_the_newest_whole_one_is_taken_and_the_others_removed(tmp_path: Path) -> None:
    saved(tmp_path, 9)
    tenth = saved(tmp_path, 10)  # by number, not by name
    torn = saved(tmp_path, 11, whole=False)
    assert newest(tmp_path) == tenth
    assert not torn.exists()
    assert [path.name for path in complete(tmp_path)] == ["checkpoint-9", "checkpoint-10"]


def test_without_any_there_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    assert newest(tmp_path / "nothing") is None


@pytest.mark.parametrize("keep", [1, 2])
def test_older_ones_go_when_a_newer_one_is_whole(tmp_path: Path, keep: int) -> None:
    for step in (1, 2, 3):
        saved(tmp_path, step, whole=False)
        on_save(tmp_path, step, keep)
    assert [path.name for path in complete(tmp_path)] == [f"checkpoint-{n}" for n in (1, 2, 3)[-keep:]]


@pytest.mark.parametrize("at", range(8))
def test_one_stays_whenever_the_disk_or_the_process_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The save of step 2 ends at its `at`-th look at the disk; step 1 or step 2 can still be resumed from."""
    saved(tmp_path, 1)
    saved(tmp_path, 2, whole=False)
    looks = iter(range(100))
    sync = os.fsync

    def failing(file: int) -> None:
        if next(looks) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr(os, "fsync", failing)
    with suppress(RunError, OSError):
        on_save(tmp_path, 2)
    monkeypatch.undo()
    left = newest(tmp_path)
    assert left is not None
    assert (left / "model.safetensors").exists()


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = saved(tmp_path, 1, whole=False)

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        RunError, match=r"checkpoint-1: can't be written \(No space left.*\); free some space"
    ):
        mark(checkpoint)
    assert not (checkpoint / COMPLETE).exists()


@pytest.mark.parametrize("save", [torch.save, lambda tensors, path: save_file(tensors, path)])
def test_whoever_writes_a_full_disk_is_one_line(tmp_path: Path, save: Callable[[Any, Path], None]) -> None:
    """torch and safetensors have errors of their own; a limit on files stands in for the disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(RunError, match="free some space, or mend it, and resume"), disk(tmp_path):
            save({"a": torch.zeros(1_000_000)}, tmp_path / "weights")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), disk(tmp_path):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
