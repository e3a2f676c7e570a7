"""The estimate: what memory and time a curriculum will take, from the model's config alone.

Promises: parameters are counted, on a model without weights; the rest follows from the formulas here, each
with its source, and every line says what it assumes.
Does not: know a machine. Kernels, fragments of memory and waiting for data are not in it: leave a fifth free.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r4agent.engines import Checkpoint
from r4agent.errors import MissingError, UsageError, one_line
from r4agent.training import grpo, sft, weights
from r4agent.training.backend import AutoConfig, AutoModelForImageTextToText, get_peft_model, torch
from r4agent.training.curriculum import Asked, Curriculum, Grpo, Sft
from r4agent.training.store import EpisodeStore

RATE = 125e12  # FLOP/s of one device: 40 % of the 312e12 that an A100 has in bfloat16
BANDWIDTH = 1.2e12  # bytes/s of its memory: 60 % of an A100's 2.0e12
PROMPT = 1500  # tokens of the system message and the question, without pictures
BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Size:
    """Parameters by what they do, and the widths that activations follow from. language: without embeddings;
    trained: of all, an adapter's included."""

    total: int
    language: int
    vision: int
    trained: int
    adapter: int
    layers: int
    hidden: int
    wide: int  # numbers that one layer keeps of a token for the backward pass
    cached: int  # numbers that one layer keeps of a token in the KV cache
    depth: int
    vision_hidden: int
    vision_wide: int


@dataclass(frozen=True, slots=True)
class Needs:
    """What a stage needs of one device. Memory in bytes, time in seconds; steps: None where not known yet."""

    stage: str
    what: str
    size: Size
    memory: dict[str, float]
    tokens: int
    batch: int
    seconds: float
    steps: int | None

    @property
    def total(self) -> float:
        return sum(self.memory.values())

    def __str__(self) -> str:
        parts = " + ".join(f"{_short(value)}B {name}" for name, value in self.memory.items())
        run = "" if self.steps is None else f", {_time(self.steps * self.seconds)} for {self.steps:,} steps"
        rows = "1 row" if self.batch == 1 else f"{self.batch} rows"
        return (
            f"{self.stage}: {self.what}; {_short(self.size.trained)} of {_short(self.size.total)} parameters "
            f"are trained\n  memory  {_short(self.total)}B a device: {parts}; {rows} at once of up to "
            f"{self.tokens:,} tokens\n"
            f"  time    about {_time(self.seconds)} a step{run}, at {RATE / 1e12:.0f} TFLOP/s a device, 40 % "
            "of an A100's"
        )


def estimate(curriculum: Curriculum) -> Iterator[Needs]:
    """What each stage needs, in order. Raises UsageError naming a stage whose settings are wrong."""
    checkpoint = Checkpoint.load(curriculum.model)
    for stage in curriculum.stages:
        try:
            size = count(checkpoint, stage.lora, stage.vision)
            if isinstance(stage, Sft):
                yield _of_sft(curriculum, stage, size)
            else:
                yield _of_grpo(curriculum, stage, size)
        except UsageError as error:
            raise UsageError(f"stage {stage.name}: {one_line(error)}") from error


def count(checkpoint: Checkpoint, lora: Any, vision: weights.Vision) -> Size:
    """Counted on torch's meta device, where a tensor has a shape and no memory."""
    config = AutoConfig.from_pretrained(checkpoint.folder)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    model.model.visual.requires_grad_(vision == "trained")
    text, sight = config.get_text_config(), config.vision_config
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    queries, keys = text.num_attention_heads * head, text.num_key_value_heads * head
    parts = {
        "total": _numbers(model),
        "language": _numbers(model.model.language_model.layers),
        "vision": _numbers(model.model.visual),
    }
    adapter = weights.adapter(lora, vision)
    if adapter is not None:
        model = get_peft_model(model, adapter, low_cpu_mem_usage=True)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Size(
        **parts,
        trained=trained,
        adapter=0 if adapter is None else trained,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        # inputs and outputs of both norms, residuals; q, k, v and what attention gives; gate, up and products
        wide=6 * text.hidden_size + 2 * queries + 2 * keys + 4 * text.intermediate_size,
        cached=2 * keys,
        depth=sight.depth,
        vision_hidden=sight.hidden_size,
        vision_wide=10 * sight.hidden_size + 4 * sight.intermediate_size,
    )


def _of_sft(curriculum: Curriculum, stage: Sft, size: Size) -> Needs:
    config = sft.config_of(stage.settings, Path(), stage.dtype)
    rows, tokens = _kept(stage, curriculum)
    batch = config.per_device_train_batch_size
    each = batch * config.gradient_accumulation_steps * curriculum.devices
    steps = -(-rows // each) * config.num_train_epochs if rows else None
    work = batch * config.gradient_accumulation_steps * _flops(size, tokens, stage, config)
    return Needs(
        stage.name,
        f"SFT, {_how(stage)}",
        size,
        _training(size, stage, config, batch * tokens, curriculum.devices),
        tokens,
        batch,
        work / RATE,
        config.max_steps if config.max_steps > 0 else steps and int(steps),
    )


def _of_grpo(curriculum: Curriculum, stage: Grpo, size: Size) -> Needs:
    config = grpo.config_of(stage.settings, Path(), stage.dtype)
    budget = curriculum.rolled_with(stage)
    said = min(budget.new_tokens, budget.turns * stage.max_tokens)
    tokens = PROMPT + budget.image_tokens + said
    batch = config.per_device_train_batch_size
    rollouts = batch * config.gradient_accumulation_steps
    memory = _training(size, stage, config, batch * tokens, curriculum.devices)
    # float16 has two bytes, and what vLLM's "auto" makes of any checkpoint
    wide = BYTES.get(str(stage.engine_args.get("dtype", stage.dtype)), 2)
    seconds = rollouts * _flops(size, tokens, stage, config) / RATE
    if stage.engine != "replay":
        at_once = config.num_generations if stage.engine == "vllm" else rollouts  # in vLLM others wait
        memory["KV cache"] = at_once * tokens * size.layers * size.cached * wide
        # each token is a pass over the weights, for all rollouts at once; each turn reads its prompt
        seconds += said * size.language * wide / BANDWIDTH + rollouts * 2 * size.language * tokens / RATE
    if stage.engine == "vllm":
        memory["vLLM's weights"] = size.total * wide
    asked = stage.data.n if isinstance(stage.data, Asked) else None
    steps = asked and -(-asked * config.num_generations // (rollouts * curriculum.devices))
    return Needs(
        stage.name,
        f"GRPO on {stage.engine}, {_how(stage)}",
        size,
        memory,
        tokens,
        batch,
        seconds,
        config.max_steps if config.max_steps > 0 else steps and int(steps * config.num_train_epochs),
    )


def _training(size: Size, stage: Sft | Grpo, config: Any, tokens: int, devices: int) -> dict[str, float]:
    """Bytes by what they hold. Weights, gradients and AdamW's two moments are shared out over devices, as
    FSDP and ZeRO-3 do; an adapter's are float32, as peft makes them."""
    held, learnt = BYTES[stage.dtype], 4 if size.adapter else BYTES[stage.dtype]
    return {
        "weights": (size.total * held + size.adapter * learnt) / devices,
        "gradients": size.trained * learnt / devices,
        "optimizer": 2 * size.trained * learnt / devices,
        "activations": _activations(size, stage, config, tokens),
    }


def _activations(size: Size, stage: Sft | Grpo, config: Any, tokens: int) -> float:
    """Bytes kept for the backward pass. With gradient checkpointing the input of each layer and all of one
    layer, else all of all (Korthikanti et al. 2022, arXiv 2205.05198, section 4 and 5; theirs is a layer of
    GPT, ours is counted in `count`). A vision tower that is frozen keeps nothing, one that learns counts four
    patches a token, as if all tokens were pictures'."""
    number = 2 if config.bf16 else 4
    kept, once = (1, 1) if config.gradient_checkpointing else (0, size.layers)
    language = tokens * (kept * size.layers * size.hidden + once * size.wide)
    if stage.vision == "frozen":
        return number * language
    once = 1 if config.gradient_checkpointing else size.depth
    return number * (
        language + 4 * tokens * (kept * size.depth * size.vision_hidden + once * size.vision_wide)
    )


def _flops(size: Size, tokens: int, stage: Sft | Grpo, config: Any) -> float:
    """Of one row: 2 a parameter and token forward, 2 back to the activations, 2 to the weights that learn
    (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), and forward again with gradient checkpointing; causal
    attention 2 · T · width a layer and token. Four patches a token, as if all were pictures'."""
    passes = 1 + 1 + (0 if size.adapter else 1) + (1 if config.gradient_checkpointing else 0)
    attention = 2 * tokens * size.layers * size.hidden
    language = passes * tokens * (2 * size.language + attention)
    return language + (passes if stage.vision == "trained" else 1) * 4 * tokens * 2 * size.vision


def _kept(stage: Sft, curriculum: Curriculum) -> tuple[int | None, int]:
    """How many rows there are, and tokens of the longest: as many as the budget allows where they are not
    made yet."""
    budget = curriculum.asked_with
    try:
        entries = EpisodeStore(stage.data.episodes).entries(**stage.data.which)
    except MissingError:
        entries = []
    most = PROMPT + budget.image_tokens + budget.new_tokens
    return len(entries) or None, max((entry.tokens or most for entry in entries), default=most)


def _how(stage: Sft | Grpo) -> str:
    how = "whole weights" if stage.lora is None else f"an adapter of rank {stage.lora.get('r', 8)}"
    return f"{how}, {stage.dtype}, vision tower {stage.vision}"


def _numbers(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _short(number: float) -> str:
    """A count with its decimal prefix: 161 M, 8.29 G."""
    power = next((power for power in (9, 6, 3) if number >= 10**power), 0)
    return f"{number / 10**power:.3g} {' kMG'[power // 3].strip()}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds > 10 else f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"
