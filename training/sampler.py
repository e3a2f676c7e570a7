"""The sampler: an engine that rolls out the model that is being trained.

Promises: transformers samples from the trainer's own module; vLLM, in this process, is given the newest
weights before each step, under a checkpoint's names. What an adapter changes is added on the way, and the
trainer's own weights stay as they are, to the last bit.
Does not: serve other processes; each of a run's has its own.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from r4agent.engines import Engine
from r4agent.engines.hf import TransformersEngine
from r4agent.errors import UsageError
from r4agent.training.backend import PeftModel, torch
from r4agent.training.graph_trainer import GraphTrainer

LiveEngine = Literal["transformers", "vllm"]

BASE = ".base_layer."
OTHER = "modules_to_save."


@contextmanager
def sampler(
    name: LiveEngine, trainer: GraphTrainer, engine_args: Mapping[str, Any]
) -> Iterator[tuple[Engine, Callable[[], None]]]:
    """The engine for as long as the block lasts, and what gives it the trainer's newest weights."""
    if trainer.is_deepspeed_enabled or (trainer.is_fsdp_enabled and name == "transformers"):
        raise UsageError(
            f"engine {name}: needs whole weights, and they are shared out among processes: take vllm with "
            "FSDP 2, or roll out elsewhere and replay"
        )
    model = trainer.accelerator.unwrap_model(trainer.model)
    engine: Engine
    if name == "vllm":
        _plain(model)
        from r4agent.engines.local import VllmEngine

        engine = vllm = VllmEngine(trainer.checkpoint, **engine_args)

        def refresh() -> None:
            vllm.load_weights(named_weights(model))

    elif name == "transformers":
        arguments = {key: value for key, value in engine_args.items() if key != "dtype"}
        engine = TransformersEngine(trainer.checkpoint, model=model, **arguments)

        def refresh() -> None:
            """It samples from the very module."""

    else:
        raise UsageError(f"engine {name!r}: live rollouts are sampled by transformers or vllm")
    try:
        yield engine, refresh
    finally:
        engine.close()


def _plain(model: Any) -> None:
    """Raises UsageError for an adapter that is more than a sum of weights."""
    if isinstance(model, PeftModel):
        config = model.peft_config[model.active_adapter]
        for key in ("use_dora", "lora_bias"):
            if getattr(config, key, False):
                raise UsageError(
                    f"lora {key}: engine vllm is given weights with the adapter added, and this one is no "
                    "such sum; leave it out, or take transformers"
                )


def named_weights(model: Any) -> Iterator[tuple[str, "torch.Tensor"]]:
    """From a model, with an adapter around it or not, to the weights of the whole, one at a time."""
    if not isinstance(model, PeftModel):
        for name, weight in model.named_parameters():
            yield name, _whole(weight)
        return
    core, active = model.get_base_model(), model.active_adapter
    for name, weight in core.named_parameters():
        if BASE in name:
            layer = core.get_submodule(name.partition(BASE)[0])
            delta = layer.get_delta_weight(active).detach() if name.endswith(".weight") else 0
            yield name.replace(BASE, "."), _whole(weight) + delta
        elif f"{OTHER}{active}." in name:
            yield name.replace(f"{OTHER}{active}.", ""), _whole(weight)
        elif ".lora_" not in name and OTHER not in name and "original_module." not in name:
            yield name, _whole(weight)


def _whole(weight: "torch.Tensor") -> "torch.Tensor":
    """All of a weight that FSDP has shared out among processes."""
    weight = weight.detach()
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight
