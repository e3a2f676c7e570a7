"""The archive: each rollout that was learnt from is kept once, whenever a run was killed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r4agent.item import Item
from r4agent.training.groups import Scored
from r4agent.training.rollout import Rollout
from r4agent.training.store import EpisodeStore

from .conftest import Played


class State:
    """As much of a trainer's state as is looked at."""

    is_world_process_zero = True

    def __init__(self, step: int) -> None:
        self.global_step = step


@pytest.fixture
def noted(episodes: Played, tmp_path: Path) -> Callable[[int], Any]:
    """An archive that was told of as many steps, each of two of the episodes."""

    def noted(steps: int) -> Any:
        from r4agent.episode import Episode
        from r4agent.training.archive import Archive
        from r4agent.training.graph_trainer import Batch

        archive = Archive(tmp_path, "rl-d")
        for step in range(1, steps + 1):
            tries = []
            for number in (0, 1):
                log = episodes.episodes[number].path
                copy = tmp_path / "rollouts" / f"step-{step:05d}" / f"{log.stem}-{step}.jsonl"
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(log.read_text().replace(log.stem, copy.stem))
                tries.append(Rollout(episodes.items[number], Episode.read(copy)))
            worth = Scored([{"accuracy": 1.0, "anls": None}, {"accuracy": 0.0, "anls": 0.5}], [True, True])
            archive.note(Batch(tries, [], worth, {}), step)
        return archive

    return noted


def kept(folder: Path) -> list[tuple[str, dict[str, float] | None]]:
    stored = EpisodeStore(folder / "episodes").select()
    return [(one.episode.id.rpartition("-")[2], one.rewards) for one in stored]


def step_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "rollouts").glob("*"))


def test_a_checkpoint_keeps_what_it_has_learnt_from(
    noted: Callable[[int], Any], episodes: Played, tmp_path: Path
) -> None:
    archive = noted(3)
    archive.on_save(None, State(2), None)
    assert kept(tmp_path) == [
        (str(step), reward)
        for step in (1, 2)
        for reward in ({"accuracy": 1.0}, {"accuracy": 0.0, "anls": 0.5})
    ]
    assert step_of(tmp_path) == ["step-00003"]
    (first, *_) = EpisodeStore(tmp_path / "episodes").select()
    assert first.stage == "rl-d"
    assert first.item == Item.model_validate(episodes.items[0].model_dump(mode="json"))


def test_what_lies_beyond_the_checkpoint_is_put_aside(noted: Callable[[int], Any], tmp_path: Path) -> None:
    """Step 1 was learnt from, and the run was killed before it was kept; step 2 will be taken again."""
    noted(2).on_train_begin(None, State(1), None)
    assert [step for step, _ in kept(tmp_path)] == ["1", "1"]
    assert [path.name for path in (tmp_path / "aside").iterdir()] == ["00001-step-00002"]
    assert step_of(tmp_path) == []
    noted(2).on_train_begin(None, State(1), None)  # killed again: what is kept is kept once
    assert [step for step, _ in kept(tmp_path)] == ["1", "1"]
    names = sorted(path.name for path in (tmp_path / "aside").iterdir())
    assert names == ["00001-step-00002", "00002-step-00002"]


def test_a_kill_while_it_keeps_loses_nothing(
    noted: Callable[[int], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = noted(1)
    add = EpisodeStore.add
    added: list[str] = []

    def once(store: EpisodeStore, episode: Any, **more: Any) -> bool:
        if added:
            raise KeyboardInterrupt
        added.append(episode.id)
        return add(store, episode, **more)

    monkeypatch.setattr(EpisodeStore, "add", once)
    with pytest.raises(KeyboardInterrupt):
        archive.on_save(None, State(1), None)
    monkeypatch.setattr(EpisodeStore, "add", add)
    assert len(kept(tmp_path)) == 1
    archive.on_train_begin(None, State(1), None)
    assert len(kept(tmp_path)) == 2
    assert step_of(tmp_path) == []


def test_a_kill_while_it_removes_what_it_kept(
    noted: Callable[[int], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of the logs are gone, and what they were worth is still there."""

    def half(folder: Path) -> None:
        for log in folder.glob("*.jsonl"):
            log.unlink()
        raise KeyboardInterrupt

    archive = noted(1)
    with monkeypatch.context() as patched:
        patched.setattr("r4agent.training.archive.shutil.rmtree", half)
        with pytest.raises(KeyboardInterrupt):
            archive.on_save(None, State(1), None)
    archive.on_train_begin(None, State(1), None)
    assert len(kept(tmp_path)) == 2
    assert step_of(tmp_path) == []
