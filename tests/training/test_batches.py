"""Batches: what a replay takes together."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from r4agent.errors import UsageError
from r4agent.training.store import Stored

from .conftest import Played

Make = Callable[..., Stored]


@pytest.fixture
def stored(episodes: Played) -> Make:
    """An episode of the item with this id; `live` ones were stored by a GRPO run."""

    def stored(ident: str, *, live: bool = False, failed: bool = False) -> Stored:
        episode = episodes.episodes[0]
        if failed:
            episode = replace(episode, end={"status": "failed", "error": "no such frame"})
        item = episodes.items[0].model_copy(update={"id": ident})
        return Stored(episode, "", item, {"accuracy": 1.0} if live else None)

    return stored


def places(episodes: list[Stored], size: int = 2) -> list[list[int]]:
    """The groups that a replay makes, of the episodes' places."""
    from r4agent.training.batches import Group, Replay

    numbered = [replace(one, item=_numbered(one.item, n)) for n, one in enumerate(episodes)]
    groups = Replay.of(numbered, Group(size, rewards=None)).groups  # type: ignore[arg-type]
    return [[int(rollout.item.question) for rollout in group] for group in groups]


def _numbered(item: Any, number: int) -> Any:
    return item.model_copy(update={"question": str(number)})


def test_episodes_of_an_item_are_together(stored: Make) -> None:
    assert places([stored("a"), stored("b"), stored("a"), stored("b"), stored("a")]) == [[0, 2], [1, 3]]


def test_two_groups_of_a_run_don_t_mix(stored: Make) -> None:
    """The first has lost one of its rollouts before it had a log; the second was sampled steps later."""
    run = [stored(ident, live=True) for ident in "abbaabb"]
    assert places(run) == [[1, 2], [3, 4], [5, 6]]
    with pytest.raises(UsageError, match="no item has 3 episodes, not all failed; the most has 2"):
        places(run, size=3)


def test_a_group_that_failed_as_a_whole_is_left_out(stored: Make) -> None:
    failed = stored("a", failed=True)
    assert places([failed, failed, failed, stored("a")]) == [[2, 3]]
    with pytest.raises(UsageError, match="no item has 2 episodes, not all failed"):
        places([failed, failed])
