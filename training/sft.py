"""SFT: a model learns the replies of episodes, token by token as they were sampled.

    lessons = [Lesson.of(episode, train_on="led") for episode in episodes]
    sft("Qwen/Qwen2.5-VL-3B-Instruct", lessons, MediaStore(), out=Path("runs/sft"))

Promises: TRL's own SFTTrainer, with its loss and its metrics; what is learnt is the policy's own tokens, all
or those of the turns that led to the answer, and nothing else; every row is checked before every update; a
run that was killed goes on to the same weights.
Does not: render a conversation, cut one that is long, or choose episodes.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from r4agent.engines import Checkpoint
from r4agent.engines.pixels import Pixels
from r4agent.episode import Episode
from r4agent.errors import UsageError, one_line
from r4agent.media.store import MediaStore
from r4agent.training import checkpoints, weights
from r4agent.training.backend import Dataset, SFTConfig, SFTTrainer, torch
from r4agent.training.checks import check, check_inputs
from r4agent.training.collator import expanded, inputs, padded
from r4agent.training.recorder import Progress, Recorder
from r4agent.training.rows import Row, led, slipped

TrainOn = Literal["all", "led"]
"""Which replies are learnt: all, or those that led to the answer (`r4agent.training.rows.led`); no slips."""

IGNORED = -100  # a label that counts for nothing, as torch's cross_entropy has it

TRAINERS = {
    "output_dir": "say it as `out`",
    "remove_unused_columns": "rows are made by our own collator",
    "resume_from_checkpoint": "say it as `resume`",
    "save_total_limit": "say it as `keep`",
    "eval_strategy": "`r4 eval` evaluates",
}
"""Settings of any trainer that are not the caller's, and why."""

OURS = {
    **TRAINERS,
    "max_length": "nothing is cut: choose shorter episodes instead",
    "packing": "rows with pictures can't be packed",
    "padding_free": "rows with pictures can't go without padding",
    "dataset_kwargs": "rows are made by our own collator",
    "assistant_only_loss": "what is learnt is said by `train_on`",
    "completion_only_loss": "what is learnt is said by `train_on`",
    "save_only_model": "a run that was killed would go on without its optimizer",
    "ignore_data_skip": "a run that was killed would go on with other rows",
    "load_best_model_at_end": "`r4 eval` says which is best",
}
"""Settings of SFTConfig that are not the caller's, and why."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A row, and the numbers of the replies that are learnt of it."""

    row: Row
    turns: frozenset[int]

    @classmethod
    def of(cls, episode: Episode, train_on: TrainOn = "all") -> Self:
        """Raises what `Row.of` raises for an episode that can't be trained on."""
        row = Row.of(episode)
        learnt = led(episode) if train_on == "led" else set(row.turns) - {0}
        return cls(row, frozenset(learnt - slipped(episode)))


@dataclass(frozen=True, slots=True)
class Batches:
    """From places in a list of lessons to a batch: the collator that the trainer calls before each update."""

    lessons: Sequence[Lesson]
    checkpoint: Checkpoint
    pixels: Pixels
    store: MediaStore

    def __call__(self, places: Sequence[Mapping[str, int]]) -> "dict[str, torch.Tensor]":
        """`inputs` and labels, (B, T): the ids that are learnt, and IGNORED elsewhere."""
        lessons = [self.lessons[place["lesson"]] for place in places]
        rows = [lesson.row for lesson in lessons]
        for row in rows:
            check(row, self.checkpoint, self.store)
        batch = inputs(rows, self.checkpoint, self.pixels, self.store)
        check_inputs(batch, rows, self.checkpoint)
        return batch | {"labels": padded([labels(lesson, self.checkpoint) for lesson in lessons], IGNORED)}


def labels(lesson: Lesson, checkpoint: Checkpoint) -> list[int]:
    """Of each token of a row, its pictures spelt out: its id if it is learnt, else IGNORED."""
    row = expanded(lesson.row, checkpoint)
    return [
        ident if turn in lesson.turns else IGNORED for ident, turn in zip(row.ids, row.turns, strict=True)
    ]


def sft(
    model: str | Path,
    lessons: Sequence[Lesson],
    store: MediaStore,
    *,
    out: Path,
    settings: Mapping[str, Any] | None = None,
    lora: Mapping[str, Any] | None = None,
    vision: weights.Vision = "frozen",
    dtype: weights.Dtype = "float32",
    resume: bool = False,
    keep: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Train, and return the folder of the checkpoint that comes of it, `out/checkpoint`.

    settings: of TRL's SFTConfig, such as learning_rate, max_steps, save_steps, seed. lora: of peft's
    LoraConfig, or None to train the weights themselves. vision, dtype: as `weights.load` has them.
    resume: go on from the newest whole checkpoint in `out/trainer`; there may be none. keep: how many of
    those stay. progress: is told steps done and in all. Metrics go to `out/metrics.jsonl`.
    """
    checkpoint = Checkpoint.load(model)
    learnt = [lesson for lesson in lessons if lesson.turns]
    if not learnt:
        raise UsageError(f"SFT of {checkpoint.name}: no episodes with a reply to learn; widen the filter")
    config = config_of(settings or {}, out / "trainer", dtype)
    trainer = SFTTrainer(
        model=weights.load(checkpoint, vision=vision, dtype=dtype),
        args=config,
        data_collator=Batches(learnt, checkpoint, Pixels(checkpoint), store),
        train_dataset=Dataset.from_dict({"lesson": list(range(len(learnt)))}),
        processing_class=weights.tokenizer(checkpoint),
        peft_config=weights.adapter(lora, vision),
        callbacks=[checkpoints.Completed(keep), Recorder(out / "metrics.jsonl", progress)],
    )
    checkpoints.train(trainer, resume=resume)
    return weights.save(trainer, checkpoint, out / "checkpoint")


def config_of(settings: Mapping[str, Any], out: Path, dtype: weights.Dtype) -> SFTConfig:
    """TRL's configuration. Mixed precision follows the dtype of the weights, unless the settings say so."""
    refuse(settings, OURS)
    ours: dict[str, Any] = {
        "output_dir": str(out),
        "max_length": None,
        "remove_unused_columns": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    return made(SFTConfig, {**usual(dtype), **settings, **ours})


def usual(dtype: weights.Dtype) -> dict[str, Any]:
    """A trainer's settings that hold unless others are given: on this machine, quiet, each step logged."""
    there = torch.accelerator.is_available()
    return {
        "bf16": dtype == "bfloat16",
        "use_cpu": not there,
        "dataloader_pin_memory": there,
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
    }


def refuse(settings: Mapping[str, Any], ours: Mapping[str, str]) -> None:
    """Raises UsageError for a setting that is not the caller's, with the reason."""
    for key, value in settings.items():
        if key in ours:
            raise UsageError(f"settings {key}={value!r}: is not to be set: {ours[key]}")


def made(config: type[Any], settings: Mapping[str, Any]) -> Any:
    """A trainer's configuration of these settings. Raises UsageError naming one that it has not."""
    known = set(config.__dataclass_fields__)
    for key in settings:
        if key not in known:
            near = ", ".join(difflib.get_close_matches(key, known, 3, 0.5)) or "see its documentation"
            raise UsageError(f"settings {key}={settings[key]!r}: {config.__name__} has no {key!r}: {near}")
    try:
        return config(**settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"settings: {config.__name__}: {one_line(error)}") from error
