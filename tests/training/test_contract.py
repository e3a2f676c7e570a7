"""What GraphTrainer relies on of TRL, which is private there. Where this fails, read `_generate` and
`_generate_and_score_completions` of the new TRL beside `training/graph_trainer.py`."""

import inspect
import re
from importlib import metadata
from typing import Any

import pytest

SIGNATURES = {
    "_get_train_sampler": ["self", "dataset"],
    "_generate": ["self", "prompts"],
    "_generate_and_score_completions": ["self", "inputs"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_compute_loss": ["self", "model", "inputs"],
}
SAYS = {
    "_get_train_sampler": [
        "RepeatSampler( data_source=dataset, mini_repeat_count=self.num_generations, "
        "batch_size=self.args.generation_batch_size // self.num_generations, "
        "repeat_count=self.num_iterations * self.args.steps_per_generation, "
        "shuffle=self.shuffle_dataset, seed=self.args.seed, )",
    ],
    "_generate": [
        # what it gives back, in this order
        "return prompt_ids, completion_ids, tool_mask, completions, logprobs, extra_fields, images, tool_",
    ],
    "_generate_and_score_completions": [
        ") = self._generate(prompts)",
        "self._calculate_rewards(inputs, prompts, completions, completion_ids_list)",
        # pictures that stand in completions are found by their tokens, and processed apart from text
        "if self.tools and any(imgs for imgs in tool_images) and self._is_vlm:",
        'self.processing_class.image_processor(images=flat_images, return_tensors="pt")',
        "mm_ids[prompt_completion_ids == self._image_pad_token_id] = 1",
        # a rollout without a reward has advantage 0, and does not count in its group's mean
        "torch.nanmean(rewards.view(-1, num_generations), dim=1)",
        "torch.nan_to_num(advantages, nan=0.0)",
        # what is put right afterwards
        '"num_items_in_batch": num_items_in_batch',
        '"completion_mask": completion_mask',
        'output["tool_mask"] = tool_mask',
        'output["sampling_per_token_logps"] = sampling_per_token_logps',
        'output["pixel_values"] =',
    ],
    "_prepare_inputs": [
        "self._generate_and_score_completions(generation_batch)",
        "self._step % generate_every == 0",
    ],
    "_get_per_token_logps_and_entropies": ["return logps, entropies, aux_loss"],
    "_compute_loss": [
        'completion_mask * inputs["tool_mask"]',
        'inputs.get("old_per_token_logps")',
        'self.loss_type in ["cispo", "dapo", "vespo"]',
        'normalizer = inputs["num_items_in_batch"]',
        "self._get_per_token_logps_and_entropies(",
    ],
    "training_step": ["self._step += 1"],
    "log": ["self._metrics[mode].items()"],
    "__init__": [
        "self.reward_func_names.append(get_callable_name(",
        "self._is_vlm = True",
        "self._tokenizer = processing_class.tokenizer",
    ],
}


@pytest.fixture(scope="module")
def grpo() -> Any:
    from r4agent.training.graph_trainer import GraphTrainer

    return GraphTrainer.__mro__[1]


def told(method: str, what: str) -> str:
    return f"TRL {metadata.version('trl')}: GRPOTrainer.{method} {what}; GraphTrainer was written for 1.16"


@pytest.mark.parametrize("method", SIGNATURES)
def test_what_is_overridden_is_called_as_before(grpo: Any, method: str) -> None:
    assert hasattr(grpo, method), told(method, "is gone")
    found = list(inspect.signature(getattr(grpo, method)).parameters)
    assert found == SIGNATURES[method], told(method, f"takes {found}")


@pytest.mark.parametrize(("method", "line"), [(method, line) for method in SAYS for line in SAYS[method]])
def test_what_is_relied_on_is_there(grpo: Any, method: str, line: str) -> None:
    source = re.sub(r"\s+", " ", inspect.getsource(getattr(grpo, method)))
    assert line in source, told(method, f"has no `{line}`")


def test_settings_that_are_named_exist() -> None:
    from r4agent.training.grpo import OURS, USUAL, GRPOConfig

    unknown = (set(OURS) | set(USUAL)) - set(GRPOConfig.__dataclass_fields__)
    assert not unknown, f"TRL {metadata.version('trl')}: GRPOConfig has no {', '.join(sorted(unknown))}"


def test_nothing_else_is_overridden() -> None:
    from r4agent.training.graph_trainer import GraphTrainer

    private = {name for name in vars(GraphTrainer) if hasattr(GraphTrainer.__mro__[1], name)}
    ours = {*SIGNATURES, "_get_per_token_logps_and_entropies", "__init__", "__module__", "__doc__"}
    assert {name for name in private if not name.startswith("__") or name == "__init__"} <= ours
