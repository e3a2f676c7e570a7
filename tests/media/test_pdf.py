"""Pages of a PDF: upright, at a fixed resolution, within the limits."""

import sys
from pathlib import Path

import pytest
from clips import draw, number_of
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from r4agent.errors import MediaError, MissingError
from r4agent.geometry import Size
from r4agent.media import Limits, open_source


def write_pdf(path: Path, pages: list[tuple[float, float]], *, turn: int = 0, password: str = "") -> Path:
    """Pages shown at these sizes in points, page i filled with picture i; `turn` is the /Rotate of each."""
    canvas = Canvas(str(path), encrypt=StandardEncryption(password) if password else None)
    for number, size in enumerate(pages):
        canvas.setPageSize(size)
        image = draw(number, (320, 240)).rotate(turn, expand=True)
        canvas.drawImage(ImageReader(image), 0, 0, *(size[::-1] if turn % 180 else size))
        canvas.setPageRotation(turn)
        canvas.showPage()
    canvas.save()
    return path


def test_pages_are_frames_without_times(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "paper.pdf", [A4, (720, 540), (360, 270)])
    with open_source(path) as source:
        assert (source.kind, source.count, source.times, source.duration) == ("pdf", 3, None, None)
        assert source.size_of(1) == Size(2000, 1500)  # 10 x 7.5 inches at 200 dots an inch
        for frame in source.frames([2, 0, 1]):
            assert number_of(frame.image) == frame.index
            assert frame.time is None
            assert Size(*frame.image.size) == source.size_of(frame.index)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_page_rotation_is_obeyed(tmp_path: Path, turn: int) -> None:
    path = write_pdf(tmp_path / "turned.pdf", [(720, 540)], turn=turn)
    with open_source(path, isolate=False) as source:
        assert source.size == Size(2000, 1500)
        assert number_of(source.frame(0).image) == 0


def test_a_poster_is_capped_at_its_long_side(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "poster.pdf", [(7200, 3600)])
    with open_source(path) as source:
        assert source.size == Size(4096, 2048)
        assert source.frame(0).image.size == (4096, 2048)


def test_too_many_pages_and_locked_files_are_refused(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "long.pdf", [(72, 72)] * 5)
    with pytest.raises(MediaError, match="5 pages; 1 to 4 are allowed"):
        open_source(path, limits=Limits(pages=4))
    locked = write_pdf(tmp_path / "locked.pdf", [(72, 72)], password="secret")
    with pytest.raises(MediaError, match="remove its password"):
        open_source(locked)


def test_a_page_that_is_none_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "loop.pdf").write_bytes(
        b"%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[2 0 R]/Count 5>>endobj\ntrailer<</Root 1 0 R>>\n"
    )
    with pytest.raises(MediaError, match=r"page 1 is damaged .*; remove that page"):
        open_source(tmp_path / "loop.pdf", isolate=False)


def test_a_missing_extra_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pdf(tmp_path / "paper.pdf", [A4])
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    monkeypatch.delitem(sys.modules, "r4agent.media.pdf", raising=False)
    with pytest.raises(MissingError, match=r'pip install "r4agent\[pdf\]"'):
        open_source(path, isolate=False)
