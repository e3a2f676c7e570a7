"""`import r4agent.training` is light, and so is all of it that needs no trainer."""

import json
import subprocess
import sys

import pytest

import r4agent.training

HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "vllm", "yaml", "langgraph", "langchain_core"}
PROBE = "import json, sys, {}\nprint(json.dumps(sorted(sys.modules)))"


def loaded(module: str) -> set[str]:
    out = subprocess.run([sys.executable, "-c", PROBE.format(module)], check=True, capture_output=True)
    return set(json.loads(out.stdout))


def test_import_is_light() -> None:
    assert not HEAVY & loaded("r4agent.training")


def test_a_store_needs_no_trainer() -> None:
    """What `r4 clean` and `r4 episodes` load."""
    modules = loaded("r4agent.training.store, r4agent.training.rows, r4agent.training.export")
    assert not (HEAVY - {"langchain_core"}) & modules


@pytest.mark.parametrize("name", r4agent.training.__all__)
def test_every_name_can_be_reached(name: str) -> None:
    assert getattr(r4agent.training, name) is not None


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        r4agent.training.nothing  # noqa: B018
