"""What the tests of training share: a tiny checkpoint, and real token-exact episodes with pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from r4agent import Budget, ChatR4, Episode, MediaStore, create_rumination_graph
from r4agent.engines import Checkpoint
from r4agent.engines.request import Request
from r4agent.item import Item
from r4agent.textworld.writer import clip_file

from ..policy.scripted_engine import ScriptedEngine, bare_checkpoint
from .needle import Needle, make_needle

ZOOM = '<tool_call>{"name": "zoom", "arguments": {"view": "v1", "box": [10, 10, 120, 90]}}</tool_call>'
SELECT = '<tool_call>{"name": "select_frames", "arguments": {"frames": [5, 20]}}</tool_call>'
AGAIN = '<tool_call>{"name": "re_encode", "arguments": {"view": "v4", "detail": "low"}}</tool_call>'
SCRIPTS = (
    (ZOOM, SELECT, AGAIN, '<evidence>{"view": "v6"}</evidence><answer>42</answer>'),  # v3, v4 v5, v6
    (SELECT, "I wonder.", "<not_found>too small</not_found>"),  # v3 v4; no call
    ("<answer>42</answer>",),
)
"""Replies of three episodes; v1 and v2 are the overview."""


@dataclass(frozen=True)
class Played:
    """episodes, and the item that each was asked; the pictures that they refer to."""

    episodes: tuple[Episode, ...]
    items: tuple[Item, ...]
    pictures: MediaStore


@pytest.fixture(scope="module")
def home_of_a_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An R4_HOME that the tests of one module share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R4_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def bare_student(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A student for a teacher: a tokenizer and a profile, no weights."""
    return bare_checkpoint("qwen2_5_vl", tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="session")
def training_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One R4_HOME for all these tests: their stores come and go, and `r4 clean` asks after each."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def own_home(training_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R4_HOME", str(training_home))


@pytest.fixture(scope="session")
def checkpoint(tiny: Callable[[str], Path]) -> Checkpoint:
    """A tiny random Qwen2.5-VL."""
    return Checkpoint.load(tiny("qwen2_5_vl"))


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A checkpoint of each family, without weights: what a teacher needs of it."""
    return bare_checkpoint(request.param, tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="module")
def needle(tmp_path_factory: pytest.TempPathFactory) -> Needle:
    """A question about one sign of a clip. A module's own, since its episodes are kept beside it."""
    return make_needle(tmp_path_factory.mktemp("needle"))


@pytest.fixture(scope="session")
def episodes(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Three episodes of `SCRIPTS` on level-0 clips, sampled at temperature 1 as far as the log knows. All
    tests share their folder, and none may write into it."""
    played = play(SCRIPTS, checkpoint, tmp_path_factory.mktemp("episodes"))
    logs = sorted(path.name for path in played.episodes[0].path.parent.iterdir())
    yield played
    assert sorted(path.name for path in played.episodes[0].path.parent.iterdir()) == logs


@pytest.fixture
def home(episodes: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An R4_HOME of the test's own, with the pictures of the three episodes."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "pictures").symlink_to(episodes.pictures.root)
    monkeypatch.setenv("R4_HOME", str(folder))
    return folder


def play(
    scripts: Sequence[Sequence[str]], checkpoint: Checkpoint, folder: Path, *, temperature: float = 1.0
) -> Played:
    """Ask one question of one level-0 clip for each script, through the real graph."""
    store = MediaStore(folder / "pictures")
    played: list[Episode] = []
    items: list[Item] = []
    for seed, script in enumerate(scripts):

        def say(prompt: str, request: Request, script: Sequence[str] = script) -> str:
            return script[prompt.count("<|im_start|>assistant\n") - 1]

        engine = ScriptedEngine(checkpoint, say)
        model = ChatR4(model=checkpoint.name, engine=engine, temperature=temperature)
        clip, found = clip_file(0, seed, folder)
        graph = create_rumination_graph(
            model,
            budget=Budget(overview_images=2, overview_tokens=16, picture_tokens=64),
            store=store,
            episodes=folder / "episodes",
        )
        result = graph.invoke({"media": str(clip), "question": found[0].question})
        engine.close()
        played.append(Episode.read(result["episode"]))
        items.append(found[0])
    return Played(tuple(played), tuple(items), store)
