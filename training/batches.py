"""Batches for GRPO: from rollouts, live or logged, to what a trainer learns from.

Promises: a rollout that failed is counted, and another's row stands in for it, which weighs nothing, so that
every batch has the size that the trainer expects. Logged episodes are replayed in groups of one item, those
that a GRPO run rolled out in the groups that they were rolled out in.
Does not: sample (rollout does), reward (groups does) or move tensors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Self

from r4agent.errors import UsageError
from r4agent.item import Item
from r4agent.training.archive import Archive
from r4agent.training.graph_trainer import Batch
from r4agent.training.groups import Rewards, scored
from r4agent.training.measures import measures
from r4agent.training.rollout import Rollout, Rollouts
from r4agent.training.rows import Row
from r4agent.training.store import Stored


@dataclass(frozen=True, slots=True)
class Group:
    """How rollouts become a batch. size: of a group. rewards, mask_cut: see `r4agent.training.groups`."""

    size: int
    rewards: Rewards
    mask_cut: bool = True

    def batch(self, rollouts: Sequence[Rollout]) -> Batch:
        rows = [None if rollout.error else row_of(rollout) for rollout in rollouts]
        whole = [row for row in rows if row is not None]
        worth = scored(rollouts, self.size, self.rewards, mask_cut=self.mask_cut)
        return Batch(rollouts, [row or whole[0] for row in rows], worth, self._measures(rollouts))

    def _measures(self, rollouts: Sequence[Rollout]) -> dict[str, float]:
        """What the rollouts were like; those that failed before they had a log are counted too."""
        groups = [rollouts[start : start + self.size] for start in range(0, len(rollouts), self.size)]
        found = measures([(group[0].item, [r.episode for r in group if r.episode]) for group in groups])
        return {**found, "failed": fmean(bool(rollout.error) for rollout in rollouts)}


@dataclass(frozen=True, slots=True)
class Live:
    """Each item of a batch is tried by the model as it is now. See `Roll`."""

    rollouts: Rollouts
    items: Sequence[Item]
    group: Group
    archive: Archive

    def __call__(self, places: Sequence[int], step: int) -> Batch:
        batch = self.group.batch(self.rollouts([self.items[place] for place in places], step))
        self.archive.note(batch, step)
        return batch


@dataclass(frozen=True, slots=True)
class Replay:
    """Logged groups, each of one item's episodes. See `Roll`."""

    groups: Sequence[Sequence[Rollout]]
    group: Group

    @classmethod
    def of(cls, episodes: Iterable[Stored], group: Group) -> Self:
        """Episodes that ended, in groups of one item in the order given. What is left over, fewer than a
        group, is left out, and so is a group that failed as a whole. Raises UsageError for an episode without
        its item or one that a teacher dictated, and where no group comes of them."""
        tries = _tries(episodes)
        groups = [
            each[start : start + group.size]
            for each in tries
            for start in range(0, len(each) - group.size + 1, group.size)
        ]
        groups = [each for each in groups if not all(rollout.error for rollout in each)]
        if not groups:
            most = max(map(len, tries), default=0)
            raise UsageError(
                f"replay: no item has {group.size} episodes, not all failed; the most has {most}: choose "
                "more, or lower num_generations"
            )
        return cls(groups, group)

    def __call__(self, places: Sequence[int], step: int) -> Batch:
        chosen = places[:: self.group.size]
        return self.group.batch([rollout for place in chosen for rollout in self.groups[place]])


def _tries(episodes: Iterable[Stored]) -> list[list[Rollout]]:
    """Of each item. A GRPO run stores its episodes group by group, and with rewards: of those only such as
    stand side by side are together, since others were sampled by another policy."""
    tries: dict[tuple[str, int], list[Rollout]] = {}
    runs = groupby(episodes, lambda stored: (stored.item and stored.item.id, stored.rewards is not None))
    for number, ((_, live), run) in enumerate(runs, start=1):
        for rollout in map(_logged, run):
            tries.setdefault((rollout.item.id, number if live else 0), []).append(rollout)
    return list(tries.values())


def _logged(stored: Stored) -> Rollout:
    episode = stored.episode
    if stored.item is None:
        raise UsageError(f"episode {episode.id}: its item isn't known; store it with one to reward it")
    if episode.status == "failed":
        return Rollout(stored.item, episode, str((episode.end or {}).get("error") or "failed"))
    if Row.of(episode).taught:
        raise UsageError(
            f"episode {episode.id}: a teacher dictated it, so no policy's logprobs are known: leave it to SFT"
        )
    return Rollout(stored.item, episode)


def row_of(rollout: Rollout) -> Row:
    assert rollout.episode is not None  # it ended
    return Row.of(rollout.episode)
