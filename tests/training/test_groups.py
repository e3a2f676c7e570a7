"""Groups: what weighs, and what doesn't."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4agent import Episode
from r4agent.errors import RunError
from r4agent.item import Item
from r4agent.training.groups import scored
from r4agent.training.rollout import Rollout

from .conftest import Played


class Dealt:
    """Rewards that were dealt beforehand, by place in the order of asking; `other` has no weight."""

    def __init__(self, *values: float | None) -> None:
        self.weights = {"dealt": 2.0}
        self.values = list(values)

    def score(self, group: Sequence[Episode], item: Item) -> list[dict[str, float | None]]:
        dealt, self.values = self.values[: len(group)], self.values[len(group) :]
        return [{"dealt": value, "other": math.nan} for value in dealt]


@pytest.fixture
def rollout(episodes: Played) -> Rollout:
    return Rollout(episodes.items[0], episodes.episodes[0])


def cut(rollout: Rollout) -> Rollout:
    """The same, ended by its budget."""
    assert rollout.episode
    end = {**(rollout.episode.end or {}), "status": "budget"}
    return replace(rollout, episode=replace(rollout.episode, end=end))


def test_equal_rewards_weigh_nothing(rollout: Rollout) -> None:
    found = scored([rollout] * 4, 2, Dealt(1.0, 0.0, 0.5, 0.5))
    assert found.weighs == [True, True, False, False]
    assert found.column("dealt") == [1.0, 0.0, 0.5, 0.5]


def test_one_that_failed_has_no_reward_and_its_group_goes_on(rollout: Rollout) -> None:
    failed = replace(rollout, error="no such frame")
    found = scored([rollout, failed, rollout], 3, Dealt(1.0, 0.0))
    assert found.weighs == [True, False, True]
    assert found.terms == [{"dealt": 1.0}, None, {"dealt": 0.0}]
    assert math.isnan(found.column("dealt")[1])
    alone = scored([rollout, failed, failed], 3, Dealt(1.0))
    assert alone.weighs == [False] * 3  # nothing to compare it with
    assert scored([failed] * 2, 2, Dealt()).weighs == [False] * 2


def test_one_that_was_cut_counts_but_weighs_nothing(rollout: Rollout) -> None:
    tries = [rollout, cut(rollout)]
    assert scored(tries, 2, Dealt(1.0, 0.0)).weighs == [True, False]
    assert scored(tries, 2, Dealt(1.0, 0.0)).column("dealt") == [1.0, 0.0]
    assert scored(tries, 2, Dealt(1.0, 0.0), mask_cut=False).weighs == [True, True]


def test_a_term_that_can_not_be_said_is_left_out(rollout: Rollout) -> None:
    found = scored([rollout] * 3, 3, Dealt(None, 1.0, 0.0))
    assert found.weighs == [False, True, True]
    assert math.isnan(found.column("dealt")[0])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_reward_that_is_no_number_is_named(rollout: Rollout, value: float) -> None:
    assert rollout.episode
    with pytest.raises(RunError, match=f"{rollout.episode.id}: reward dealt is {value}"):
        scored([rollout] * 2, 2, Dealt(0.0, value))


@given(st.data())
def test_groups_don_t_mix(episodes: Played, data: st.DataObject) -> None:
    """What a group weighs follows from its own rewards."""
    rollout = Rollout(episodes.items[0], episodes.episodes[0])
    size = data.draw(st.integers(2, 4))
    values = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, None]), min_size=size, max_size=size * 4))
    values = values[: len(values) // size * size]
    together = scored([rollout] * len(values), size, Dealt(*values)).weighs
    apart = [
        weighs
        for start in range(0, len(values), size)
        for weighs in scored([rollout] * size, size, Dealt(*values[start : start + size])).weighs
    ]
    assert together == apart
