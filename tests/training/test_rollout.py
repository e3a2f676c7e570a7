"""Rollouts through the real graph: the same in every run, and one that fails is no business of the others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from r4agent import Budget, MediaStore
from r4agent.engines import Checkpoint, Request
from r4agent.errors import RunError
from r4agent.item import Item
from r4agent.textworld.writer import clip_file
from r4agent.training.groups import scored
from r4agent.training.lockstep import Lockstep
from r4agent.training.rollout import TIMEOUT, Rollout, Rollouts
from r4agent.training.rows import Row

from ..policy.scripted_engine import ScriptedEngine

SMALL = Budget(turns=2, overview_images=2, overview_tokens=16, picture_tokens=32)
ANSWER = "<answer>42</answer>"


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """A question each about two clips."""
    made = [clip_file(0, seed, tmp_path_factory.mktemp("clips")) for seed in (0, 1)]
    return [found[0].model_copy(update={"media": str(clip)}) for clip, found in made]


@pytest.fixture
def scripted(checkpoint: Checkpoint, tmp_path: Path) -> Callable[..., Rollouts]:
    """Rollouts of a policy that says what `say` says."""

    def made(say: Callable[[str, Request], str], **more: Any) -> Rollouts:
        engine = ScriptedEngine(checkpoint, say)
        store = MediaStore(tmp_path / "pictures")
        return Rollouts(engine, store, folder=tmp_path / "rollouts", budget=SMALL, **more)

    return made


@pytest.mark.slow
def test_the_same_seed_gives_the_same_rollouts(
    checkpoint: Checkpoint, items: list[Item], tmp_path: Path
) -> None:
    """To the last bit: ids, logprobs and pictures, of episodes that are other episodes."""
    from r4agent.engines.hf import TransformersEngine

    engine = TransformersEngine(checkpoint)

    def rows(seed: int, step: int) -> list[Row]:
        folder = tmp_path / f"{seed}-{step}-{len(list(tmp_path.iterdir()))}"
        roll = Rollouts(
            engine, MediaStore(tmp_path / "pictures"), folder=folder, budget=SMALL, seed=seed, max_tokens=8
        )
        tries = roll([items[0], items[0], items[1]], step)
        assert len(list(folder.glob(f"step-0000{step}/*.jsonl"))) == 3
        return [replace(Row.of(one.episode), episode="") for one in tries if one.episode]

    first = rows(1, 1)
    assert rows(1, 1) == first
    assert rows(2, 1)[0].ids != first[0].ids
    assert rows(1, 2)[0].ids != first[0].ids
    assert first[0].ids != first[1].ids  # the same question, another seat
    engine.close()


def test_one_that_fails_leaves_the_others_alone(scripted: Callable[..., Rollouts], items: list[Item]) -> None:
    """One has no media, one an engine that gives up in the middle."""

    def say(prompt: str, request: Request) -> str:
        if "fragile" in prompt and prompt.count("<|im_start|>assistant\n") == 2:
            raise RunError("gave up")
        return "I wonder." if "fragile" in prompt else ANSWER

    gone = items[0].model_copy(update={"media": "/nowhere.mp4"})
    fragile = items[0].model_copy(update={"question": "What is fragile?"})
    good, lost, broken, other = scripted(say)([items[0], gone, fragile, items[1]], 1)
    assert not good.error
    assert not other.error
    assert lost.episode is None
    assert lost.error.startswith("/nowhere.mp4: no such file")
    assert broken.error == "gave up"
    assert broken.episode
    assert broken.episode.status == "failed"
    assert good.episode
    assert good.episode.status == "answered"


def test_a_limit_that_cuts_is_no_failure(scripted: Callable[..., Rollouts], items: list[Item]) -> None:
    (one,) = scripted(lambda prompt, request: "I wonder.")(items[:1], 1)
    assert one.cut
    assert not one.error


def test_only_seconds_that_were_set_cut(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """The others would be spent on waiting for neighbours."""

    def seconds(budget: Budget) -> float:
        engine = ScriptedEngine(checkpoint, lambda prompt, request: ANSWER)
        return Rollouts(engine, MediaStore(tmp_path), folder=tmp_path, budget=budget).budget.seconds

    assert seconds(SMALL) >= SMALL.turns * TIMEOUT
    assert seconds(Budget(seconds=9)) == 9
    assert seconds(Budget.parse(["seconds=600"])) == 600


def test_all_that_fail_are_an_error(scripted: Callable[..., Rollouts], items: list[Item]) -> None:
    gone = [item.model_copy(update={"media": "/nowhere.mp4"}) for item in items]
    with pytest.raises(
        RunError, match=r"step 3: all 2 rollouts failed, the first with: /nowhere.mp4: no such"
    ):
        scripted(lambda prompt, request: ANSWER)(gone, 3)


def test_a_bug_is_not_hidden(
    scripted: Callable[..., Rollouts], items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(item: Item, clips: Path) -> str:
        return item.media if item is items[0] else str(1 // 0)

    monkeypatch.setattr("r4agent.training.rollout.media_of", broken)
    with pytest.raises(ZeroDivisionError):
        scripted(lambda prompt, request: ANSWER)(items, 1)


def test_rollouts_run_where_a_loop_runs(scripted: Callable[..., Rollouts], items: list[Item]) -> None:
    """As in a notebook."""
    import asyncio

    async def cell() -> list[Rollout]:
        return scripted(lambda prompt, request: ANSWER)(items, 1)

    assert [one.error for one in asyncio.run(cell())] == ["", ""]


def test_what_failed_is_counted_and_another_stands_in(
    scripted: Callable[..., Rollouts], items: list[Item]
) -> None:
    from r4agent.training.batches import Group

    gone = items[0].model_copy(update={"media": "/nowhere.mp4"})
    tries = scripted(lambda prompt, request: ANSWER)([gone, items[0], items[0], items[0]], 1)
    batch = Group(4, _Lengths()).batch(tries)
    assert batch.measures["failed"] == 0.25
    assert batch.rows[0] == batch.rows[1]
    assert batch.scored.weighs == [False, True, True, True]
    assert batch.scored == scored(tries, 4, _Lengths())


class _Lengths:
    """Rewards that differ."""

    weights = {"place": 1.0}  # noqa: RUF012

    def score(self, group: Any, item: Item) -> list[dict[str, float | None]]:
        return [{"place": float(place)} for place in range(len(group))]


def test_the_log_says_how_it_was_sampled(scripted: Callable[..., Rollouts], items: list[Item]) -> None:
    """Else it could not be trained on."""
    rollouts = scripted(lambda prompt, request: ANSWER, seed=5)
    assert isinstance(rollouts.policy.engine, Lockstep)
    (one,) = rollouts(items[:1], 1)
    assert one.episode
    assert one.episode.header["model"]["engine"] == "scripted"
    row = Row.of(one.episode)
    assert (row.temperature, row.top_p, row.taught) == (1.0, 1.0, False)
