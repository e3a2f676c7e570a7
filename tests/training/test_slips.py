"""Slips: before a right reply, truly answered, marked, and never learnt."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from r4agent.engines import Checkpoint
from r4agent.errors import UsageError
from r4agent.evaluation import of_textworld
from r4agent.evaluation.sight import during
from r4agent.protocol import Malformed, parse
from r4agent.training.looks import looks
from r4agent.training.rows import replies, slipped
from r4agent.training.sft import Lesson
from r4agent.training.slips import slipping
from r4agent.training.store import EpisodeStore, Stored
from r4agent.training.trajectories import trajectories

pytestmark = pytest.mark.usefixtures("home_of_a_module")


@pytest.fixture(scope="module")
def kept(
    home_of_a_module: None, bare_student: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> list[Stored]:
    store = EpisodeStore(tmp_path_factory.mktemp("slipped") / "data")
    made = trajectories(of_textworld(0, 8, 1), bare_student.name, store, "compositional", slips=0.5)
    assert made.kept == 8
    return list(store.select())


def said(stored: Stored) -> list[tuple[bool, str, bool]]:
    """Of each reply: whether it is marked, its text, and whether it was carried out."""
    every, wrong = replies(stored.episode), slipped(stored.episode)
    ran = [look.done for look in looks(stored.episode) if look.tool]  # of those that could be read
    done = iter([*ran, every[-1]["step"] == "Answer"])
    return [
        (number in wrong, reply["content"], reply["step"] != "Malformed" and next(done))
        for number, reply in enumerate(every, start=1)
    ]


def test_a_slip_comes_before_the_reply_that_is_right(kept: list[Stored]) -> None:
    kinds = set[str]()
    for stored in kept:
        told = said(stored)
        assert not told[-1][0]
        for (wrong, text, _), (then, right, _) in pairwise(told):
            if wrong:
                assert not then
                assert text != right
                kinds.add(type(parse(text).step).__name__)
        assert all(carried for wrong, _, carried in told if not wrong)
    assert kinds == {"Malformed", "Call"}  # broken, and astray


def test_a_slip_is_never_learnt(kept: list[Stored]) -> None:
    some = [stored.episode for stored in kept if slipped(stored.episode)]
    assert len(some) > 3
    for episode in some:
        every, wrong = set(range(1, len(replies(episode)) + 1)), slipped(episode)
        assert Lesson.of(episode).turns == every - wrong
        assert not Lesson.of(episode, "led").turns & wrong
    nothing_cited = replace(some[0], end={**(some[0].end or {}), "evidence": []})
    assert Lesson.of(nothing_cited, "led").turns == Lesson.of(some[0]).turns  # led: all


def test_a_box_astray_shows_nothing_of_the_answer(kept: list[Stored]) -> None:
    seen = 0
    for stored in kept:
        assert stored.item is not None
        [span] = stored.item.evidence
        assert span.source_box is not None
        brought = [look for look in looks(stored.episode) if look.tool]
        wrong = slipped(stored.episode)
        called = [n for n, reply in enumerate(replies(stored.episode), start=1) if reply["tool_calls"]]
        for number, look in zip(called, brought, strict=True):
            for picture in look.pictures if number in wrong else ():
                seen += 1
                there = during(picture.view, span)
                assert not (there and picture.view.region.overlap(span.source_box))
    assert seen > 1


def test_without_slips_a_plan_is_what_it_was(bare_student: Checkpoint, tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "data")
    trajectories(of_textworld(0, 1, 1), bare_student.name, store, "compositional")
    [stored] = store.select()
    assert not slipped(stored.episode)
    assert len(Lesson.of(stored.episode).turns) == len(replies(stored.episode))

    def plan(_: object) -> Iterator[str]:
        yield "x"

    assert slipping(plan, 0.0) is plan


def test_what_is_broken_can_t_be_carried_out() -> None:
    from random import Random

    from r4agent.training.slips import _broken
    from r4agent.training.teacher import Slip

    right = '<think>v9 shows it: K7.</think>\n<evidence>{"view": "v9", "box": [1, 2, 3, 4]}</evidence>'
    right += "<answer>K7</answer>"
    broken = [_broken(right, Random(seed)) for seed in range(200)]
    assert all(isinstance(one, Slip) and isinstance(parse(one).step, Malformed) for one in broken)
    assert len(set(broken)) > 150


@pytest.mark.parametrize("chance", [-0.1, 1.0, float("nan")])
def test_a_chance_that_is_none(chance: float, bare_student: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="from 0 to less than 1"):
        trajectories(
            of_textworld(0, 1, 1), bare_student.name, EpisodeStore(tmp_path / "data"), "closer", slips=chance
        )
