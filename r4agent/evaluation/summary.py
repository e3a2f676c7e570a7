"""Summary: what a result file comes to, by category, and beside another one.

Promises: plain dictionaries that are JSON; a score is a mean over the rows that have it, None where none
has; failed rows are counted and never averaged.
Does not: score, or draw (the page and the command do).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from r4agent.errors import UsageError
from r4agent.evaluation.results import Results, Row
from r4agent.evaluation.statistics import Comparison, Interval, mean, paired

METRICS = (
    "exact_match",
    "anls",
    "f1",
    "choice",
    "evidence_recall",
    "evidence_hit",
    "time_iou",
    "box_iou",
    "page",
    "supported",
    "distracted",
)
"""`supported` is the share of checked answers that the reader finds at their evidence; the others are
the rows' own scores."""


def summary(results: Results) -> dict[str, Any]:
    """n: questions asked so far. ci95: [low, high] of every metric that is not None. cost: means over the
    scored rows. counts: of how many rows each metric is the mean."""
    intervals = {metric: _mean(results.scored, metric) for metric in METRICS}
    return {
        "n": len(results.rows),
        "scored": len(results.scored),
        "failed": len(results.rows) - len(results.scored),
        **{metric: interval and interval.value for metric, interval in intervals.items()},
        "counts": {metric: interval.n for metric, interval in intervals.items() if interval},
        "ci95": {metric: _ci95(interval) for metric, interval in intervals.items() if interval},
        "statuses": _statuses(results.rows),
        "cost": _costs(results.scored),
    }


def by_category(results: Results) -> list[dict[str, Any]]:
    """One dictionary for each category, by name. n counts all rows, ci95 is exact_match's interval."""
    return [
        {
            "category": category,
            "n": len(rows),
            "failed": sum(row.failed for row in rows),
            "exact_match": (exact := _mean(rows, "exact_match")) and exact.value,
            "ci95": _ci95(exact),
            "anls": (anls := _mean(rows, "anls")) and anls.value,
            "evidence_recall": (recall := _mean(rows, "evidence_recall")) and recall.value,
            "statuses": _statuses(rows),
        }
        for category, rows in sorted(_grouped(results.rows).items())
    ]


def compare(a: Results, b: Results) -> dict[str, Any]:
    """The two on the questions that both have and neither failed; differences are b − a.

    only_a, only_b: questions that one alone was asked. failed_a, failed_b: of those in common, how many
    failed there. differs: what else sets the two apart, besides what their titles say, by name: [a's, b's].
    Raises UsageError when no pair is left, or when an id stands for two questions."""
    first, second = {row.id: row for row in a.rows}, {row.id: row for row in b.rows}
    for results in (a, b):
        if not results.rows:
            raise UsageError(f"{results.path}: no question was asked yet; run r4 eval --resume first")
    common = [id for id in first if id in second]
    if not common:
        raise UsageError(f"{a.path} and {b.path} have no question in common: evaluate both on the same ones")
    for id in common:
        _check_same(first[id], second[id])
    pairs = [(first[id], second[id]) for id in common if not (first[id].failed or second[id].failed)]
    if not pairs:
        raise UsageError("every question in common failed in one of the two: run r4 eval --resume first")
    return {
        "a": {"path": str(a.path), "title": a.title},
        "b": {"path": str(b.path), "title": b.title},
        "differs": _differing(a.header, b.header),
        "n": len(pairs),
        "only_a": len(first) - len(common),
        "only_b": len(second) - len(common),
        "failed_a": sum(first[id].failed for id in common),
        "failed_b": sum(second[id].failed for id in common),
        "metrics": {metric: pair for metric in METRICS if (pair := _compared(pairs, metric))},
        "categories": [
            {"category": category, "n": len(group), "exact_match": _compared(group, "exact_match")}
            for category, group in sorted(_pairs_grouped(pairs).items())
        ],
        "cost": _cost_differences(pairs),
    }


Pair = tuple[Row, Row]


def _differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, list[Any]]:
    """Entries of two headers that decide figures and are not the same: budget, versions, machine, …"""
    one, other = ({**header, **header["config"]} for header in (a, b))
    names = ("model", "budget", "budgets", "profile", "reader", "versions", "machine", "workers")
    pairs = ((name, one.get(name), other.get(name)) for name in names)
    return {name: [left, right] for name, left, right in pairs if left != right}


def _check_same(a: Row, b: Row) -> None:
    for name in ("question", "answers"):
        one, other = getattr(a, name), getattr(b, name)
        if one != other:
            raise UsageError(
                f"question {a.id} has {name} {one!r} in one and {other!r} in the other: "
                "evaluate both on the same questions"
            )


def _compared(pairs: Sequence[Pair], metric: str) -> dict[str, Any] | None:
    """The Comparison as JSON; None where no pair has both scores."""
    a = {row.id: value for row, _ in pairs if (value := _score(row, metric)) is not None}
    b = {row.id: value for _, row in pairs if (value := _score(row, metric)) is not None}
    if not a.keys() & b.keys():
        return None
    found: Comparison = paired(a, b)
    return {
        **found._asdict(),
        "a": found.a.value,
        "b": found.b.value,
        "difference": found.difference.value,
        "ci95": {name: _ci95(getattr(found, name)) for name in ("a", "b", "difference")},
    }


def _cost_differences(pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    a, b = _costs([row for row, _ in pairs]), _costs([row for _, row in pairs])
    return {name: {"a": a[name], "b": b[name], "difference": b[name] - a[name]} for name in a if name in b}


def _score(row: Row, metric: str) -> float | None:
    if metric == "supported":
        return None if row.supported == "unchecked" else float(row.supported == "yes")
    return row.scores.get(metric)


def _mean(rows: Iterable[Row], metric: str) -> Interval | None:
    values = [value for row in rows if not row.failed and (value := _score(row, metric)) is not None]
    return mean(values) if values else None


def _ci95(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def _statuses(rows: Iterable[Row]) -> dict[str, int]:
    return dict(sorted(Counter(row.status for row in rows).items()))


def _costs(rows: Sequence[Row]) -> dict[str, float]:
    """Each cost's mean over the rows that have it."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.cost.items():
            values.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def _grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.category, []).append(row)
    return groups


def _pairs_grouped(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair[1].category, []).append(pair)
    return groups
