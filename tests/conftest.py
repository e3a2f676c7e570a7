"""What tests of every folder share: where the checkout is, checkpoints that revive safe types only, and tiny
models."""

import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"  # read when langgraph is imported, so before any test does
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for a hub
os.environ["VLLM_NO_USAGE_STATS"] = "1"

import pytest


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a family, `qwen2_5_vl` or `qwen3_vl`, to the folder of a tiny random checkpoint of it."""
    needs("torch")

    @cache
    def made(family: str) -> Path:
        from r4agent.engines.tiny import make_tiny

        return make_tiny(family, tmp_path_factory.mktemp("tiny") / family)

    return made


def needs(package: str) -> None:
    """Skips a test without its package, but not in CI: there it must be installed."""
    if find_spec(package) is None and "CI" not in os.environ:
        pytest.skip(f"no {package}; docs/models.md says how to install it")
