"""What training stands on: torch, transformers, TRL, imported in the one way that works on every machine.

Promises: a missing extra is a MissingError that names it; a torchvision that can't load is no hindrance.
Does not: hold anything of ours. Importing this takes seconds, so only modules that train do.
"""

from r4agent.engines import cpu
from r4agent.errors import MissingError, one_line

cpu.prepare()
try:
    import torch
    from accelerate import PartialState
    from accelerate.utils import gather_object
    from datasets import Dataset, config
    from peft import LoraConfig, PeftModel, get_peft_model
    from safetensors import SafetensorError
    from transformers import (
        AutoConfig,
        AutoModelForImageTextToText,
        PreTrainedTokenizerFast,
        PrinterCallback,
        ProcessorMixin,
        TrainerCallback,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )
    from transformers.utils.logging import disable_progress_bar
    from trl import SFTConfig, SFTTrainer
except ImportError as error:
    raise MissingError(
        f'training needs packages that can\'t be imported ({one_line(error)}): pip install "r4agent[train]"'
    ) from error
disable_progress_bar()  # progress is ours to show
if "torchcodec" in cpu.built_for_cuda():  # what stands in its place is empty, and datasets would look into it
    config.TORCHCODEC_AVAILABLE = False

__all__ = [
    "AutoConfig",
    "AutoModelForImageTextToText",
    "Dataset",
    "LoraConfig",
    "PartialState",
    "PeftModel",
    "PreTrainedTokenizerFast",
    "PrinterCallback",
    "ProcessorMixin",
    "SFTConfig",
    "SFTTrainer",
    "SafetensorError",
    "TrainerCallback",
    "TrainerControl",
    "TrainerState",
    "TrainingArguments",
    "gather_object",
    "get_peft_model",
    "torch",
]
