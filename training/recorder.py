"""The recorder: what a trainer logs, as a file of JSON lines that curves are drawn from.

    {"step": 3, "seconds": 12.5, "loss": 1.25, "grad_norm": 0.8, …}

Promises: one line a logged step, in order; a run that resumes from step n goes on after n, and what was
logged beyond it before a kill is dropped, as those steps are taken again. The seconds are those since the
line before: their sum is what the training took.
Does not: choose what is logged.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from r4agent.page.render import write
from r4agent.training.backend import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

Progress = Callable[[int, int], None]


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Writes `path`, and tells `progress` the steps done and in all."""

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self.path = path
        self.progress = progress or (lambda done, total: None)
        self.since = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.progress(state.global_step, state.max_steps)
        self.since = time.monotonic()
        if state.is_world_process_zero:
            kept = [line for line in read(self.path) if line["step"] <= state.global_step]
            text = "".join(json.dumps(line) + "\n" for line in kept)
            if not self.path.is_file() or self.path.read_text() != text:
                write(self.path, text)  # whole, so that a kill loses nothing that was logged

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.progress(state.global_step, state.max_steps)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if logs and state.is_world_process_zero and "train_runtime" not in logs:  # that is the run's summary
            now = time.monotonic()
            line = {"step": state.global_step, "seconds": round(now - self.since, 3), **logs}
            self.since = now
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a run so far; none if it has not begun. One that a kill cut off is left out."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
