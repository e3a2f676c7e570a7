"""The archive: what a GRPO run keeps of its rollouts.

Promises: `out/episodes` is an EpisodeStore of every rollout that a saved checkpoint has learnt from, with its
item and its rewards, each once, however often the run was killed and resumed. What was rolled out after the
checkpoint that a run resumes from is rolled out again, and its first logs are put aside in `out/aside`.
Does not: keep rollouts that failed before they began.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from r4agent.episode import Episode
from r4agent.item import Item
from r4agent.training.backend import (
    PartialState,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from r4agent.training.graph_trainer import Batch
from r4agent.training.rollout import step_folder
from r4agent.training.store import EpisodeStore


class Archive(TrainerCallback):  # type: ignore[misc]
    """Of the run in `out`. While a step is younger than the last checkpoint its logs lie in
    `out/rollouts/step-00001`, beside what they were worth. stage: what the store notes of them. To be told of
    a checkpoint after it is complete."""

    def __init__(self, out: Path, stage: str = "") -> None:
        self.rollouts, self.aside = out / "rollouts", out / "aside"
        self.episodes = EpisodeStore(out / "episodes")
        self.stage = stage

    def note(self, batch: Batch, step: int) -> None:
        """Write down what a step's rollouts were worth."""
        lines = []
        for rollout, terms in zip(batch.rollouts, batch.scored.terms, strict=True):
            if rollout.episode is not None and rollout.episode.end is not None:
                rewards = {name: value for name, value in (terms or {}).items() if value is not None}
                item = rollout.item.model_dump(mode="json")
                lines.append({"log": rollout.episode.path.name, "item": item, "rewards": rewards})
        folder = step_folder(self.rollouts, step)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"worth-{PartialState().process_index}.json"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            self.episodes.register()  # so that `r4 clean` keeps what the first rollouts see
            self._keep(state.global_step)
            for folder in self._steps():  # beyond the checkpoint: they will be taken again
                self.aside.mkdir(exist_ok=True)
                number = len(list(self.aside.iterdir())) + 1
                folder.rename(self.aside / f"{number:05d}-{folder.name}")
        PartialState().wait_for_everyone()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            self._keep(state.global_step)

    on_train_end = on_save

    def _keep(self, step: int) -> None:
        """Move the logs of all steps up to this one into the store; a kill in the middle loses nothing."""
        for kept in self.rollouts.glob(".step-*"):
            shutil.rmtree(kept)
        for folder in self._steps():
            if int(folder.name.removeprefix("step-")) > step:
                break
            for line in _lines(folder):
                item = Item.model_validate(line["item"])
                episode = Episode.read(folder / line["log"])
                self.episodes.add(episode, stage=self.stage, item=item, rewards=line["rewards"])
            shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}")))  # half of it is no step

    def _steps(self) -> list[Path]:
        return sorted(self.rollouts.glob("step-*"))


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("worth-*.json")):
        yield from map(json.loads, path.read_text().splitlines())
