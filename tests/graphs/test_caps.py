"""The caps on media hold at every entry: graph, tool and MCP server refuse the same files in a line."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import CallToolResult, TextContent

from r4agent import Budget, Limits, MediaError, MediaStore, Roots, as_tool
from r4agent.mcp_server import create_mcp_server

from .conftest import EVERY_NODE


@pytest.fixture
def oversized(tmp_path: Path) -> Callable[[str], Path]:
    """A folder with one file that is too much of something, at the caps of every default."""

    def make(kind: str) -> Path:
        path = tmp_path / "media" / f"{kind}.png"
        path.parent.mkdir(exist_ok=True)
        if kind == "bytes":
            with path.open("wb") as file:
                file.truncate(Limits().file_bytes + 1)  # takes no place on disk
        elif kind == "pixels":
            size = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
            chunk = b"IHDR" + size
            path.write_bytes(
                b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
            )
        elif kind == "empty":
            path.write_bytes(b"")
        return path

    return make


KINDS = {"bytes": "more than the 8589934592 allowed", "pixels": "pixels", "empty": "the file is empty"}


@pytest.mark.parametrize("kind", KINDS)
def test_graph_and_tool(graph_of: Any, oversized: Any, kind: str) -> None:
    path = oversized(kind)
    graph = graph_of(EVERY_NODE)
    with pytest.raises(MediaError, match=KINDS[kind]):
        graph.invoke({"media": str(path), "question": "?"})
    told = as_tool(graph, roots=path.parent).invoke({"media": path.name, "question": "?"})
    assert KINDS[kind] in told
    assert str(path.parent) not in told


@pytest.mark.parametrize("kind", KINDS)
async def test_every_tool_of_the_server(graph_of: Any, oversized: Any, tmp_path: Path, kind: str) -> None:
    path = oversized(kind)
    store = MediaStore(tmp_path / "pictures")
    server = create_mcp_server(graph_of(EVERY_NODE), Roots(path.parent), budget=Budget(), store=store)
    async with Client(server) as client:
        for tool, more in (("ask", {"question": "?"}), ("overview", {})):
            result = await client.call_tool(tool, {"media": path.name, **more})
            assert isinstance(result, CallToolResult)
            assert result.is_error
            assert isinstance(result.content[0], TextContent)
            assert KINDS[kind] in result.content[0].text
            assert str(path.parent) not in result.content[0].text


@pytest.mark.parametrize("limits", [Limits(frames=3), Limits(frame_pixels=1000), Limits(file_bytes=1000)])
def test_a_graphs_own_limits_hold_for_its_tool(graph_of: Any, clip: Path, limits: Limits) -> None:
    tool = as_tool(graph_of(EVERY_NODE, limits=limits), roots=clip.parent)
    told = tool.invoke({"media": clip.name, "question": "?"})
    assert told.startswith("signs.mp4: ")
    assert "more than" in told
