"""Weights: what of a checkpoint is trained, and how a checkpoint comes of it that any engine serves.

Promises: what is saved is an ordinary checkpoint folder, whole or not there, with the tokenizer, template,
image processor and profile of the one it began with, byte for byte. An adapter is merged into it.
Does not: train.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from r4agent.engines import Checkpoint
from r4agent.engines.checkpoint import FILES
from r4agent.errors import MissingError, RunError, UsageError, one_line
from r4agent.training.backend import (
    AutoModelForImageTextToText,
    LoraConfig,
    PartialState,
    PeftModel,
    PreTrainedTokenizerFast,
    torch,
)
from r4agent.training.checkpoints import disk

Vision = Literal["frozen", "trained"]
"""Whether the vision tower learns, with the projector that joins it to the language model."""
Dtype = Literal["float32", "bfloat16"]

LANGUAGE = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
"""The linear layers of the language model: what an adapter is put on while the vision tower is frozen."""


def load(checkpoint: Checkpoint, *, vision: Vision = "frozen", dtype: Dtype = "float32") -> Any:
    """The model, ready for a trainer. dtype: in which its weights are held. With an adapter all of these are
    frozen; without one, those of the vision tower if that is said to be."""
    try:
        model = AutoModelForImageTextToText.from_pretrained(checkpoint.weights, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        raise MissingError(f"{checkpoint.name}: its weights can't be loaded: {one_line(error)}") from error
    model.model.visual.requires_grad_(vision == "trained")
    return model


def tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's tokenizer, as trainers ask for one; rows have their ids already."""
    return PreTrainedTokenizerFast(
        tokenizer_object=checkpoint.tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )


def adapter(lora: Mapping[str, Any] | None, vision: Vision) -> LoraConfig | None:
    """peft's configuration of an adapter: on the language model's linear layers, and on the vision tower's
    where that is trained, unless `target_modules` says otherwise. UsageError for a key that peft has not."""
    if lora is None:
        return None
    layers = LANGUAGE if vision == "frozen" else "all-linear"  # peft leaves the head out of these
    try:
        return LoraConfig(**{"target_modules": layers, **lora})
    except (TypeError, ValueError) as error:
        raise UsageError(f"lora {dict(lora)}: {one_line(error)}; see peft's LoraConfig") from error


def save(trainer: Any, base: Checkpoint, folder: Path) -> Path:
    """Make a checkpoint folder of what a trainer has trained, every process of the run together. What an
    adapter changed is merged into a fresh copy of the weights it began with."""
    draft = folder.with_name(f".{folder.name}")
    with disk(folder):
        trainer.save_model(str(draft))  # gathers the weights of all processes, where they are shared out
        if PartialState().is_main_process:
            if not any(draft.glob("*model*.safetensors")):
                raise RunError(
                    f"{draft}: the trainer saved no weights; FSDP needs state_dict_type FULL_STATE_DICT"
                )
            if isinstance(trainer.accelerator.unwrap_model(trainer.model), PeftModel):
                _merge(base, draft)
            complete(draft, base)
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
    PartialState().wait_for_everyone()
    return folder


def _merge(base: Checkpoint, draft: Path) -> None:
    """Replace an adapter by the whole model that it makes."""
    stored = getattr(torch, base.dtype or "float32")
    model = AutoModelForImageTextToText.from_pretrained(base.weights, dtype=stored)
    merged = PeftModel.from_pretrained(model, draft).merge_and_unload()
    shutil.rmtree(draft)
    merged.save_pretrained(draft)


def complete(draft: Path, base: Checkpoint) -> None:
    """Add what a checkpoint has beside its weights and config, as it was, and drop what the trainer adds."""
    for file in draft.iterdir():
        if file.name != "config.json" and not file.name.startswith("model"):
            file.unlink()
    for pattern in FILES:
        for file in base.folder.glob(pattern):
            if not (draft / file.name).exists() and not file.name.endswith(".index.json"):
                shutil.copyfile(file, draft / file.name)
    for file in draft.iterdir():
        with file.open("rb") as written:
            os.fsync(written)
