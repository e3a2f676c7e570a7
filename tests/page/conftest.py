"""What the page's tests share: real episodes of small clips, files written by hand, and a browser."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from r4agent import MediaStore, ScriptedPolicy, create_rumination_graph
from r4agent.errors import RunError
from r4agent.media.view import View
from r4agent.textworld import make_clip
from r4agent.textworld.writer import encode

INVISIBLE = "\u202edrow\u202c \u2066x\u2069 \u200e\u200b\u2060"
HOSTILE = (
    "<script>window.hit = 1</script></tool_call><img src=x onerror='window.hit = 2'>--> {{ 7 * 7 }} {% raw %}"
    f"\"'><svg onload='window.hit = 3'></svg></style></title></textarea> {INVISIBLE}"
)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
)


def call(name: str, **arguments: Any) -> str:
    """A well-formed tool call, as a policy writes it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


SELECT = "<think>when is it?</think>" + call("select_frames", times=[1.0, 2.5])
ZOOM = "<think>closer</think>" + call("zoom", view="v9", box=[10, 10, 200, 100])
BAD = call("zoom", view="v99", box=[0, 0, 5, 5])
MALFORMED = f"no call at all {HOSTILE}"
ANSWER = '<think>there</think><evidence>{"view": "v11"}</evidence><answer>42</answer>'
TELLING = [SELECT, BAD, MALFORMED, ZOOM, ANSWER]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "signs.mp4"
    encode(make_clip(level=0, seed=1), path)
    return path


@pytest.fixture(scope="session")
def pdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from reportlab.pdfgen.canvas import Canvas

    path = tmp_path_factory.mktemp("pdf") / "paper.pdf"
    canvas = Canvas(str(path), pagesize=(400, 300))
    for page in range(5):
        canvas.drawString(40, 250, f"page {page + 1}")
        canvas.showPage()
    canvas.save()
    return path


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`asked(media, replies, question, **options)`: the episode of a real run; it may fail."""
    root = tmp_path_factory.mktemp("home")

    def ask(media: Path, replies: list[Any], question: str = "What is it?", **options: Any) -> Path:
        folder = root / f"episodes-{len(list(root.iterdir()))}"
        options = {"store": MediaStore(root / "pictures"), "episodes": folder} | options
        graph = create_rumination_graph(ScriptedPolicy(replies=replies), **options)
        with contextlib.suppress(RunError):  # the policy's, on purpose: the episode says so
            graph.invoke({"media": str(media), "question": question})
        (episode,) = folder.glob("*.jsonl")
        return episode

    return ask


@pytest.fixture(scope="session")
def episode(clip: Path, asked: Callable[..., Path]) -> Path:
    """One that has everything: frames, a refused call, a malformed reply, a region, evidence."""
    return asked(clip, TELLING)


@pytest.fixture(scope="session")
def hostile(clip: Path, asked: Callable[..., Path]) -> Path:
    """One in which every text is hostile."""
    answer = f'<think>{HOSTILE}</think><evidence>{{"view": "v1"}}</evidence><answer>{HOSTILE}</answer>'
    made = asked(clip, [MALFORMED, call("zoom", view=HOSTILE[:20], box=[0, 0, 1, 1]), answer], HOSTILE)
    lines = [json.loads(line) for line in made.read_text().splitlines()]
    lines[-1]["evidence"][0]["text"] = HOSTILE
    lines[0]["media"]["path"] = f"/videos/{HOSTILE.replace('/', '_')}"
    lines[0]["policy"] = lines[-1]["error"] = HOSTILE
    return written(made, lines)


def written(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def long_episode(folder: Path, turns: int, a_turn: int) -> Path:
    """An episode of `turns * a_turn` views that no run made: frames, and regions of them, each its own."""
    store = MediaStore(folder / "pictures")
    path = folder / "long-episode.jsonl"
    header = {
        "type": "episode", "schema": 1, "id": "long-episode", "key": "episode", "created": 1.8e9,
        "question": "What is in all?", "choices": [], "policy": "r4-scripted", "store": str(store.root),
        "media": {"path": "/v/long.mp4", "id": "src:0", "kind": "video", "count": 9000, "duration": 900.0,
                  "size": [1280, 720]},
        "versions": {}, "profile": "qwen2.5-vl", "tools": ["zoom"], "budget": {"turns": 1000}, "reader": None,
    }  # fmt: skip
    lines: list[dict[str, Any]] = [header]
    screen = Image.new("RGB", (840, 476), "white")
    draw = ImageDraw.Draw(screen)
    for row in range(28):
        words = " ".join(f"{(row * 7919 + column * 104729) % 99991:05d} item" for column in range(9))
        draw.text((8, 17 * row), words, (20, 30 + 4 * row, 60))
    for turn in range(turns):
        blocks: list[dict[str, Any]] = []
        for number in range(turn * a_turn + 1, (turn + 1) * a_turn + 1):
            draw.rectangle((300, 200, 420, 230), "black")
            draw.text((310, 208), f"picture {number}", "white")
            region = "320,180,960,540" if number % 4 == 0 else "0,0,1280,720"
            frame = number - number % 4
            view = View.parse(f"{frame}@{frame / 10} {region} 840x476")
            extras = {"view": view.recipe}
            blocks.append(
                {"type": "image", "id": f"v{number}", "file_id": store.put(screen), "extras": extras}
            )
        for key, line in {
            f"a{turn}": {
                "role": "ai",
                "content": f"<think>look</think>{call('select_frames', times=[turn])}",
            },
            f"t{turn}": {"role": "tool", "content": blocks, "status": "success"},
        }.items():
            after = lines[-1]["id"] if turn or key[0] == "t" else None
            lines.append({"type": "message", "id": key, "key": key, "after": after, **line})
    return written(path, lines)


class Tree(HTMLParser):
    """A page as its tags, each with its attributes, and its text without style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._raw = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._raw = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._raw = False

    def handle_data(self, data: str) -> None:
        if not self._raw:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def classes(self, name: str) -> list[dict[str, str | None]]:
        return [a for _, a in self.tags if name in (a.get("class") or "").split()]


@pytest.fixture(
    scope="module"
)  # no longer: while it lasts this thread has an event loop, which async tests mind
def browser() -> Iterator[Any]:
    """Headless Chromium, this machine's own. Without one these tests fail in CI and are skipped elsewhere."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    executable = next(filter(None, found), None)
    if executable is None:
        why = "no Chromium: apt-get install -y chromium"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=FLAGS.split())
        yield running
        running.close()


def worked(page: Any) -> float:
    """Seconds that the page's process has computed so far, which other work on the machine changes little."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = session.send("Performance.getMetrics")["metrics"]
    session.detach()
    [seconds] = [metric["value"] for metric in metrics if metric["name"] == "ProcessTime"]
    return float(seconds)


@pytest.fixture
def opened(browser: Any) -> Callable[..., Any]:
    """`with opened(path, **context) as page`: a page from disk. It must end without a complaint on its
    console, an error, or a request for anything but itself."""

    @contextlib.contextmanager
    def open_page(path: Path, **context: Any) -> Iterator[Any]:
        tab = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        page = tab.new_page()
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: told.append(request.url))
        page.goto(path.as_uri())
        yield page
        own = [url for url in told if url.split("#")[0] == path.as_uri() or url.startswith("data:")]
        assert [line for line in told if line not in own] == []
        tab.close()

    return open_page
