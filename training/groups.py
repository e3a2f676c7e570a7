"""Groups: what rollouts of one question are worth beside each other, and which of them a model learns from.

Promises: a rollout that failed has no reward and weighs nothing, and its group goes on without it; one that
was cut counts in its group's mean, and by default weighs nothing itself, since nobody knows what it would
have come to; a group whose rewards are all equal teaches nothing and weighs nothing.
Does not: turn rewards into advantages (TRL does).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from r4agent.episode import Episode
from r4agent.errors import RunError
from r4agent.item import Item
from r4agent.training.rollout import Rollout
from r4agent.training.scoring import total

EQUAL = 1e-6  # rewards that lie no further apart are one

Terms = Mapping[str, float | None]


class Rewards(Protocol):
    """As `r4agent.training.scoring.Rewards` is. A term that can't be said of an episode is None, and left
    out; one without a weight is passed over."""

    @property
    def weights(self) -> Mapping[str, float]: ...

    def score(self, group: Sequence[Episode], item: Item) -> Sequence[Terms]: ...


@dataclass(frozen=True, slots=True)
class Scored:
    """Of each rollout. terms: of the reward; None where it failed. weighs: whether it is learnt from."""

    terms: list[dict[str, float | None] | None]
    weighs: list[bool]

    def column(self, term: str) -> list[float]:
        """One term of each rollout, nan where it has none."""
        values = [terms[term] if terms else None for terms in self.terms]
        return [math.nan if value is None else value for value in values]


def scored(
    rollouts: Sequence[Rollout],
    size: int,
    rewards: Rewards,
    *,
    mask_cut: bool = True,
) -> Scored:
    """What rollouts are worth that stand in groups of `size`, one after the other."""
    found = Scored([], [])
    for start in range(0, len(rollouts), size):
        group = rollouts[start : start + size]
        terms = _terms(group, rewards)
        totals = [total(each or {}, rewards.weights) for each in terms]
        told = [value for value in totals if value is not None]
        differ = bool(told) and max(told) - min(told) > EQUAL
        found.terms.extend(terms)
        found.weighs.extend(
            differ and value is not None and not (mask_cut and rollout.cut)
            for rollout, value in zip(group, totals, strict=True)
        )
    return found


def _terms(group: Sequence[Rollout], rewards: Rewards) -> list[dict[str, float | None] | None]:
    ended = [rollout.episode for rollout in group if not rollout.error and rollout.episode]
    terms = iter(rewards.score(ended, group[0].item) if ended else ())
    return [None if rollout.error else _checked(next(terms), rewards.weights, rollout) for rollout in group]


def _checked(terms: Terms, weights: Mapping[str, float], rollout: Rollout) -> dict[str, float | None]:
    """The terms that have a weight; a reward that is no number would end in weights that are none."""
    kept = {name: terms[name] for name in weights}
    for name, value in kept.items():
        if value is not None and not math.isfinite(value):
            episode = rollout.episode.id if rollout.episode else "none"
            raise RunError(f"episode {episode}: reward {name} is {value}; mend the reward")
    return kept
