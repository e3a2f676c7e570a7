"""The student, a few lessons for it, and a small pool of frames."""

from pathlib import Path
from typing import Any

import pytest

from r4agent.engines import Checkpoint

from ...conftest import needs


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of this folder share one worker, and so what they are made of."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group("nano"))


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    needs("transformers")
    from r4agent.training.nano.student import make_student

    return Checkpoint.load(make_student(tmp_path_factory.mktemp("nano") / "start"))


@pytest.fixture(scope="session")
def model(student: Checkpoint) -> Any:
    from transformers import Qwen2_5_VLForConditionalGeneration

    return Qwen2_5_VLForConditionalGeneration.from_pretrained(student.folder)


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The frames of twenty clips."""
    needs("torch")
    from r4agent.training.nano.pool import Pool, draw
    from r4agent.training.nano.student import BUDGET

    folder = tmp_path_factory.mktemp("frames")
    assert list(draw(folder, range(7, 27), BUDGET)) == [20]
    return Pool.load(folder, range(7, 27))


@pytest.fixture(scope="session")
def taught(student: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a store of episodes, `data`: every question by colour of three clips of world 50."""
    return made("closer", "sign by colour", range(3), student, tmp_path_factory.mktemp("taught"))


@pytest.fixture(scope="session")
def searched(student: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of questions by label, among them one whose answer is on the last of eight signs."""
    from r4agent.textworld import make_clip
    from r4agent.textworld.level0 import boards

    last = next(n for n in range(99) if list(boards(make_clip(0, WORLD + n)))[-1].label)
    return made(
        "search", "sign by label", range(last, last + 1), student, tmp_path_factory.mktemp("searched")
    )


@pytest.fixture(scope="session")
def slipped(student: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the questions by label of three clips, whose replies go wrong at times."""
    home = tmp_path_factory.mktemp("slipped")
    return made("search", "sign by label", range(3), student, home, slips=0.2)


WORLD = 50_000_000


def made(kind: Any, of: str, seeds: range, student: Checkpoint, home: Path, **more: float) -> Path:
    """A home with a store of trajectories of a kind, which must all have been kept; where replies go wrong,
    one that takes too many turns is not."""
    from r4agent.evaluation.questions import Questions
    from r4agent.textworld import make_clip
    from r4agent.training.store import EpisodeStore
    from r4agent.training.trajectories import trajectories

    items = [item for seed in seeds for item in make_clip(0, WORLD + seed).items]
    asked = tuple(item for item in items if item.meta["kind"] == of)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R4_HOME", str(home))
        questions, store = Questions("signs", asked, 0), EpisodeStore(home / "data")
        done = trajectories(questions, student.name, store, kind, **more)
    assert done.kept == len(asked) or (more and done.kept > 3)
    return home


@pytest.fixture
def lesson(taught: Path, student: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One of them."""
    from r4agent.training.nano.lessons import lessons

    monkeypatch.setenv("R4_HOME", str(taught))
    return next(iter(lessons(taught / "data", student)))[1]
