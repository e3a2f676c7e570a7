"""The looking tools alone, by LangChain's standard suites for tools."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from langgraph.prebuilt import ToolRuntime

from r4agent import MediaStore, RuminationMiddleware
from r4agent.textworld import make_clip
from r4agent.textworld.writer import encode

ARGUMENTS = {
    "select_frames": {"times": [1.0]},
    "zoom": {"view": "v1", "box": [10, 10, 200, 100]},
    "re_encode": {"view": "v1", "detail": "high"},
}


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RuminationMiddleware, ToolRuntime]]:
    """A middleware, and what its tools are given once a run has begun."""
    folder = tmp_path_factory.mktemp("looked")
    encode(make_clip(level=0, seed=1), folder / "signs.mp4")
    middleware = RuminationMiddleware(store=MediaStore(folder / "pictures"), episodes=folder / "episodes")
    state: dict[str, Any] = {"messages": [HumanMessage("?", id="1")], "media": str(folder / "signs.mp4")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("r4agent.graphs.middleware.emit", lambda *_, **__: None)  # there is no run to stream
        update = middleware.before_agent(state, None)  # type: ignore[arg-type]
    assert update is not None
    state = {**state, **update, "messages": [*state["messages"], *update["messages"], AIMessage("")]}
    yield (
        middleware,
        ToolRuntime(
            state=state, context=None, config={}, stream_writer=lambda _: None, tool_call_id="123", store=None
        ),
    )
    middleware.sources.close(state["looking"]["episode"])


class Looking:
    """What the suites ask of the tool called `called`."""

    called: str

    @pytest.fixture(autouse=True)
    def _begun(self, looked: tuple[RuminationMiddleware, ToolRuntime]) -> None:
        self.middleware, self.runtime = looked

    @property
    def tool_constructor(self) -> BaseTool:
        return next(tool for tool in self.middleware.tools if tool.name == self.called)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {**ARGUMENTS[self.called], "runtime": self.runtime}


class TestSelectFramesUnit(Looking, ToolsUnitTests):
    called = "select_frames"


class TestZoomUnit(Looking, ToolsUnitTests):
    called = "zoom"


class TestReEncodeUnit(Looking, ToolsUnitTests):
    called = "re_encode"


class TestSelectFramesIntegration(Looking, ToolsIntegrationTests):
    called = "select_frames"


class TestZoomIntegration(Looking, ToolsIntegrationTests):
    called = "zoom"


class TestReEncodeIntegration(Looking, ToolsIntegrationTests):
    called = "re_encode"


def test_a_tool_shows_its_picture_by_reference(looked: tuple[RuminationMiddleware, ToolRuntime]) -> None:
    middleware, runtime = looked
    tool = next(tool for tool in middleware.tools if tool.name == "zoom")
    args = {**ARGUMENTS["zoom"], "runtime": runtime}
    message = asyncio.run(tool.ainvoke({"type": "tool_call", "name": "zoom", "id": "123", "args": args}))
    assert [block["type"] for block in message.content] == ["text", "image"]
    assert message.content[1]["file_id"].startswith("img:")
    assert message.artifact["pictures"] == ["v9"]
    assert message.artifact["cost"]["images"] == 1
    assert Path(middleware.optics.store.path(message.content[1]["file_id"])).exists()
    assert "runtime" not in str(tool.tool_call_schema)
