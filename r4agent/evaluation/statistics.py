"""Statistics: how sure a mean is, whether two runs differ, and what a score costs.

Promises: the same values and seed give the same figures; an interval is never of width zero; memory is
bounded whatever the number of questions.
Does not: correct for looking at many metrics or categories at once, or know that questions of one video
are alike (they are drawn one by one).

Scores are in 0–1. docs/metrics.md gives formulas, sources and measured coverage.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from r4agent.errors import UsageError
from r4agent.evaluation.results import Row

DRAWS = 10_000
LEVEL = (2.5, 97.5)  # percentiles
Z = 1.959963984540054  # the normal distribution's 97.5 % point
CELLS = 1 << 20  # resampled values held at once

Values = NDArray[np.float64]


class Interval(NamedTuple):
    """A mean of n values and its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


class Comparison(NamedTuple):
    """Two runs on the n questions that both have. difference: b − a. wins: questions where b scores higher.
    p: of the exact two-sided sign test on wins and losses; for 0/1 scores that is McNemar's exact test."""

    n: int
    a: Interval
    b: Interval
    difference: Interval
    wins: int
    losses: int
    ties: int
    p: float


def mean(values: Sequence[float], seed: int = 0) -> Interval:
    """The mean of scores in 0–1: Wilson's interval where all are 0 or 1, else the percentile bootstrap."""
    scores = _scores(values)
    if np.isin(scores, (0, 1)).all():
        return _wilson(scores)
    return _bootstrap(scores, 0, seed)


def paired(a: Mapping[str, float], b: Mapping[str, float], seed: int = 0) -> Comparison:
    """Compare scores by question on those that both have; the bootstrap draws questions, not runs."""
    common = sorted(a.keys() & b.keys())
    if not common:
        raise UsageError("the two have no question in common: compare results on the same questions")
    first, second = _scores([a[key] for key in common]), _scores([b[key] for key in common])
    difference = second - first
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    return Comparison(
        n=len(common),
        a=mean(first.tolist(), seed),
        b=mean(second.tolist(), seed),
        difference=_bootstrap(difference, -1, seed),
        wins=wins,
        losses=losses,
        ties=len(common) - wins - losses,
        p=_sign_test(wins, losses),
    )


def cost_curve(rows: Sequence[Row], cost: str, score: str = "exact_match") -> list[tuple[float, float]]:
    """What would have been scored had every question been cut off at a cost of x: the steps (x, y) of
    y = (1/n) Σ score_i · [cost_i ≤ x], over the n rows that have the score. Empty when none has."""
    pairs = [(_cost(row, cost), value) for row in rows if (value := row.scores.get(score)) is not None]
    totals: dict[float, float] = {}
    for at, value in sorted(pairs):
        totals[at] = totals.get(at, 0.0) + value
    return [(at, y / len(pairs)) for at, y in zip(totals, accumulate(totals.values()), strict=True)]


def _cost(row: Row, name: str) -> float:
    if name not in row.cost:
        raise UsageError(f"question {row.id} has no cost {name!r}; it has {', '.join(row.cost) or 'none'}")
    return row.cost[name]


def _scores(values: Sequence[float]) -> Values:
    scores = np.asarray(values, dtype=np.float64)
    if not len(scores):
        raise UsageError("no scores: a mean needs at least one")
    if not ((scores >= 0) & (scores <= 1)).all():  # NaN is neither
        raise UsageError(f"scores from {scores.min():g} to {scores.max():g}: they must be in 0–1")
    return scores


def _wilson(scores: Values) -> Interval:
    """Wilson's score interval of a share (E. B. Wilson, 1927): unlike the bootstrap, it has a width when
    all are right or all are wrong."""
    n, share = len(scores), float(scores.mean())
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    low, high = min(centre - half, share), max(centre + half, share)  # against rounding at 0 and 1
    return Interval(share, max(0.0, low), min(1.0, high), n)


def _bootstrap(values: Values, least: float, seed: int) -> Interval:
    """The percentile bootstrap of the mean of values between `least` and 1.

    Values that are all equal (one value is) tell nothing of their spread. Then the share of questions
    unlike them is at most z² / (n + z²), Wilson's bound for none seen in n, and the interval is what the
    mean could be with those at either end of the range."""
    n, value = len(values), float(values.mean())
    if (values == values[0]).all():
        value, unlike = float(values[0]), Z**2 / (n + Z**2)
        return Interval(value, value - unlike * (value - least), value + unlike * (1 - value), n)
    random, at_once = np.random.default_rng(seed), max(1, CELLS // n)
    means = np.concatenate(
        [
            values[random.integers(0, n, size=(min(at_once, DRAWS - done), n))].mean(axis=1)
            for done in range(0, DRAWS, at_once)
        ]
    )
    low, high = np.percentile(means, LEVEL)
    return Interval(value, min(float(low), value), max(float(high), value), n)  # against rounding


def _sign_test(wins: int, losses: int) -> float:
    """The chance of a split at least as uneven when wins and losses are equally likely; ties don't count."""
    n, ways, total = wins + losses, 1, 0
    for k in range(min(wins, losses) + 1):
        total += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2 * total / (1 << n))
