"""Documents through the same loop: a page takes the place of a moment."""

from pathlib import Path
from typing import Any

import pytest
from reportlab.pdfgen.canvas import Canvas

from r4agent import Episode

from .conftest import call

A4 = (595, 842)
SCALE = 200 / 72  # pixels a point


def document(path: Path, pages: int) -> Path:
    """Pages that say their number, in 12 points with the baseline at (72, 700)."""
    canvas = Canvas(str(path), pagesize=A4)
    for page in range(1, pages + 1):
        canvas.setFont("Helvetica", 12)
        canvas.drawString(72, 700, f"This is page {page} of {pages}")
        canvas.showPage()
    canvas.save()
    return path


@pytest.mark.parametrize(("pages", "asked"), [(1, 1), (3, 2), (200, 137), (200, 200)])
def test_a_page_is_chosen_zoomed_into_and_cited(
    graph_of: Any, tmp_path: Path, pages: int, asked: int
) -> None:
    overview = min(pages, 8)
    page, region = f"v{overview + 1}", f"v{overview + 2}"
    script = [
        call("select_frames", frames=[asked]),
        call("zoom", view=page, box=[20, 60, 300, 140]),
        f'<evidence>{{"view": "{region}"}}</evidence><answer>page {asked}</answer>',
    ]
    result = graph_of(script).invoke(
        {"media": str(document(tmp_path / "d.pdf", pages)), "question": "Which page is it?"}
    )
    (place,) = result["evidence"]
    assert (place["page"], place["time"], result["status"]) == (asked, None, "answered")
    episode = Episode.read(result["episode"])
    assert episode.header["media"]["count"] == pages
    shown, zoomed = episode.pictures[-2:]
    assert (shown.view.frame, shown.view.time) == (asked - 1, None)
    x0, y0, x1, y1 = zoomed.view.region.corners
    text_at = (72 * SCALE, (A4[1] - 700) * SCALE)
    assert x0 < text_at[0] < x1
    assert y0 < text_at[1] < y1


@pytest.mark.parametrize("number", [0, 4])
def test_a_page_that_is_not_there_is_told_with_those_there_are(
    graph_of: Any, tmp_path: Path, number: int
) -> None:
    script = [call("select_frames", frames=[number]), "<not_found>no such page</not_found>"]
    result = graph_of(script).invoke({"media": str(document(tmp_path / "d.pdf", 3)), "question": "?"})
    told = Episode.read(result["episode"]).messages[-2]["content"]
    assert f"frame {number}: outside 1 to 3" in str(told)


def test_times_are_no_way_to_ask_for_pages(graph_of: Any, tmp_path: Path) -> None:
    script = [call("select_frames", times=[1.0]), "<not_found>no times here</not_found>"]
    result = graph_of(script).invoke({"media": str(document(tmp_path / "d.pdf", 3)), "question": "?"})
    told = Episode.read(result["episode"]).messages[-2]["content"]
    assert "this is no video; give frames from 1 to 3" in str(told)
