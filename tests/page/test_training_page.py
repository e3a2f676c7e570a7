"""The page of a training run: curves of what was logged, what never changed, and hostile names."""

import math
from pathlib import Path

from r4agent.page.plots import trend
from r4agent.page.training_page import Trained, training_page, write_training_page


def lines(steps: int) -> list[dict[str, float]]:
    return [
        {"step": n, "loss": 8 / n, "lr": 0.1, "entropy": float(n), "epoch": n / 9}
        for n in range(1, steps + 1)
    ]


def test_what_is_read_first_is_in_sight(tmp_path: Path) -> None:
    page = training_page([Trained("drp-sft", tmp_path, lines(5))], tmp_path, "run")
    sight, folded = page.split("<details>")[:2]
    assert 'aria-label="loss by step: 8' in sight
    assert 'aria-label="entropy by step' in folded
    assert 'aria-label="entropy by step' not in sight
    assert "Never changed: lr 0.1" in page
    assert "epoch by step" not in page


def test_names_are_shown_as_text(tmp_path: Path) -> None:
    logged = [{"step": 1, "<b>": 1.0}, {"step": 2, "<b>": 2.0}]
    stage = Trained("<i>", tmp_path, logged, config={"x": {"y": "<u>"}})
    page = write_training_page([stage], tmp_path / "index.html", "<s>").read_text()
    for tag in ("<i>", "<b>", "<u>", "<s>"):
        assert tag not in page.replace("<b><bdi>", "")
        assert tag.replace("<", "&lt;").replace(">", "&gt;") in page


def test_a_stage_without_figures_has_no_curves(tmp_path: Path) -> None:
    page = training_page([Trained("start", tmp_path)], tmp_path, "run")
    assert "before training" in page
    assert "<svg" not in page


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    logged = [
        {"step": 1, "loss": math.nan},
        {"step": 2, "loss": 2.0},
        {"step": 3, "loss": 1.0},
        {"step": 4, "kind": "x"},
    ]
    page = training_page([Trained("s", tmp_path, logged)], tmp_path, "run")
    assert "loss by step: 2 at step 2, 1 at step 3" in page


def test_a_long_run_is_drawn_with_few_points() -> None:
    drawn = trend([(n, math.sin(n)) for n in range(10_000)], "loss")
    assert drawn.count("L") < 200
