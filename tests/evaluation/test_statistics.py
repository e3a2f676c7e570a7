import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4agent.errors import UsageError
from r4agent.evaluation.results import Row
from r4agent.evaluation.statistics import Interval, cost_curve, mean, paired

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def as_questions(values: Sequence[float]) -> dict[str, float]:
    return {str(number): value for number, value in enumerate(values)}


def test_wilson_for_rights_and_wrongs() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for right, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        found = mean([1.0] * right + [0.0] * (n - right))
        assert found == pytest.approx((right / n, low, high, n), abs=5e-5)
    assert mean([1.0] + [0.0] * 28)[1:3] == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_all_right_is_not_certainty() -> None:
    assert mean([1.0] * 10) == Interval(1.0, pytest.approx(0.7225, abs=1e-4), 1.0, 10)
    assert mean([1.0]) == Interval(1.0, pytest.approx(0.2065, abs=1e-4), 1.0, 1)


def test_equal_scores_between_0_and_1_have_the_same_bound() -> None:
    unlike = 1 - mean([1.0] * 10).low
    assert mean([0.6] * 10) == pytest.approx((0.6, 0.6 - unlike * 0.6, 0.6 + unlike * 0.4, 10))
    assert mean([0.6]).low < 0.2 < 0.9 < mean([0.6]).high


def test_the_bootstrap_agrees_with_the_normal_interval_on_many() -> None:
    values = np.random.default_rng(1).random(5000)
    found = mean(values.tolist())
    half = 1.96 * values.std() / 5000**0.5
    assert found == pytest.approx((values.mean(), values.mean() - half, values.mean() + half, 5000), abs=3e-4)


def test_a_seed_fixes_the_draws() -> None:
    values = [0.1, 0.7, 0.7, 0.9, 0.3]
    assert mean(values, seed=1) == mean(values, seed=1)
    assert mean(values * 20, seed=1) != mean(values * 20, seed=2)


@given(SCORES)
def test_an_interval_holds_its_mean_and_has_a_width(values: list[float]) -> None:
    value, low, high, n = mean(values)
    assert 0 <= low <= value <= high <= 1
    assert low < high or np.ptp(values) < 1e-9
    assert n == len(values)
    assert value == pytest.approx(np.mean(values))


def test_memory_is_bounded() -> None:
    values = np.random.default_rng(0).random(20_000).tolist()
    tracemalloc.start()
    mean(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


def draw_right(rng: np.random.Generator, n: int) -> Any:
    return (rng.random(n) < 0.8).astype(float)


def draw_anls(rng: np.random.Generator, n: int) -> Any:
    return np.where(rng.random(n) < 0.4, 0.0, 0.5 + rng.random(n) / 2)


@pytest.mark.parametrize(("draw", "truth"), [(draw_right, 0.8), (draw_anls, 0.45)])
@pytest.mark.parametrize("n", [27, 60, 200])
def test_coverage_of_the_mean(draw: Any, truth: float, n: int) -> None:
    rng = np.random.default_rng(n)
    found = [mean(draw(rng, n).tolist(), seed) for seed in range(300)]
    assert 0.91 <= sum(low <= truth <= high for _, low, high, _ in found) / 300 <= 0.98


def coverage_of_the_difference(n: int) -> float:
    """B gets a third of what A misses, and loses a tenth of what A gets: 0.6 becomes 0.6733."""
    rng, inside = np.random.default_rng(n), 0
    for seed in range(300):
        a = (rng.random(n) < 0.6).astype(float)
        b = np.where(a == 1, rng.random(n) >= 0.1, rng.random(n) < 1 / 3).astype(float)
        found = paired(as_questions(a), as_questions(b), seed).difference
        inside += found.low <= 0.6 * 0.9 + 0.4 / 3 - 0.6 <= found.high
    return inside / 300


@pytest.mark.parametrize("n", [27, 60, 200])
def test_coverage_of_the_difference(n: int) -> None:
    assert 0.91 <= coverage_of_the_difference(n) <= 0.98


def test_ten_questions_are_too_few_for_the_bootstrap() -> None:
    """As docs/metrics.md says."""
    assert 0.85 <= coverage_of_the_difference(10) <= 0.90


def test_paired_uses_the_questions_both_have() -> None:
    found = paired({"x": 0.0, "y": 1.0, "only a": 1.0}, {"y": 0.5, "x": 1.0, "only b": 0.0})
    assert found.n == 2
    assert (found.a.value, found.b.value, found.difference.value) == (0.5, 0.75, 0.25)
    assert (found.wins, found.losses, found.ties) == (1, 1, 0)


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (0, 0, 1),
        (1, 0, 1),
        (5, 0, 0.0625),
        (6, 0, 0.03125),
        (5, 5, 1),
        (9, 1, 0.021484375),
        (1, 9, 0.021484375),
    ],
)
def test_the_sign_test_is_exact(wins: int, losses: int, p: float) -> None:
    a = [0.0] * wins + [1.0] * losses + [1.0, 0.0]
    b = [1.0] * wins + [0.0] * losses + [1.0, 0.0]
    assert paired(as_questions(a), as_questions(b)).p == pytest.approx(p, abs=1e-15)


def test_the_sign_test_of_many() -> None:
    a, b = [0.0] * 10_300 + [1.0] * 9_700, [1.0] * 10_300 + [0.0] * 9_700
    assert paired(as_questions(a), as_questions(b)).p == pytest.approx(2.27e-5, rel=0.02)  # normal: z = 4.236


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_exchanging_the_two_exchanges_the_signs(pairs: list[tuple[float, float]]) -> None:
    a, b = as_questions([x for x, _ in pairs]), as_questions([y for _, y in pairs])
    one, other = paired(a, b), paired(b, a)
    assert one.difference.value == pytest.approx(-other.difference.value)
    assert (one.wins, one.losses, one.ties, one.p) == (other.losses, other.wins, other.ties, other.p)
    assert one.wins + one.losses + one.ties == one.n == len(pairs)
    assert -1 <= one.difference.low <= one.difference.value <= one.difference.high <= 1


def test_two_equal_runs_still_have_an_interval() -> None:
    found = paired(as_questions([1.0] * 40), as_questions([1.0] * 40))
    assert (found.difference.value, found.p) == (0, 1)
    assert found.difference.low == pytest.approx(-found.difference.high) == pytest.approx(-0.0876, abs=1e-4)


@pytest.mark.parametrize("values", [[], [1.5], [-0.1], [float("nan"), 0.5]])
def test_scores_that_are_none_are_refused(values: list[float]) -> None:
    with pytest.raises(UsageError):
        mean(values)


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(UsageError, match="no question in common"):
        paired({"x": 1.0}, {"y": 1.0})


def row(id: str, score: float | None, **cost: float) -> Row:
    return Row(
        id=id,
        media="m",
        question="?",
        answers=("x",),
        category="c",
        status="answered",
        scores={"exact_match": score, "anls": 0.5},
        cost=cost,
    )


def test_a_cost_curve_steps_up_by_what_each_question_scores() -> None:
    rows = [
        row("a", 1.0, seconds=3),
        row("b", 0.0, seconds=1),
        row("c", 1.0, seconds=2),
        row("d", 1.0, seconds=3),
    ]
    assert cost_curve(rows, "seconds") == [(1, 0), (2, 0.25), (3, 0.75)]
    assert cost_curve(rows, "seconds", "anls") == [(1, 0.125), (2, 0.25), (3, 0.5)]


def test_a_cost_curve_leaves_out_rows_without_the_score() -> None:
    assert cost_curve([row("a", 1.0, turns=1), row("b", None, turns=2)], "turns") == [(1, 1)]
    assert cost_curve([row("a", None, turns=1)], "turns") == []


def test_an_unknown_cost_is_refused() -> None:
    with pytest.raises(UsageError, match="no cost 'money'; it has turns"):
        cost_curve([row("a", 1.0, turns=1)], "money")


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100)), min_size=1, max_size=20))
def test_a_cost_curve_rises_to_the_mean(found: list[tuple[float, float]]) -> None:
    curve = cost_curve([row(str(n), score, turns=cost) for n, (score, cost) in enumerate(found)], "turns")
    assert [x for x, _ in curve] == sorted({x for x, _ in curve})
    assert [y for _, y in curve] == sorted(y for _, y in curve)
    assert curve[-1][1] == pytest.approx(sum(score for score, _ in found) / len(found))
