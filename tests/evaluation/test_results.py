"""Result files: what is read back, and what is no result file."""

import json
from pathlib import Path
from typing import Any

import pytest

from r4agent.errors import RunError
from r4agent.evaluation.results import Results, Row, write_row
from r4agent.log import Log

HEADER: dict[str, Any] = {
    "type": "results",
    "schema": 1,
    "questions": {"name": "two", "n": 2, "seed": 0, "sha256": ""},
    "config": {"policy": "ocr", "graph": "single_pass", "control": None},
}


def row(id_: str, status: str = "answered", **more: Any) -> Row:
    return Row(id=id_, media="a.mp4", question="?", answers=("x",), category="all", status=status, **more)  # type: ignore[arg-type]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = Log(tmp_path / "r.jsonl")
    log.once("results", HEADER)
    return log


def test_rows_come_back_as_they_were_written(log: Log) -> None:
    one = row(
        "a", answer="x", scores={"exact_match": 1.0, "page": None}, cost={"turns": 3}, episode="/e.jsonl"
    )
    write_row(log, one)
    results = Results.read(log.path)
    assert results.rows == (one,)
    assert not results.finished
    write_row(log, row("b"))
    assert Results.read(log.path).finished
    assert results.title == "ocr, single pass: two"


def test_a_question_counts_once_and_the_first_score_stays(log: Log) -> None:
    for answer in ("first", "second"):
        write_row(log, row("a", answer=answer))
        write_row(Log(log.path), row("a", answer="another process's"))
    assert [r.answer for r in Results.read(log.path).rows] == ["first"]


def test_a_failure_gives_way_to_a_score_and_not_the_other_way_round(log: Log) -> None:
    write_row(log, row("a", "failed", error="one"))
    write_row(log, row("a", "failed", error="two"))
    results = Results.read(log.path)
    assert [r.error for r in results.rows] == ["two"]
    assert results.scored == ()
    write_row(log, row("a"))
    write_row(log, row("a", "failed", error="three"))
    assert [r.status for r in Results.read(log.path).rows] == ["answered"]


def test_a_torn_last_line_is_read_over(log: Log) -> None:
    write_row(log, row("a"))
    write_row(log, row("b"))
    log.path.write_bytes(log.path.read_bytes()[:-9])
    assert [r.id for r in Results.read(log.path).rows] == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a result file"),
        (json.dumps({"type": "episode", "key": "episode"}) + "\n", "not a result file"),
        (json.dumps(HEADER | {"key": "results", "schema": 9}) + "\n", "schema 9"),
        (json.dumps(HEADER | {"key": "results"}) + '\n{"type":"row","key":"r"}\n', "a row is damaged"),
        ("{\n", "the file is damaged"),
        ("[" * 100_000 + "\n", "the file is damaged"),
        ('{"type":"results","key":"results"}\n', "not a result file"),
    ],
)
def test_what_is_no_result_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(RunError, match=message):
        Results.read(path)
    with pytest.raises(RunError, match="can't be read"):
        Results.read(tmp_path / "none.jsonl")
