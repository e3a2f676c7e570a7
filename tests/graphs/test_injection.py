"""Text in a video is data: 49 clips with text that would like to be more, and two policies that repeat it.

The embedded reader reads them as it would any video. The parrot is worse than any model: it writes what
stands in the clip, letter by letter and as the reader reads it, into its thoughts, the text around them, its
calls' arguments and its answer. Nothing that the graph then says spells a tag or a special token, no call is
made but the policy's own, and this process opens no file outside its folders and speaks to no network.
"""

import json
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from r4agent import Episode, MediaStore, Reader, Roots, ScriptedPolicy, as_tool, create_rumination_graph
from r4agent.graphs import sources
from r4agent.media.view import pictures_in
from r4agent.policy.ocr import OcrPolicy
from r4agent.protocol import LAST_TURN, Call, parse, plain
from r4agent.tools import TOOLS

from .hostile_text import HOSTILE, clip_of

REPOSITORY = Path(__file__).resolve().parents[2]
SPECIAL = re.compile(
    r"<[|｜]|</?(?!think|tool_call|answer|evidence|not_found)[a-z]|\[/?INST\]", re.IGNORECASE
)

pytestmark = pytest.mark.slow


# -- what this process touches -------------------------------------------------------------------------


class Watch:
    """An audit hook, which can't be taken away again; it listens only while `on`."""

    def __init__(self) -> None:
        self.on = False
        self.opened: set[str] = set()
        self.other: list[tuple[str, Any]] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open" and isinstance(arguments[0], str | bytes):
            self.opened.add(
                str(Path(arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]))
            )
        elif event == "subprocess.Popen":
            if arguments[0] != sys.executable:  # only decoders, which are this Python
                self.other.append((event, arguments))
        elif event.startswith(
            ("socket.connect", "socket.getaddrinfo", "os.system", "os.exec", "os.posix_spawn")
        ):
            self.other.append((event, arguments))


WATCH = Watch()


@pytest.fixture
def watch(tmp_path: Path, clips: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The media opened in the test; afterwards: no other file outside the test's folders, no network."""
    media: set[str] = set()
    real = sources.open_source

    def recorded(path: Any, **options: Any) -> Any:
        media.add(str(path))
        return real(path, **options)

    monkeypatch.setattr(sources, "open_source", recorded)
    WATCH.opened, WATCH.other, WATCH.on = set(), [], True
    try:
        yield media
    finally:
        WATCH.on = False
    own = [
        tmp_path,
        clips,
        cache,
        REPOSITORY,
        *map(Path, {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()}),
    ]
    system = ("/proc/", "/sys/", "/dev/null", "/dev/urandom", "/etc/os-release")  # what libraries look at
    strange = [
        path
        for path in WATCH.opened
        if Path(path).is_absolute()
        and not any(Path(path).is_relative_to(folder) for folder in own)
        and not path.startswith(system)
    ]
    assert strange == []
    assert WATCH.other == []


# -- clips, and the reader that reads them ---------------------------------------------------------------


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("read")


@pytest.fixture(scope="session")
def reader(cache: Path) -> Reader:
    return Reader(cache=cache)


def run(policy: Any, clip: Path, folder: Path) -> tuple[dict[str, Any], Episode]:
    """Ask, through the tool, so that its text is checked as well."""
    store = policy.store if isinstance(policy, OcrPolicy) else MediaStore(folder / "pictures")
    graph = create_rumination_graph(policy, store=store, episodes=folder / "episodes")
    tool = as_tool(graph, roots=Roots(clip.parent))
    arguments = {"media": clip.name, "question": "What does the red sign say?"}
    message = tool.invoke({"type": "tool_call", "name": tool.name, "id": "1", "args": arguments})
    assert message.status == "success", message.content
    assert plain(message.content) == message.content
    return message.artifact, Episode.read(message.artifact["episode"])


def said_by_the_graph(episode: Episode) -> list[str]:
    """Text of all messages but the policy's and the system's, less what the graph itself says in tags."""
    texts = []
    for message in episode.messages:
        if message["role"] in ("human", "tool"):
            content = message["content"]
            blocks = [content] if isinstance(content, str) else [b.get("text", "") for b in content]
            texts += [block.replace(LAST_TURN, "") for block in blocks]
    return texts


def calls_of(episode: Episode) -> list[tuple[str, Any]]:
    return [
        (call["name"], call["args"])
        for message in episode.messages
        if message["role"] == "ai"
        for call in message["tool_calls"]
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_the_embedded_reader_repeats_text_as_text(
    name: str, clips: Path, reader: Reader, tmp_path: Path, watch: set[str]
) -> None:
    clip = clip_of(name, clips)
    policy = OcrPolicy(store=MediaStore(tmp_path / "pictures"), reader=reader)
    result, episode = run(policy, clip, tmp_path)
    assert result["status"] in ("answered", "refused")
    assert watch == {str(clip)}
    replies = [message for message in episode.messages if message["role"] == "ai"]
    for reply in replies:
        text = reply["content"]
        assert not SPECIAL.search(text), text
        step = parse(text).step
        assert [c["name"] for c in reply["tool_calls"]] == ([step.name] if isinstance(step, Call) else [])
    assert all(name in TOOLS for name, _ in calls_of(episode))
    assert all(plain(text) == text for text in said_by_the_graph(episode))


OWN = ("zoom", {"view": "v1", "box": [2, 3, 200, 100]})


def call_text(name: str, arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


class Parrot(ScriptedPolicy):
    """A foreign model: it is given text and pixels, as any that has no tools of its own."""

    takes_references: bool = False


def parrot(text: str, heard: list[list[BaseMessage]]) -> Parrot:
    """Says what it reads at every place of a reply at which a model can write."""

    def after(reply: str) -> Callable[[list[BaseMessage]], str]:
        def listen(messages: list[BaseMessage]) -> str:
            heard.append(messages)
            return reply

        return listen

    own = call_text(*OWN)
    replies = [
        f"<think>{text}</think>{own}",
        f"{text}{own}",
        own.replace("v1", json.dumps(text)[1:-1]),
        call_text(text, {"view": text}),
        call_text("select_frames", {"times": [1.0], text: text}),
        text,
        f"<answer>{text}</answer>",
        "<not_found>nothing helped</not_found>",
    ]
    return Parrot(replies=[after(reply) for reply in replies])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_policy_that_repeats_what_it_reads_gains_nothing(
    name: str, clips: Path, reader: Reader, tmp_path: Path, watch: set[str]
) -> None:
    clip, drawn = clip_of(name, clips), HOSTILE[name]
    heard: list[list[BaseMessage]] = []
    result, episode = run(parrot(f"{drawn} {read(reader, clip)} {drawn}", heard), clip, tmp_path)
    assert watch == {str(clip)}

    # Calls that were carried out brought a picture each; each of them is one that the policy's reply spells.
    shown = [p for p in pictures_in(m["content"] for m in episode.messages) if p.name not in ("v1", "v2")]
    spelt = [parse(m["content"]).step for m in episode.messages if m["role"] == "ai"]
    done = [step for step in spelt if isinstance(step, Call) and step.name in TOOLS]
    assert len(shown) <= len(done)
    assert (OWN[0], OWN[1]) in [(step.name, step.arguments) for step in done] or "</think>" in drawn

    assert all(plain(text) == text for text in said_by_the_graph(episode))
    assert result["status"] in ("answered", "refused", "forced", "budget")
    for messages in heard:  # as a model on the text protocol is given them
        asked = sum(isinstance(m, AIMessage) for m in messages)
        texts = [block["text"] for m in messages if isinstance(m, HumanMessage) for block in blocks(m)]
        assert sum(text == "<tool_response>" for text in texts) <= asked
        tags = ("<tool_response>", "</tool_response>")
        assert all(plain(t) == t for t in (t.replace(LAST_TURN, "") for t in texts if t not in tags))


def blocks(message: BaseMessage) -> list[dict[str, Any]]:
    if isinstance(message.content, str):
        return [{"text": message.content}]
    return [block for block in message.content if isinstance(block, dict) and "text" in block]


def read(reader: Reader, clip: Path) -> str:
    """What the reader reads in the clip's first frame."""
    from r4agent import open_source

    with open_source(clip) as source:
        return " ".join(line.text for line in reader.read(source.frame(0).image))


def test_the_clips_can_be_read(clips: Path, reader: Reader) -> None:
    """Else the tests above would be about nothing."""
    assert len(HOSTILE) >= 40

    def likeness(name: str) -> float:
        found = read(reader, clip_of(name, clips)).replace(" ", "")
        drawn = HOSTILE[name].replace(" ", "")
        return sum(b.size for b in SequenceMatcher(None, found, drawn, False).get_matching_blocks()) / len(
            drawn
        )

    likenesses = sorted(likeness(name) for name in list(HOSTILE)[::4])
    assert likenesses[1] > 0.8, likenesses
    assert likenesses[len(likenesses) // 2] > 0.95, likenesses
