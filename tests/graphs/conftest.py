"""What the graph's tests share: a small clip, and a graph over it that keeps everything in a temp folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r4agent import MediaStore, ScriptedPolicy, create_rumination_graph
from r4agent.textworld import make_clip
from r4agent.textworld.writer import encode

from ..nopixels import no_pixels

__all__ = ["no_pixels"]  # a fixture


def call(name: str, **arguments: Any) -> str:
    """A well-formed tool call, as a policy writes it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


SELECT = "<think>when?</think>" + call("select_frames", times=[1.0, 2.5])
ZOOM = call("zoom", view="v9", box=[10, 10, 200, 100])
AGAIN = call("re_encode", view="v1", detail="high")
ANSWER = '<evidence>{"view":"v11"}</evidence><answer>42</answer>'
EVERY_NODE = [SELECT, ZOOM, AGAIN, ANSWER]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "signs.mp4"
    encode(make_clip(level=0, seed=1), path)
    return path


@pytest.fixture
def graph_of(tmp_path: Path) -> Callable[..., Any]:
    """`graph_of(replies, **options)`: a rumination graph that says these replies."""

    def make(replies: list[Any], create: Any = create_rumination_graph, **options: Any) -> Any:
        options = {"store": MediaStore(tmp_path / "pictures"), "episodes": tmp_path / "episodes"} | options
        return create(ScriptedPolicy(replies=replies), **options)

    return make
