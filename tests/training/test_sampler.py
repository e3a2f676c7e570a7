"""The sampler: an engine beside the trainer gets the whole weights, an adapter's part in them included."""

from typing import Any

import pytest

from r4agent.engines import Checkpoint
from r4agent.errors import UsageError


@pytest.fixture
def model(checkpoint: Checkpoint) -> Any:
    from r4agent.training import weights

    return weights.load(checkpoint)


def test_a_whole_model_is_what_it_is(model: Any) -> None:
    from r4agent.training.sampler import named_weights

    named = dict(named_weights(model))
    assert named.keys() == dict(model.named_parameters()).keys()
    assert not any(weight.requires_grad for weight in named.values())


@pytest.mark.parametrize("more", [{}, {"modules_to_save": ["lm_head"]}, {"target_modules": "all-linear"}])
def test_an_adapter_is_added_on_the_way(checkpoint: Checkpoint, model: Any, more: dict[str, Any]) -> None:
    """As if it were merged, and the trainer's weights stay as they are."""
    import torch
    from peft import get_peft_model

    from r4agent.training import weights
    from r4agent.training.sampler import named_weights

    names = list(dict(model.named_parameters()))
    given = {"r": 2, "init_lora_weights": False, **more}
    adapted = get_peft_model(
        model, weights.adapter(given, "trained" if "target_modules" in more else "frozen")
    )
    if "modules_to_save" in more:
        with torch.no_grad():
            adapted.base_model.model.lm_head.modules_to_save["default"].weight.add_(1)
    before = {name: weight.clone() for name, weight in adapted.named_parameters()}
    named = dict(named_weights(adapted))
    assert all(before[name].equal(weight) for name, weight in adapted.named_parameters())
    assert list(named) == names
    merged = dict(adapted.merge_and_unload().named_parameters())
    assert set(merged) == set(names)
    for name, weight in merged.items():
        torch.testing.assert_close(named[name], weight.detach(), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*lora_bias")  # peft's own class, which xdist would import to tell
@pytest.mark.parametrize("key", ["use_dora", "lora_bias"])
def test_an_adapter_that_is_no_sum_is_refused(checkpoint: Checkpoint, model: Any, key: str) -> None:
    """Before vLLM is started."""
    from types import SimpleNamespace

    from peft import get_peft_model

    from r4agent.training import weights
    from r4agent.training.sampler import sampler

    trainer = SimpleNamespace(
        model=get_peft_model(model, weights.adapter({"r": 2, key: True}, "frozen")),
        accelerator=SimpleNamespace(unwrap_model=lambda model: model),
        is_deepspeed_enabled=False,
        is_fsdp_enabled=False,
        checkpoint=checkpoint,
    )
    with pytest.raises(UsageError, match=f"lora {key}: engine vllm"), sampler("vllm", trainer, {}):  # type: ignore[arg-type]
        pass
