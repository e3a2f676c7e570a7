"""`r4 eval`: what it prints, and with which exit code."""

import json
from pathlib import Path

import pytest
from PIL import Image

from r4agent.command import main

pytestmark = pytest.mark.usefixtures("r4_home", "policies")
ALWAYS = ["--policy", "scripted_for_eval:always"]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Two questions about a picture, one of which has an answer to be found."""
    Image.new("RGB", (64, 64), "white").save(tmp_path / "page.png")
    rows = [
        {"id": "a", "video": "page.png", "question": "What?", "answers": ["x"], "category": "one"},
        {"id": "b", "media": "page.png", "question": "What?", "meta": {"unanswerable": True}},
    ]
    path = tmp_path / "qa.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_json_is_the_last_line(questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(questions), *ALWAYS, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"n", "exact_match", "anls", "ci95", "evidence_recall", "statuses"} <= set(figures)
    assert (figures["n"], figures["exact_match"], figures["statuses"]) == (2, 0.5, {"refused": 2})
    low, high = figures["ci95"]["exact_match"]
    assert 0 < low < 0.5 < high < 1
    assert figures["evidence_recall"] is None
    assert Path(figures["results"]).is_file()


def test_a_person_gets_a_few_lines(questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(questions), *ALWAYS, "--single-pass"]) == 0
    out = capsys.readouterr().out
    assert "scripted_for_eval:always, single pass: qa.jsonl" in out
    assert "exact match     0.500  [" in out
    assert "r4 view " in out


def test_failed_questions_are_code_five_and_said(questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(questions), "--policy", "scripted_for_eval:broken"]) == 5
    out = capsys.readouterr().out
    assert "2, of which 2 failed" in out
    assert "--resume asks them again" in out
    assert "exact match" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["textworld"], 2, "give --level and --n"),
        (["textworld", "--level", "9", "--n", "1"], 2, "level 9"),
        (["qa.jsonl", "--level", "1"], 2, "--level goes with textworld"),
        (["none.jsonl"], 3, "can't be read"),
        (
            ["textworld", "--level", "0", "--n", "1", "--single-pass", "--control", "no-tool"],
            2,
            "leave single",
        ),
        (["textworld", "--level", "0", "--n", "1", "--workers", "0"], 2, "workers 0"),
        (["textworld", "--level", "0", "--n", "1", "--policy", "nowhere:at_all"], 4, "nowhere"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
