import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r4agent.command import main
from r4agent.errors import UsageError
from r4agent.evaluation.results import Results, Row, write_row
from r4agent.evaluation.summary import METRICS, by_category, compare, summary
from r4agent.log import Log

HEADER = {
    "type": "results",
    "schema": 1,
    "questions": {"name": "devset", "n": 5, "seed": 0, "sha256": "0"},
    "config": {"policy": "ocr", "graph": "rumination", "control": None},
}


def row(id: str, right: float | None, **more: Any) -> Row:
    scores = {
        "exact_match": right,
        "anls": right,
        "f1": right,
        "choice": None,
        "evidence_recall": more.pop("recall", 1.0),
    }
    plain = {
        "media": "m.mp4",
        "question": f"{id}?",
        "answers": ("x",),
        "category": "menu",
        "status": "answered",
    }
    return Row.model_validate(
        {"id": id, "scores": scores, "cost": {"turns": 2.0, "seconds": 1.0}, **plain, **more}
    )


def failed(id: str, **more: Any) -> Row:
    """A failed row with figures in it, which must not count."""
    return row(
        id, 0.0, status="failed", error="the engine died", cost={"turns": 99.0}, supported="no", **more
    )


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., Results]:
    def write(name: str, *rows: Row) -> Results:
        log = Log(tmp_path / f"{name}.jsonl")
        log.once("results", HEADER)
        for each in rows:
            write_row(log, each)
        return Results.read(tmp_path / f"{name}.jsonl")

    return write


def test_a_summary_is_means_over_the_rows_that_have_the_score(results: Callable[..., Results]) -> None:
    found = summary(
        results(
            "a",
            row("1", 1.0, supported="yes", cost={"turns": 4.0}),
            row("2", 0.0, supported="no", recall=None),
            row("3", 1.0, supported="yes", status="forced"),
            row("4", 0.0, answer=None, status="budget"),
            failed("5"),
        )
    )
    assert (found["n"], found["scored"], found["failed"]) == (5, 4, 1)
    assert found["exact_match"] == 0.5
    assert found["evidence_recall"] == 1.0  # of three
    assert found["supported"] == pytest.approx(2 / 3)  # "unchecked" is neither
    assert found["choice"] is None
    assert set(found["ci95"]) == {"exact_match", "anls", "f1", "evidence_recall", "supported"}
    assert found["ci95"]["evidence_recall"] == pytest.approx([0.4385, 1], abs=1e-4)  # Wilson for 3 of 3
    assert found["statuses"] == {"answered": 2, "budget": 1, "failed": 1, "forced": 1}
    assert found["cost"] == {"turns": 2.5, "seconds": 1.0}
    assert set(METRICS) <= set(found)
    json.dumps(found)


def test_a_summary_of_nothing_has_no_figures(results: Callable[..., Results]) -> None:
    for found in (summary(results("none")), summary(results("all", failed("1")))):
        assert all(found[metric] is None for metric in METRICS)
        assert found["ci95"] == found["cost"] == {}


def test_a_score_of_zero_is_no_missing_score(results: Callable[..., Results]) -> None:
    assert summary(results("a", row("1", 0.0)))["exact_match"] == 0.0
    assert by_category(results("a", row("1", 0.0)))[0]["exact_match"] == 0.0


def test_categories(results: Callable[..., Results]) -> None:
    rows = (
        row("1", 1.0),
        row("2", 0.0, category="code"),
        failed("3", category="code"),
        failed("4", category="sign"),
    )
    assert by_category(results("a", *rows)) == [
        {
            "category": "code",
            "n": 2,
            "failed": 1,
            "exact_match": 0.0,
            "ci95": [0.0, pytest.approx(0.7935, abs=1e-4)],
            "anls": 0.0,
            "evidence_recall": 1.0,
            "statuses": {"answered": 1, "failed": 1},
        },
        {
            "category": "menu",
            "n": 1,
            "failed": 0,
            "exact_match": 1.0,
            "ci95": [pytest.approx(0.2065, abs=1e-4), 1.0],
            "anls": 1.0,
            "evidence_recall": 1.0,
            "statuses": {"answered": 1},
        },
        {
            "category": "sign",
            "n": 1,
            "failed": 1,
            "exact_match": None,
            "ci95": None,
            "anls": None,
            "evidence_recall": None,
            "statuses": {"failed": 1},
        },
    ]


def test_a_comparison_is_over_what_both_asked_and_neither_failed(results: Callable[..., Results]) -> None:
    a = results("a", row("1", 0.0), row("2", 1.0), row("3", 0.0, category="code"), failed("4"), row("5", 1.0))
    dearer = {"turns": 5.0, "seconds": 1.5}
    b = results(
        "b",
        row("2", 1.0, cost=dearer),
        row("1", 1.0, cost=dearer, supported="yes"),
        row("3", 0.0, cost=dearer, category="code"),
        row("4", 1.0),
        failed("5"),
        row("6", 0.0),
        row("7", 0.0),
    )
    found = compare(a, b)
    counts = ("n", "only_a", "only_b", "failed_a", "failed_b")
    assert [found[key] for key in counts] == [3, 0, 2, 1, 1]
    exact = found["metrics"]["exact_match"]
    assert (exact["n"], exact["a"], exact["b"]) == (3, pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (exact["wins"], exact["losses"], exact["ties"], exact["p"]) == (1, 0, 2, 1.0)
    assert exact["ci95"]["difference"][0] <= exact["difference"] <= exact["ci95"]["difference"][1]
    assert "choice" not in found["metrics"]
    assert "supported" not in found["metrics"]  # no pair was checked in both
    assert [(group["category"], group["n"]) for group in found["categories"]] == [("code", 1), ("menu", 2)]
    assert found["categories"][1]["exact_match"]["difference"] == 0.5
    assert found["cost"]["turns"] == {"a": 2.0, "b": 5.0, "difference": 3.0}
    json.dumps(found)


def test_what_can_not_be_compared_is_refused(results: Callable[..., Results]) -> None:
    a = results("a", row("1", 1.0))
    with pytest.raises(UsageError, match="no question in common"):
        compare(a, results("b", row("2", 1.0)))
    with pytest.raises(UsageError, match=r"question 1 has question '1\?' in one and 'other\?' in the other"):
        compare(a, results("c", row("1", 1.0, question="other?")))
    with pytest.raises(UsageError, match="has answers"):
        compare(a, results("d", row("1", 1.0, answers=("y",))))
    with pytest.raises(UsageError, match="every question in common failed"):
        compare(a, results("e", failed("1")))


def test_the_command_prints_tables(
    results: Callable[..., Results], capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "[red]menu\x1b[31m"
    a = results("a", row("1", 0.0, category=hostile), row("2", 1.0))
    b = results("b", row("1", 1.0, category=hostile), row("2", 1.0), row("3", 1.0))
    assert main(["compare", str(a.path), str(b.path)]) == 0
    out = capsys.readouterr().out
    assert "2 compared; 0 only in A, 1 only in B" in out
    exact = next(line for line in out.splitlines() if line.startswith("exact match  "))
    assert exact.split()[2:6] == ["2", "0.500", "1.000", "+0.500"]
    assert r"[red]menu\x1b[31m" in out
    assert "\x1b" not in out


def test_the_command_prints_json_and_finds_results_by_name(
    results: Callable[..., Results],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a = results("a", row("1", 0.0))
    monkeypatch.setenv("R4_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "results").mkdir(parents=True)
    (tmp_path / "home" / "results" / "20260101-ocr.jsonl").write_bytes(a.path.read_bytes())
    assert main(["compare", str(a.path), "20260101-ocr", "--json"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(last)["metrics"]["exact_match"]["difference"] == 0


def test_the_command_says_what_is_wrong_in_one_line(
    results: Callable[..., Results], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = results("a", row("1", 0.0))
    assert main(["compare", str(a.path), "nothing"]) == 2
    assert "nothing: no such file, and no results of that name" in capsys.readouterr().err
    (tmp_path / "text.jsonl").write_text("hello\n")
    assert main(["compare", str(a.path), str(tmp_path / "text.jsonl")]) == 5
    assert main(["compare", str(a.path), str(results("b", row("2", 0.0)).path)]) == 2


def test_a_comparison_says_what_else_sets_the_two_apart(
    results: Callable[..., Results], tmp_path: Path
) -> None:
    a = results("a", row("1", 1.0))
    assert compare(a, results("b", row("1", 0.0)))["differs"] == {}
    header = HEADER | {"machine": "a faster one", "config": HEADER["config"] | {"budget": {"turns": 3}}}
    log = Log(tmp_path / "c.jsonl")
    log.once("results", header)
    write_row(log, row("1", 0.0))
    found = compare(a, Results.read(log.path))["differs"]
    assert found == {"budget": [None, {"turns": 3}], "machine": [None, "a faster one"]}
