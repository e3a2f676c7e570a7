"""Checkpoints of a training run: whole, or not there.

Promises: after a kill -9 or a full disk at any moment, resuming takes the newest checkpoint that was written
to its end, and at least one of those that were stays until a newer one is on disk. A run that is resumed from
it goes on as if it had never stopped: the trainer saves weights, optimizer, schedule and chance.
Does not: save (the trainer does), or decide how often.

A trainer writes `checkpoint-<step>/` file by file, so that one which was killed in between leaves a folder
that looks like the others. Here a folder counts only with the file `complete` in it, written last.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from r4agent.errors import RunError, UsageError, one_line
from r4agent.training.backend import (
    PartialState,
    PeftModel,
    PrinterCallback,
    SafetensorError,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

COMPLETE = "complete"
UNWRITTEN = ("I/O error", "PytorchStreamWriter", "unexpected pos")
"""What safetensors and torch say, in errors of their own, when a file could not be written."""


class Completed(TrainerCallback):  # type: ignore[misc]
    """Marks each checkpoint once all of it is on disk, then deletes all but the newest `keep`.

    The trainer's own save_total_limit must stay None: it deletes the old before the new is complete."""

    def __init__(self, keep: int = 1) -> None:
        self.keep = keep

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        PartialState().wait_for_everyone()  # every process writes its own chance
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir)
        mark(folder / f"checkpoint-{state.global_step}")
        for old in complete(folder)[: -self.keep]:
            _unmark(old)
            shutil.rmtree(old)


def train(trainer: Any, *, resume: bool) -> None:
    """Have a trainer run to its end, from the newest complete checkpoint if that is wanted and there is one.
    Raises UsageError when it would write beside the checkpoints of another run."""
    folder = Path(trainer.args.output_dir)
    if not resume and any(folder.glob("checkpoint-*")):
        raise UsageError(f"{folder}: has checkpoints of an earlier run; resume it, or remove the folder")
    trainer.remove_callback(PrinterCallback)  # standard output is not its own
    at = newest(folder) if resume else None
    if at is not None:
        _restore(trainer, at)
    with disk(folder):
        trainer.train(resume_from_checkpoint=str(at) if at else None)


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Makes a RunError of what is raised where a file can't be written, and of nothing else."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not isinstance(error, OSError) and not any(words in str(error) for words in UNWRITTEN):
            raise
        raise RunError(f"{folder}: {one_line(error)}; free some space, or mend it, and resume") from error


def _restore(trainer: Any, checkpoint: Path) -> None:
    """Give the model the weights of a checkpoint, and keep the trainer from doing so: it looks for names that
    it has not saved them under, and goes on with a warning and the weights that the run began with
    (transformers issue 43701). Adapters and DeepSpeed have files of their own; FSDP shares the weights out
    only after this, by reading: it was not run."""
    if isinstance(trainer.model, PeftModel) or trainer.is_deepspeed_enabled:
        return
    saved = type(trainer.model).from_pretrained(checkpoint, dtype=trainer.model.dtype)
    trainer.model.load_state_dict(saved.state_dict())
    trainer._load_from_checkpoint = lambda *_, **__: None


def mark(folder: Path) -> None:
    """Put a folder's files on disk, then the file that says so."""
    try:
        for path in [*folder.rglob("*"), folder]:
            _sync(path)
        (folder / COMPLETE).touch()
        _sync(folder)
        _sync(folder.parent)
    except OSError as error:
        raise RunError(
            f"{folder}: can't be written ({error.strerror}); free some space and resume"
        ) from error


def complete(folder: Path) -> list[Path]:
    """The complete checkpoints in a run's folder, oldest first."""
    marked = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return sorted(marked, key=_step)


def newest(folder: Path) -> Path | None:
    """The checkpoint to resume from, if there is one; those that a kill left unfinished are removed."""
    with PartialState().main_process_first():  # it removes, the others look
        whole = complete(folder)
        for path in set(folder.glob("checkpoint-*")) - set(whole):
            shutil.rmtree(path)
    return whole[-1] if whole else None


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _unmark(folder: Path) -> None:
    """So that a kill in the middle of deleting it leaves no checkpoint that looks whole."""
    (folder / COMPLETE).unlink()
    _sync(folder)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
