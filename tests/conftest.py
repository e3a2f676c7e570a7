"""What tests of every folder share: where the checkout is, and checkpoints that revive safe types only."""

import os
from pathlib import Path

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"  # read when langgraph is imported, so before any test does

import pytest


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]
