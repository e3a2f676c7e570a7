"""The weighted sum: what may be written, and what comes of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4agent import Episode
from r4agent.errors import UsageError
from r4agent.training.rewards import Curiosity
from r4agent.training.scoring import TERMS, Means, Rewards

from .needle import Needle, corner


@pytest.fixture(scope="module")
def group(needle: Needle) -> list[Episode]:
    """Right after a look, wrong after two, and failed."""
    wrong = (corner(needle.wrong[0]), corner(needle.wrong[1], 1), needle.answer("nothing"))
    return [needle.ask(needle.look(), needle.answer()), needle.ask(*wrong), needle.ask(needle.look())]


def test_the_total_is_the_weighted_sum(needle: Needle, group: list[Episode]) -> None:
    words = {"accuracy": 1.0, "format": 0.1, "evidence": 0.5, "curiosity": {"weight": 2, "H": 1.0, "N": 1}}
    first, second, failed = Rewards.of(words).score(group, needle.item)
    assert first == {"accuracy": 1, "format": 1, "evidence": 1, "curiosity": 0, "total": 1.6}
    assert second == pytest.approx(
        {"accuracy": 0, "format": 1, "evidence": 0, "curiosity": -0.05, "total": 0.1 - 0.1}
    )
    assert set(failed.values()) == {None}


def test_what_an_item_cannot_have_adds_nothing(needle: Needle, group: list[Episode]) -> None:
    bare = needle.item.model_copy(update={"answers": ()})
    (scored, *_) = Rewards.of({"accuracy": 1.0, "format": 0.1}).score(group, bare)
    assert scored == {"accuracy": None, "format": 1, "total": 0.1}


def test_every_term_can_be_asked_for(needle: Needle, group: list[Episode]) -> None:
    def features(refs: Any) -> Any:
        return np.eye(16, dtype=np.float32)[: len(refs)]

    words = dict.fromkeys([*TERMS, "curiosity"], 1.0)
    for scored in Rewards.of(words, Means(features)).score(group[:2], needle.item):
        assert set(scored) == {*words, "total"}
        assert None not in scored.values()


def test_features_are_asked_for_when_they_are_needed(needle: Needle, group: list[Episode]) -> None:
    rewards = Rewards.of({"diversity": 1.0})
    assert rewards.needs_features
    assert not Rewards.of({"accuracy": 1.0}).needs_features
    with pytest.raises(UsageError, match="need features of pictures"):
        rewards.score(group, needle.item)


@given(st.dictionaries(st.sampled_from([*TERMS, "curiosity"]), st.floats(-10, 10), min_size=1))
def test_weights_are_taken_as_they_are_written(weights: dict[str, float]) -> None:
    rewards = Rewards.of(weights)
    assert rewards.weights == weights
    assert rewards.curiosity == Curiosity(H=0.3, N=1, alpha=0.5, beta=0.05)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({}, "name at least one"),
        ({"beauty": 1.0}, "reward 'beauty': there are accuracy, anls, format"),
        ({"accuracy": "much"}, "reward accuracy: 'much' is no number"),
        ({"accuracy": True}, "reward accuracy: True is no number"),
        ({"accuracy": float("nan")}, "reward accuracy: nan is no number"),
        ({"accuracy": {"weight": 1.0}}, "is no number"),
        ({"curiosity": {"H": 0.3}}, "reward curiosity.weight: None is no number"),
        ({"curiosity": {"weight": 1, "h": 0.3}}, "unknown h; it has weight, H, N, alpha, beta"),
        ({"curiosity": {"weight": 1, "N": None}}, "reward curiosity.N: None is no number"),
    ],
)
def test_what_is_wrong_is_said(words: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        Rewards.of(words)
