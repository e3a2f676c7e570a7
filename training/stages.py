"""Stages: a curriculum, carried out.

    curriculum = Curriculum.read("examples/curricula/tiny.yaml")
    for done in run(curriculum, resume=True):
        print(done.name, done.checkpoint)

Promises: each stage begins with the checkpoint of the one before; what is finished is not done again, what
was killed goes on, and what was begun with other settings is refused; each checkpoint is evaluated by
`r4 eval`'s own code.
Does not: know a stage by its name. What it is, is said in the curriculum.

    out/00-start/evaluation/   what the model could do before
    out/01-<name>/             stage.json: all that decides it · trainer/ · metrics.jsonl · checkpoint/ ·
                               evaluation/ · index.html: curves
    out/index.html             all stages
"""

import gc
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r4agent.engines import Checkpoint
from r4agent.errors import UsageError, one_line
from r4agent.evaluation import Results, summary
from r4agent.graphs.opening import versions
from r4agent.media.store import MediaStore, home
from r4agent.page.render import write
from r4agent.reader import Reader
from r4agent.training import grpo, sft, weights
from r4agent.training.backend import PartialState, torch
from r4agent.training.curriculum import Asked, Curriculum, Grpo, Kept, Sft
from r4agent.training.features import VisionFeatures
from r4agent.training.outcomes import START, Watch, evaluated, unwatched, write_pages
from r4agent.training.recorder import Progress
from r4agent.training.scoring import Means, Rewards
from r4agent.training.store import EpisodeStore


@dataclass(frozen=True, slots=True)
class Done:
    """A stage that is finished. results: of its evaluation, where there is one."""

    name: str
    folder: Path
    checkpoint: str
    results: Results | None

    def told(self) -> dict[str, Any]:
        """The same as JSON has it."""
        figures = summary(self.results) if self.results else None
        return {"stage": self.name, "checkpoint": self.checkpoint, "figures": figures}


def run(
    curriculum: Curriculum, *, only: str | None = None, resume: bool = False, watch: Watch = unwatched
) -> Iterator[Done]:
    """Carry out all stages, or the one named `only`; yields each when it is done, first the start if that is
    evaluated. Without `resume` a stage that was begun is an error.

    Under several processes (`accelerate launch`) stages are trained and not evaluated: run it with `resume`
    in one process for that.
    """
    names = [stage.name for stage in curriculum.stages]
    if only is not None and only not in names:
        raise UsageError(f"stage {only!r}: there are {', '.join(names)}")
    if _several() and PartialState().num_processes != curriculum.devices:
        raise UsageError(
            f"devices {curriculum.devices}, and {PartialState().num_processes} processes were launched; a "
            "step's batch would be another: make them equal"
        )
    for stage in curriculum.stages:
        check(stage)
    if not resume:
        _refuse_begun(curriculum, only)
    PartialState().wait_for_everyone()  # else one would find what another has begun
    if only in (None, names[0]) and curriculum.evaluation and not _several():
        start = curriculum.out / START
        yield Done("start", start, curriculum.model, evaluated(curriculum, curriculum.model, start, watch))
    for number, name in enumerate(names, start=1):
        if only in (None, name):
            yield _carried_out(curriculum, number, watch)


def _carried_out(curriculum: Curriculum, number: int, watch: Watch) -> Done:
    stage, folder = curriculum.stages[number - 1], curriculum.folder(number)
    checkpoint = folder / "checkpoint"
    start = _start(curriculum, number)
    decides = stage.model_dump(mode="json") | {"model": start, **_shared(curriculum, stage)}
    trained = checkpoint.is_dir()
    _note(folder, decides if trained else decides | _given(stage))  # new data is nothing to what is finished
    if not trained:
        with watch(f"steps of {stage.name}") as progress:
            _train(curriculum, stage, start, folder, progress)
        gc.collect()  # a trainer refers to itself in circles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    results = None
    if not _several():
        results = evaluated(curriculum, str(checkpoint), folder, watch)
        write_pages(curriculum)
    return Done(stage.name, folder, str(checkpoint), results)


def _train(curriculum: Curriculum, stage: Sft | Grpo, start: str, folder: Path, progress: Progress) -> None:
    store = MediaStore()
    shared: dict[str, Any] = {
        "out": folder,
        "settings": {"seed": curriculum.seed, **stage.settings},
        "lora": stage.lora,
        "vision": stage.vision,
        "dtype": stage.dtype,
        "resume": True,
        "progress": progress,
    }
    match stage:
        case Sft():
            kept = EpisodeStore(stage.data.episodes).select(**stage.data.which)
            lessons = [sft.Lesson.of(stored.episode, stage.train_on) for stored in kept]
            sft.sft(start, lessons, store, **shared)
        case Grpo(data=Kept() as data):
            episodes = EpisodeStore(data.episodes).select(**data.which)
            rewards = _rewards(stage, start, store)
            grpo.replay(start, episodes, store, rewards=rewards, mask_cut=stage.mask_cut, **shared)
        case Grpo(data=Asked() as data):
            assert stage.engine != "replay"  # which goes with episodes, as the curriculum has checked
            grpo.grpo(
                start,
                data.load().items,
                store,
                budget=curriculum.rolled_with(stage),
                engine=stage.engine,
                engine_args=stage.engine_args,
                max_tokens=stage.max_tokens,
                stage=stage.name,
                rewards=_rewards(stage, start, store),
                mask_cut=stage.mask_cut,
                **shared,
            )


def _rewards(stage: Grpo, start: str, store: MediaStore) -> Rewards:
    """What an episode is worth. Features of pictures are those of the tower that the stage begins with."""
    rewards = Rewards.of(stage.rewards)
    seen = VisionFeatures.load(Checkpoint.load(start), store) if rewards.needs_features else None
    reader = Reader(cache=home() / "read") if "evidence" in rewards.weights else None
    return Rewards.of(stage.rewards, Means(seen, reader, store))


def check(stage: Sft | Grpo) -> None:
    """Raises now what would be raised hours later, when the stage's turn comes."""
    try:
        weights.adapter(stage.lora, stage.vision)
        if isinstance(stage, Sft):
            sft.config_of(stage.settings, Path(), stage.dtype)
        else:
            grpo.config_of(stage.settings, Path(), stage.dtype)
            Rewards.of(stage.rewards)
    except UsageError as error:
        raise UsageError(f"stage {stage.name}: {one_line(error)}") from error


def _start(curriculum: Curriculum, number: int) -> str:
    """The checkpoint that a stage begins with."""
    if number == 1:
        return curriculum.model
    before = curriculum.folder(number - 1) / "checkpoint"
    if not before.is_dir():
        raise UsageError(
            f"stage {curriculum.stages[number - 1].name}: begins with {before}, which isn't there; run stage "
            f"{curriculum.stages[number - 2].name} first"
        )
    return str(before)


def _refuse_begun(curriculum: Curriculum, only: str | None) -> None:
    for number, stage in enumerate(curriculum.stages, start=1):
        if only in (None, stage.name) and curriculum.folder(number).exists():
            raise UsageError(
                f"{curriculum.folder(number)}: is there from an earlier run; go on with --resume, give "
                "another out, or delete it"
            )


def _shared(curriculum: Curriculum, stage: Sft | Grpo) -> dict[str, Any]:
    """What of a curriculum decides each of its stages."""
    return {
        "seed": curriculum.seed,
        "budget": curriculum.rolled_with(stage).model_dump(),
        "devices": curriculum.devices,
    }


def _given(stage: Sft | Grpo) -> dict[str, str]:
    """Which data a stage finds where it is told to look: a store grows, and so does a file."""
    match stage.data:
        case Kept() as data:
            kind, ids = "episodes", [entry.id for entry in EpisodeStore(data.episodes).entries(**data.which)]
        case Asked() as data:
            kind, ids = "items", [item.id for item in data.load().items]
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    return {kind: f"{len(ids)}, sha256 of their ids {digest[:16]}"}


def _note(folder: Path, decides: dict[str, Any]) -> None:
    """Write down what decides a stage. UsageError when it was begun with something else."""
    path = folder / "stage.json"
    with PartialState().main_process_first():
        if not path.exists():
            write(path, json.dumps(decides | {"versions": versions()}, indent=2) + "\n")
    before = json.loads(path.read_text())
    for key, value in decides.items():
        if before.get(key) != value:
            raise UsageError(
                f"{folder}: was begun with {key} {before.get(key)!r}, now {value!r}; give another out, or "
                "delete it"
            )


def _several() -> bool:
    return bool(PartialState().num_processes > 1)
