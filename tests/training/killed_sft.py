"""Trains as `test_sft.py` does and kills itself with SIGKILL: python killed_sft.py SETTINGS_JSON

settings: what `train` below takes; `step`, at the end of which it dies; `saving`: whether it dies while
that step's checkpoint is written, and not before."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def train(model: str, logs: list[str], pictures: str, out: str, lora: bool, **more: Any) -> Path:
    from r4agent import Episode, MediaStore
    from r4agent.training.sft import Lesson, sft

    return sft(
        model,
        [Lesson.of(Episode.read(log)) for log in logs],
        MediaStore(pictures),
        out=Path(out),
        settings={"learning_rate": 1e-2, "max_steps": 4, "per_device_train_batch_size": 1, "save_steps": 1},
        lora={"r": 2, "lora_dropout": 0.1} if lora else None,
        **more,
    )


def main() -> None:
    given = json.loads(sys.argv[1])
    step, saving = given.pop("step"), given.pop("saving")

    def die(done: int, total: int) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    if saving:
        from r4agent.training import checkpoints

        whole = checkpoints.mark
        checkpoints.mark = lambda folder: die(int(folder.name.split("-")[1]), 0) or whole(folder)
    train(**given, progress=None if saving else die)


if __name__ == "__main__":
    main()
