"""GRPO: a model learns from its own episodes, through the graph that answers questions.

    rewards = Rewards.of({"accuracy": 1.0, "format": 0.1})
    grpo("runs/sft/checkpoint", items, MediaStore(), out=Path("runs/rl"), rewards=rewards)

Promises: rollouts are sampled live, by transformers or by vLLM in this process, whose weights are the newest
before each step; or replayed from a store against the logprobs that were logged. TRL's own loss, advantages
and reporters. A run that was killed goes on: on transformers, to the same weights to the last bit.
Does not: evaluate, or choose questions.

Rollouts and episodes of a run: see `r4agent.training.archive`. Metrics go to `out/metrics.jsonl`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from r4agent.budget import Budget
from r4agent.engines import Checkpoint
from r4agent.errors import UsageError
from r4agent.item import Item
from r4agent.media.store import MediaStore
from r4agent.reader import Reader
from r4agent.training import checkpoints, weights
from r4agent.training.archive import Archive
from r4agent.training.backend import Dataset
from r4agent.training.batches import Group, Live, Replay
from r4agent.training.graph_trainer import GraphTrainer, GRPOConfig
from r4agent.training.groups import Rewards
from r4agent.training.recorder import Progress, Recorder
from r4agent.training.rollout import Rollouts
from r4agent.training.sampler import LiveEngine, sampler
from r4agent.training.sft import TRAINERS, made, refuse, usual
from r4agent.training.store import Stored

USUAL = {
    "num_generations": 8,
    "learning_rate": 1e-6,
    "beta": 0.0,
    "epsilon": 0.2,
    "epsilon_high": 0.35,
    "scale_rewards": "none",
}
"""Settings that hold unless others are given: Pixel Reasoner's, whose advantage is without std."""

_SAMPLING = "episodes to train on are sampled as the model is, at temperature 1 and top_p 1"
_ENGINE = "say it as `engine` and `engine_args`"
OURS = {
    **TRAINERS,
    "max_completion_length": "say it as `max_tokens`, of one reply, and as the budget's turns",
    "max_tool_calling_iterations": "say it as the budget's turns",
    "mask_truncated_completions": "say it as `mask_cut`",
    "reward_weights": "they belong to the rewards",
    "save_only_model": "a run resumes with its optimizer and its chance",
    "ignore_data_skip": "a run resumes where it was in its data",
    "disable_dropout": "the ratio is to logprobs that were sampled without dropout, so it is off",
    "multi_objective_aggregation": "rewards are summed first: rollouts of an equal sum weigh nothing",
    **dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "repetition_penalty"), _SAMPLING),
    **dict.fromkeys(("use_vllm", "use_transformers_paged", "use_transformers_continuous_batching"), _ENGINE),
}
"""Settings of GRPOConfig that are not the caller's, and why."""

LOSSES = ("dapo", "cispo")  # those divide by the tokens that weigh; others would count what doesn't


def grpo(
    model: str | Path,
    items: Sequence[Item],
    store: MediaStore,
    *,
    out: Path,
    rewards: Rewards,
    budget: Budget | None = None,
    engine: LiveEngine = "transformers",
    engine_args: Mapping[str, Any] | None = None,
    max_tokens: int = 1024,
    stage: str = "",
    reader: Reader | None = None,
    mask_cut: bool = True,
    settings: Mapping[str, Any] | None = None,
    lora: Mapping[str, Any] | None = None,
    vision: weights.Vision = "frozen",
    dtype: weights.Dtype = "float32",
    resume: bool = False,
    keep: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Train on live rollouts, and return the folder of the checkpoint that comes of it, `out/checkpoint`.

    rewards: what an episode is worth. budget: of an episode. max_tokens: of one reply. reader: checks answers
    against their evidence, for the log. engine_args: for vLLM's or transformers' own constructor, such as
    max_model_len. stage: what the episodes are stored as. mask_cut: whether rollouts that the budget cut
    weigh nothing. settings: of TRL's GRPOConfig, such as max_steps, num_generations, save_steps, seed. The
    rest is as for `r4agent.training.sft.sft`.
    """
    if not items:
        raise UsageError("GRPO: no items; give at least one question")
    checkpoint = Checkpoint.load(model)
    config = config_of(settings or {}, out / "trainer", dtype)
    _enough(len(items), "items", config)
    group = Group(config.num_generations, rewards, mask_cut)
    archive = Archive(out, stage)
    trainer = GraphTrainer(
        store=store,
        weights=rewards.weights,
        args=config,
        callbacks=[checkpoints.Completed(keep), archive, Recorder(out / "metrics.jsonl", progress)],
        **_learner(checkpoint, len(items), lora, vision, dtype),
    )
    with sampler(engine, trainer, {"dtype": dtype, **(engine_args or {})}) as (sampling, refresh):
        rollouts = Rollouts(
            sampling,
            store,
            folder=archive.rollouts,
            budget=budget or checkpoint.budget,
            seed=config.seed,
            max_tokens=max_tokens,
            reader=reader,
            refresh=refresh,
            first=config.process_index * config.per_device_train_batch_size * config.steps_per_generation,
        )
        trainer.roll = Live(rollouts, items, group, archive)
        checkpoints.train(trainer, resume=resume)
    return weights.save(trainer, checkpoint, out / "checkpoint")


def replay(
    model: str | Path,
    episodes: Iterable[Stored],
    store: MediaStore,
    *,
    out: Path,
    rewards: Rewards,
    mask_cut: bool = True,
    settings: Mapping[str, Any] | None = None,
    lora: Mapping[str, Any] | None = None,
    vision: weights.Vision = "frozen",
    dtype: weights.Dtype = "float32",
    resume: bool = False,
    keep: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Train on logged rollouts, in groups of one item: PPO's clipped loss with the ratio to the policy that
    sampled them. Otherwise as `grpo`."""
    checkpoint = Checkpoint.load(model)
    config = config_of(settings or {}, out / "trainer", dtype)
    roll = Replay.of(episodes, Group(config.num_generations, rewards, mask_cut))
    _enough(len(roll.groups), "groups of logged episodes", config)
    trainer = GraphTrainer(
        store=store,
        weights=rewards.weights,
        args=config,
        callbacks=[checkpoints.Completed(keep), Recorder(out / "metrics.jsonl", progress)],
        **_learner(checkpoint, len(roll.groups), lora, vision, dtype),
    )
    trainer.roll = roll
    checkpoints.train(trainer, resume=resume)
    return weights.save(trainer, checkpoint, out / "checkpoint")


def _learner(
    checkpoint: Checkpoint,
    places: int,
    lora: Mapping[str, Any] | None,
    vision: weights.Vision,
    dtype: weights.Dtype,
) -> dict[str, Any]:
    """What a trainer is given of the model and of its data, which are places: what stands there, its `roll`
    knows."""
    return {
        "checkpoint": checkpoint,
        "model": weights.load(checkpoint, vision=vision, dtype=dtype),
        "train_dataset": Dataset.from_dict({"place": list(range(places))}),
        "peft_config": weights.adapter(lora, vision),
    }


def config_of(settings: Mapping[str, Any], out: Path, dtype: weights.Dtype) -> GRPOConfig:
    """TRL's configuration. Raises UsageError for a setting that it has not, or that would not do here."""
    refuse(settings, OURS | {key: _ENGINE for key in settings if key.startswith("vllm_")})
    ours = {"output_dir": str(out), "remove_unused_columns": False, "disable_dropout": True}
    config = made(GRPOConfig, {**usual(dtype), **USUAL, **settings, **ours})
    if config.loss_type not in LOSSES:
        raise UsageError(
            f"settings loss_type={config.loss_type!r}: it counts rollouts that weigh nothing; take "
            + " or ".join(LOSSES)
        )
    own = config.per_device_train_batch_size * config.steps_per_generation
    if own % config.num_generations:
        raise UsageError(
            f"settings: a process rolls out {own} at a time, per_device_train_batch_size × "
            f"steps_per_generation, and a group has {config.num_generations}: make it a multiple of that"
        )
    every = config.steps_per_generation * config.num_iterations / config.gradient_accumulation_steps
    if every < 1 or every % 1:
        raise UsageError(
            f"settings: rollouts would serve {every:g} steps: make steps_per_generation × num_iterations a "
            "multiple of gradient_accumulation_steps"
        )
    if config.save_strategy == "steps" and config.save_steps % every:
        raise UsageError(
            f"settings save_steps={config.save_steps}: a step's rollouts serve {every:g} steps, and a run "
            f"resumes before new ones: make it a multiple of {every:g}"
        )
    return config


def _enough(there: int, what: str, config: GRPOConfig) -> None:
    """TRL's order drops what doesn't fill a batch; of fewer than one it would make a run of no steps."""
    batch = config.generation_batch_size // config.num_generations
    if there < batch:
        raise UsageError(
            f"GRPO: {there} {what}, and rollouts are made for {batch} at a time: give more, or lower "
            "per_device_train_batch_size, or steps_per_generation with gradient_accumulation_steps"
        )
