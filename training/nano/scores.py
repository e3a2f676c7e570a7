"""Scores: what the nano policy would say of a batch.

Promises: 1 or 0 a row, each token said greedily after the right ones before it: a row that is right
throughout is what greedy sampling gives.
Does not: follow a wrong token. Episodes do; they are evaluated by `r4 eval`.
"""

from collections.abc import Iterator

from r4agent.training.nano.forward import Forward
from r4agent.training.nano.losses import Helps, run
from r4agent.training.nano.script import EDGES, Batch
from r4agent.training.nano.student import NUMBERS


def whole(forward: Forward, batch: Batch) -> list[float]:
    """Whether all learnt tokens of a row would be said."""
    wrong = {row for row, at, guess in _guesses(forward, batch) if guess != int(batch.ids[row, at])}
    return [float(row not in wrong) for row in range(len(batch.ids))]


def named(forward: Forward, batch: Batch) -> list[float]:
    """Whether the right picture would be named first."""
    names = {(row, at + 1) for row, at, what, _ in batch.looks if what == "name"}
    first: dict[int, float] = {}
    for row, at, guess in _guesses(forward, batch):
        if (row, at) in names:
            first.setdefault(row, float(guess == int(batch.ids[row, at])))
    return list(first.values())


def close(forward: Forward, helps: Helps, batch: Batch, pixels: int) -> list[float]:
    """Whether the box would be at most so far off at every edge."""
    number = {int(ident): n for group in helps.numbers for n, ident in enumerate(group)}
    edges = {(row, at + 1) for row, at, what, _ in batch.looks if what in (*EDGES, "other")}
    worst: dict[int, int] = {}
    for row, at, guess in _guesses(forward, batch):
        if (row, at) in edges:
            off = abs(number.get(guess, NUMBERS) - number[int(batch.ids[row, at])])
            worst[row] = max(worst.get(row, 0), off)
    return [float(off <= pixels) for off in worst.values()]


def _guesses(forward: Forward, batch: Batch) -> Iterator[tuple[int, int, int]]:
    """Of each learnt token: its row and place, and the id that would be said."""
    rows, at = batch.learnt.nonzero(as_tuple=True)
    guess = forward.logits(run(forward, batch).done.hidden[rows, at - 1]).argmax(-1)
    return zip(rows.tolist(), at.tolist(), guess.tolist(), strict=True)
