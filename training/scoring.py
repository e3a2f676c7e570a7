"""The weighted sum of rewards, as data: what a curriculum's stage says, and what a trainer asks.

    rewards = Rewards.of({"accuracy": 1.0, "format": 0.1, "curiosity": {"weight": 1.0, "H": 0.5, "N": 3}})
    rewards.score(group, item)  # [{"accuracy": 1.0, "format": 1.0, "curiosity": 0.0, "total": 1.1}, …]

Promises: only what has a weight is computed; what an episode can't have is None and adds nothing, and where
all are None so is the total: a failed episode is left out, not scored 0.
Does not: choose the weights. Video-R4's are not published.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from r4agent.episode import Episode
from r4agent.errors import UsageError
from r4agent.item import Item
from r4agent.media.store import MediaStore
from r4agent.reader import Reader
from r4agent.training import rewards
from r4agent.training.rewards import Curiosity, Features


@dataclass(frozen=True, slots=True)
class Means:
    """What some rewards need. features: of pictures, for diversity and coverage. reader, store: for evidence
    on items without boxes."""

    features: Features | None = None
    reader: Reader | None = None
    store: MediaStore | None = None

    def see(self, refs: Sequence[str]) -> Any:
        if self.features is None:
            raise UsageError("rewards diversity and coverage need features of pictures: VisionFeatures.load")
        return self.features(refs)


TERMS: dict[str, Callable[[Episode, Item, Means], float | None]] = {
    "accuracy": lambda episode, item, _: rewards.accuracy(episode, item),
    "anls": lambda episode, item, _: rewards.anls(episode, item),
    "format": lambda episode, _, __: rewards.well_formed(episode),
    "diversity": lambda episode, _, means: rewards.diversity(episode, means.see),
    "coverage": lambda episode, _, means: rewards.coverage(episode, means.see),
    "tool_success": lambda episode, _, __: rewards.tool_success(episode),
    "evidence": lambda episode, item, means: rewards.evidence(episode, item, means.reader, means.store),
}
CURIOSITY = "curiosity"  # the one that depends on the group


@dataclass(frozen=True, slots=True)
class Rewards:
    """weights: of the terms, by name. curiosity: its constants."""

    weights: Mapping[str, float]
    curiosity: Curiosity = field(default_factory=Curiosity)
    means: Means = field(default_factory=Means)

    @classmethod
    def of(cls, written: Mapping[str, Any], means: Means | None = None) -> Self:
        """From a curriculum's words: {accuracy: 1.0, curiosity: {weight: 1.0, H: 0.3, N: 1}}. UsageError says
        what is wrong with them."""
        weights: dict[str, float] = {}
        curiosity = Curiosity()
        for name, value in written.items():
            if name not in TERMS and name != CURIOSITY:
                raise UsageError(f"reward {name!r}: there are {', '.join([*TERMS, CURIOSITY])}")
            if name == CURIOSITY and isinstance(value, Mapping):
                weights[name] = _number("curiosity.weight", value.get("weight"))
                curiosity = _curiosity({key: part for key, part in value.items() if key != "weight"})
            else:
                weights[name] = _number(name, value)
        if not weights:
            raise UsageError("rewards: name at least one, such as {accuracy: 1.0}")
        return cls(weights, curiosity, means or Means())

    @property
    def needs_features(self) -> bool:
        """Whether `means` must have features."""
        return bool({"diversity", "coverage"} & set(self.weights))

    def score(self, group: Sequence[Episode], item: Item) -> list[dict[str, float | None]]:
        """The terms of each rollout of one item, and their weighted sum as `total`."""
        curious = self.curiosity(group)
        return [self._sum(episode, item, c) for episode, c in zip(group, curious, strict=True)]

    def _sum(self, episode: Episode, item: Item, curious: float | None) -> dict[str, float | None]:
        terms = {
            name: curious if name == CURIOSITY else TERMS[name](episode, item, self.means)
            for name in self.weights
        }
        return {**terms, "total": total(terms, self.weights)}


def total(terms: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """The weighted sum of the terms that there are; None where there is none."""
    known = {name: value for name, value in terms.items() if value is not None}
    return sum(weights[name] * value for name, value in known.items()) if known else None


def _curiosity(written: Mapping[str, Any]) -> Curiosity:
    known = [setting.name for setting in fields(Curiosity)]
    if unknown := sorted(set(written) - set(known)):
        raise UsageError(f"reward curiosity: unknown {', '.join(unknown)}; it has weight, {', '.join(known)}")
    return Curiosity(**{name: _number(f"curiosity.{name}", value) for name, value in written.items()})


def _number(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"reward {name}: {value!r} is no number")
    return value
