"""Measures: what a batch of rollouts looked like, for logs and plots. No reward is made of these.

Promises: plain means over what can have them; a measure that nothing here can have is left out, never 0.
Does not: judge significance.
"""

from collections.abc import Iterable, Sequence
from statistics import fmean

from r4agent.episode import Episode
from r4agent.item import Item
from r4agent.media.view import View
from r4agent.training.looks import Look, looks
from r4agent.training.rewards import accuracy, ended, evidence

Group = tuple[Item, Sequence[Episode]]
"""An item and its rollouts."""


def measures(groups: Sequence[Group]) -> dict[str, float]:
    """By name, each in 0–1 unless said otherwise:

    accuracy: of the rollouts that did not fail. failed: rollouts that did, or never ended. cut: those that
    ended without an answer because a limit was reached.
    tool_rate: rollouts in which a call was carried out. failure_rate: calls that were not, of all calls.
    repeat_rate: pictures asked for whose View had been shown before, of all pictures asked for.
    helped: of the groups with rollouts that looked and others that did not, those in which the former are
    right more often; hurt: less often. The rest are ties.
    evidence_recall: rollouts given a picture that shows the answer, where its box is known.
    turns, tokens, pictures: means an episode; tokens are those the policy wrote.
    """
    rollouts = [(item, episode, looks(episode)) for item, group in groups for episode in group]
    kept = [(item, episode, made) for item, episode, made in rollouts if ended(episode)]
    calls = [look for _, _, made in kept for look in made]
    repeats = [again for _, episode, _ in kept for again in _repeats(episode)]
    mixed = [gain for item, group in groups if (gain := _gain(item, group)) is not None]
    values: dict[str, Iterable[float | None]] = {
        "accuracy": [accuracy(episode, item) for item, episode, _ in kept],
        "failed": [not ended(episode) for _, episode, _ in rollouts],
        "cut": [episode.status == "budget" for _, episode, _ in kept],
        "tool_rate": [_used(made) for _, _, made in kept],
        "failure_rate": [not look.done for look in calls],
        "repeat_rate": repeats,
        "helped": [gain > 0 for gain in mixed],
        "hurt": [gain < 0 for gain in mixed],
        "evidence_recall": [evidence(e, item) for item, e, _ in kept if any(s.box for s in item.evidence)],
        "turns": [_spent(episode, "turns") for _, episode, _ in kept],
        "tokens": [_spent(episode, "new_tokens") for _, episode, _ in kept],
        "pictures": [_spent(episode, "images") for _, episode, _ in kept],
    }
    known = {name: [value for value in of if value is not None] for name, of in values.items()}
    return {name: fmean(of) for name, of in known.items() if of}


def _used(made: Sequence[Look]) -> bool:
    return any(look.done for look in made)


def _gain(item: Item, group: Sequence[Episode]) -> float | None:
    """How much more often rollouts that looked are right than the others; None unless there are both."""
    right: dict[bool, list[float]] = {True: [], False: []}
    for episode in group:
        if (score := accuracy(episode, item)) is not None:
            right[_used(looks(episode))].append(score)
    return fmean(right[True]) - fmean(right[False]) if right[True] and right[False] else None


def _repeats(episode: Episode) -> list[bool]:
    """Of each picture asked for, whether its View had been shown."""
    brought = {picture.name for look in looks(episode) for picture in look.pictures}
    seen: set[View] = set()
    repeats: list[bool] = []
    for picture in episode.pictures:
        if picture.name in brought:
            repeats.append(picture.view in seen)
        seen.add(picture.view)
    return repeats


def _spent(episode: Episode, what: str) -> float:
    assert episode.end is not None
    return float(episode.end["usage"][what])
