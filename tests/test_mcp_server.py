"""`r4 mcp`, as a client meets it: a process of its own, over real pipes, with the official client."""

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, ImageContent, ListRootsResult, Root, TextContent
from PIL import Image

from r4agent.textworld import make_clip
from r4agent.textworld.writer import encode

from .conftest import well_read

DEMO = Path(__file__).parents[1] / "examples"
POLICY = """
import os, time
from r4agent import RunError, ScriptedPolicy

def replies(*texts):
    return ScriptedPolicy(replies=texts)

def _noise(messages):
    print("noise on standard output")
    os.system("echo more of it")
    return '<tool_call>{"name": "zoom", "arguments": {"view": "v1", "box": [0, 0, 99, 99]}}</tool_call>'

def _fails(messages):
    raise RunError("can't write to /secret/place; free some space")

def _sleeps(messages):
    time.sleep(2)
    return _noise(messages)

noisy = replies(_noise, '<evidence>{"view": "v9"}</evidence><answer>4\\u20602<|im_end|></answer>')
failing = replies(_fails)
slow = replies(*[_sleeps] * 100)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a clip and pictures, a secret beside it, and the policies that tests name."""
    root = tmp_path / "media"
    (root / "shots").mkdir(parents=True)
    encode(make_clip(level=0, seed=1), root / "signs.mp4")
    Image.new("RGB", (64, 64), "white").save(root / "shots" / "1.png")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "secret.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "policies.py").write_text(POLICY)
    return root


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Callable[..., StdioServerParameters]:
    def make(*options: str, policy: str = "noisy") -> StdioServerParameters:
        return StdioServerParameters(
            command=sys.executable,
            args=["-m", "r4agent", "mcp", "--root", str(root), "--policy", f"policies:{policy}", *options],
            env=os.environ | {"R4_HOME": str(tmp_path / "home")},
            cwd=tmp_path,
        )

    return make


def text_of(result: Any) -> str:
    assert isinstance(result, CallToolResult)
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def pictures_of(result: Any) -> list[Image.Image]:
    blocks = [block for block in result.content if isinstance(block, ImageContent)]
    assert {block.mime_type for block in blocks} <= {"image/png"}
    return [Image.open(io.BytesIO(base64.b64decode(block.data))) for block in blocks]


async def test_the_tools_and_the_media_there_are(server: Any) -> None:
    async with Client(server()) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["ask", "list_media", "overview", "select_frames", "zoom", "re_encode"]
        assert all(tool.description for tool in tools.values())
        assert set(tools["zoom"].input_schema["properties"]) == {"media", "view", "box"}
        listed = text_of(await client.call_tool("list_media", {}))
        assert [line.split(" (")[0] for line in listed.splitlines()] == ["signs.mp4", "shots/1.png"]


async def test_ask_gives_text_data_a_picture_and_progress(server: Any) -> None:
    told: list[tuple[float, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append((done, message))

    async with Client(server()) as client:
        arguments = {"media": "signs.mp4", "question": "?", "choices": ["42", "43"]}
        result = await client.call_tool("ask", arguments, progress_callback=progress)
    assert isinstance(result, CallToolResult)
    assert text_of(result).startswith("Answer: 4\\u20602<\u2060|im_end|>\nStatus: answered")
    assert result.structured_content["status"] == "answered"
    assert result.structured_content["answer"] == "4\\u20602<\u2060|im_end|>"
    assert len(result.structured_content["evidence"]) == len(pictures_of(result)) == 1
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert "turn 1: zoom" in [message for _, message in told]


async def test_a_client_that_sees_looks_itself(server: Any) -> None:
    async with Client(server("--budget", "turns=5", "--budget", "images=11")) as client:

        async def call(tool: str, **arguments: Any) -> CallToolResult:
            result = await client.call_tool(tool, {"media": "signs.mp4", **arguments})
            assert isinstance(result, CallToolResult)
            return result

        early = await call("zoom", view="v1", box=[0, 0, 500, 500])
        assert early.is_error
        assert "begin with overview" in text_of(early)

        first = await call("overview")
        assert len(pictures_of(first)) == 8
        assert "[v8] frame" in text_of(first)
        assert "thousandths" in text_of(first)

        region = await call("zoom", view="v1", box=[250, 250, 750, 750])
        (picture,) = pictures_of(region)
        assert f"shown {picture.width}x{picture.height}" in text_of(region)
        assert "4 calls and 2 pictures are left" in text_of(region)

        wrong = await call("zoom", view="v99", box=[0, 0, 10, 10])
        assert wrong.is_error
        assert "view 'v99': the pictures are v1, v2" in text_of(wrong)
        again = await call("re_encode", view="v9", detail="low")
        assert pictures_of(again)[0].size < picture.size
        many = await call("select_frames", times=[1, 2])
        assert "1 pictures of" in text_of(many)
        await call("select_frames", times=[1])
        spent = await call("select_frames", times=[2])
        assert spent.is_error
        assert "used up this session" in text_of(spent)
        assert "5 calls and 3 pictures are left" in text_of(await call("overview"))


@pytest.mark.parametrize("tool", ["ask", "overview", "zoom"])
async def test_nothing_outside_the_root(server: Any, tmp_path: Path, tool: str) -> None:
    more = {"ask": {"question": "?"}, "overview": {}, "zoom": {"view": "v1", "box": [0, 0, 9, 9]}}[tool]
    async with Client(server()) as client:
        said = set()
        for name in (str(tmp_path / "secret.png"), "../secret.png", "link.png", "gone.png", "/etc/passwd"):
            result = await client.call_tool(tool, {"media": name, **more})
            assert isinstance(result, CallToolResult)
            assert result.is_error
            said.add(text_of(result).split("': ")[1])
        assert len(said) == 1  # no word about which of them are there
        result = await client.call_tool(tool, {"media": "file:///etc/passwd", **more})
        assert "addresses aren't opened" in text_of(result)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_clients_roots_narrow_and_never_widen(
    server: Any, root: Path, tmp_path: Path, mode: str
) -> None:
    async def listed(*paths: Path) -> tuple[str, str]:
        async def roots(context: object) -> ListRootsResult:
            return ListRootsResult(roots=[Root(uri=path.as_uri()) for path in paths])  # type: ignore[arg-type]

        async with Client(server(), mode=mode, list_roots_callback=roots) as client:
            secret = await client.call_tool("overview", {"media": str(tmp_path / "secret.png")})
            return text_of(await client.call_tool("list_media", {})), text_of(secret)

    assert [line.split(" (")[0] for line in (await listed(tmp_path))[0].splitlines()] == [
        "signs.mp4",
        "shots/1.png",
    ]
    assert "is not in" in (await listed(tmp_path))[1]
    assert (await listed(root / "shots"))[0].startswith("1.png")
    assert "nothing in common" in (await listed(tmp_path / "home"))[0]


async def test_this_machines_affairs_are_not_told(server: Any) -> None:
    async with Client(server(policy="failing")) as client:
        result = await client.call_tool("ask", {"media": "signs.mp4", "question": "?"})
    assert isinstance(result, CallToolResult)
    assert result.is_error
    assert "the run failed (RunError)" in text_of(result)
    assert "secret" not in text_of(result)


# -- without the client's help: bytes on pipes --------------------------------------------------------


def started(parameters: StdioServerParameters) -> subprocess.Popen[bytes]:
    """A server that has shaken hands."""
    command = [parameters.command, *parameters.args]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=parameters.env, cwd=parameters.cwd
    )
    client = {"name": "t", "version": "1"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    send(process, id=1, method="initialize", params=hello)
    assert json.loads(process.stdout.readline())["id"] == 1  # type: ignore[union-attr]
    send(process, method="notifications/initialized")
    return process


def send(process: subprocess.Popen[bytes], **message: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    process.stdin.flush()


ASK = {"name": "ask", "arguments": {"media": "signs.mp4", "question": "?"}, "_meta": {"progressToken": 1}}


def test_nothing_but_the_protocol_goes_to_standard_output(server: Any) -> None:
    process = started(server())
    send(process, id=2, method="tools/call", params=ASK)
    answered = False
    while not answered:
        line = process.stdout.readline()  # type: ignore[union-attr]
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        answered = message.get("id") == 2
    rest, _ = process.communicate(timeout=30)
    assert rest == b""
    assert process.returncode == 0


def test_a_killed_client_leaves_no_server(server: Any) -> None:
    process = started(server(policy="slow"))
    send(process, id=2, method="tools/call", params=ASK)
    while b"turn" not in process.stdout.readline():  # type: ignore[union-attr]
        pass
    before = time.monotonic()
    for pipe in (process.stdout, process.stdin):  # as the kernel does when the client dies
        pipe.close()  # type: ignore[union-attr]
    process.wait(timeout=60)
    assert time.monotonic() - before < 30  # the step under way ends, no other begins
    assert not children(process.pid)


def children(pid: int) -> list[str]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--root", "gone"], 2, "root 'gone': is no folder"),
        (["--budget", "turns=0"], 2, "budget turns=0"),
        (["--policy", "none:none"], 4, "none:none"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_served(
    tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    command = [sys.executable, "-m", "r4agent", "mcp", *options]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_root_of_all_is_no_default() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "r4agent", "mcp"], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "give --root DIR" in done.stderr


@pytest.mark.slow
async def test_the_embedded_reader_answers_about_the_demo(tmp_path: Path) -> None:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "r4agent", "mcp", "--root", str(DEMO)],
        env=os.environ | {"R4_HOME": str(well_read(tmp_path / "home"))},
    )
    async with Client(parameters) as client:
        question = "How large is the snapshot of the backup that finished?"
        result = await asyncio.wait_for(
            client.call_tool("ask", {"media": "demo.mp4", "question": question}), 300
        )
    assert text_of(result).startswith("Answer: 48.2 GB\nStatus: answered; a reader finds the answer there")
    assert len(pictures_of(result)) == 1
