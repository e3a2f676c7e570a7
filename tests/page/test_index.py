"""The index: what its rows say, and what is left out."""

from pathlib import Path

import pytest

from r4agent.log import Log
from r4agent.page.index import how_of, write_index

HEADER = {"type": "results", "schema": 1, "questions": {"name": "q", "n": 1, "sha256": ""}, "config": {}}


@pytest.mark.parametrize(
    ("header", "how"),
    [
        ({"tools": ["zoom"], "control": None}, "r4-ocr"),
        ({"tools": ["zoom"], "control": "no-tool"}, "r4-ocr, no-tool"),
        ({"tools": []}, "r4-ocr, single pass"),
    ],
)
def test_a_row_says_who_looked_and_which_control_it_was(header: dict[str, object], how: str) -> None:
    assert how_of({"policy": "r4-ocr", **header}) == how


def test_results_in_which_nothing_was_asked_are_named_and_not_drawn(tmp_path: Path) -> None:
    Log(tmp_path / "begun.jsonl").once("results", HEADER)
    page = write_index(tmp_path, tmp_path / "out").read_text()
    assert "begun.jsonl: no question was asked yet" in page
    assert "Evaluations" not in page
