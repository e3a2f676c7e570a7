"""Plots: what stands where, and that it is also told in words."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from r4agent.page.plots import Bar, bars, curve_table, curves, nice_step

from .conftest import HOSTILE, Tree


def test_a_bar_is_as_long_as_its_share_and_its_whisker_as_its_interval() -> None:
    page = str(bars({"exact match": [Bar(0.5, 0.4, 0.7)]}, ["a"], "Scores"))
    tree = Tree(page)
    (bar,) = tree.classes("bar")
    grid = [float(a["x1"] or 0) for a in tree.classes("grid")]
    whole = grid[-1] - grid[0]
    assert float(bar["width"] or 0) == pytest.approx(whole / 2, abs=0.1)
    whisker = tree.classes("whisker")[0]
    low, high = float(whisker["x1"] or 0), float(whisker["x2"] or 0)
    assert (low - grid[0]) / whole == pytest.approx(0.4, abs=0.001)
    assert (high - grid[0]) / whole == pytest.approx(0.7, abs=0.001)
    assert tree.all("svg")[0]["aria-label"] == "Scores. exact match: a 50.0 % (40.0 % to 70.0 %)"
    for tick in ("0 %", "25 %", "50 %", "100 %", "exact match", "50.0 %"):
        assert tick in tree.text


def test_a_score_that_is_not_there_is_no_bar_of_zero() -> None:
    tree = Tree(str(bars({"ANLS": [Bar(None), Bar(0.0, 0.0, 0.2)]}, ["a", "b"], "Scores")))
    assert len(tree.classes("bar")) == 1
    assert "none" in tree.text


def test_a_curve_rises_at_its_points_and_ends_level() -> None:
    page = str(curves([[(100.0, 0.25), (400.0, 0.75)]], ["a"], "image tokens"))
    tree = Tree(page)
    (path,) = [a["d"] for a in tree.all("path")]
    assert path is not None
    steps = re.findall(r"([MHV])([\d.]+)", path)
    assert [letter for letter, _ in steps] == ["M", "H", "V", "H", "V", "H"]
    across = float(steps[3][1]) - float(steps[1][1])
    assert across == pytest.approx(3 * (float(steps[1][1]) - float(steps[0][1])), abs=0.3)
    assert "image tokens" in tree.text
    assert tree.all("svg")[0]["aria-label"].endswith("a: 75.0 % at 400")  # type: ignore[union-attr]


def test_the_table_says_what_the_curve_shows() -> None:
    table = curve_table([[(100.0, 0.25), (400.0, 0.75)], []], ["a", "b"], steps=4)
    assert table == [
        ("100", ["25.0 %", "0 %"]),
        ("200", ["25.0 %", "0 %"]),
        ("300", ["25.0 %", "0 %"]),
        ("400", ["75.0 %", "0 %"]),
    ]


def test_hostile_names_are_text() -> None:
    page = str(bars({HOSTILE: [Bar(0.5, 0.4, 0.6)]}, [HOSTILE], HOSTILE)) + str(
        curves([[(1.0, 1.0)]], [HOSTILE], HOSTILE)
    )
    assert {name for name, _ in Tree(page).tags} == {"svg", "rect", "line", "text", "path"}
    assert "\u202e" not in page


@given(st.floats(1e-6, 1e9))
def test_steps_are_round_and_large_enough(least: float) -> None:
    step = nice_step(least)
    assert least * (1 - 1e-6) <= step <= 2.51 * least
    assert f"{step:.1e}"[:3] in ("1.0", "2.0", "2.5", "5.0")


@example([5e-324], 1)
@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=20), st.integers(1, 3))
def test_any_costs_can_be_drawn(costs: list[float], runs: int) -> None:
    points = [(x, (i + 1) / len(costs)) for i, x in enumerate(sorted(set(costs)))]
    page = str(curves([points] * runs, ["a"] * runs, "seconds"))
    assert "nan" not in page
    assert "inf" not in page
