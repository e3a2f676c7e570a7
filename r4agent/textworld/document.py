"""A Document: described pages, not yet drawn, whose every text is known.

Promises: `render(i)` is page i as `r4agent.media` shows it, the same pixels for one PDFium and Pillow
version. Each Text says on which page it stands, and its box in pixels of that picture.
Does not: choose what is written; levels do, through a Stage whose frames are pages.
"""

import tempfile
from dataclasses import dataclass, field
from math import ceil, floor
from pathlib import Path

from PIL import Image

from r4agent.geometry import Size
from r4agent.item import Item
from r4agent.textworld.fonts import outline_box, outline_width
from r4agent.textworld.stage import Frames, Style
from r4agent.textworld.world import Corners, Ink, Paint, Text

DPI = 200
"""Dots an inch at which `r4agent.media` draws a page: a Document is described in these pixels."""


@dataclass(frozen=True, slots=True)
class Paper:
    """A page's size in points, 72 to the inch."""

    wide: int
    high: int

    @property
    def pixels(self) -> Size:
        return Size(ceil(self.wide * DPI / 72), ceil(self.high * DPI / 72))


A4, LETTER, SLIDE = Paper(595, 842), Paper(612, 792), Paper(960, 540)


@dataclass(frozen=True, slots=True)
class Scan:
    """What scanning does to a page: a tone of paper, a blur (radius in pixels), noise, JPEG."""

    seed: int
    tone: int
    blur: float
    noise: float
    quality: int


@dataclass(frozen=True, slots=True)
class Printed(Ink):
    """Text set by its outlines, not fitted to pixels."""

    @property
    def box(self) -> Corners:
        x0, y0, x1, y1 = outline_box(self.face, self.size, self.string)
        return floor(self.x + x0), floor(self.y + y0), ceil(self.x + x1), ceil(self.y + y1)

    @property
    def height(self) -> int:
        return round(-outline_box(self.face, self.size, "H")[1])


@dataclass(frozen=True, slots=True)
class Print(Style):
    """How text is set on a page; `size` is in pixels an em, 2.78 to the point."""

    def width(self, string: str) -> int:
        return round(outline_width(self.face, self.size, string))

    def ink(self, string: str) -> tuple[int, int]:
        x0, y0, x1, y1 = outline_box(self.face, self.size, string)
        return ceil(x1 - x0), ceil(y1 - y0)

    def place(self, string: str, left: int, top: int) -> tuple[int, int]:
        x0, y0, _, _ = outline_box(self.face, self.size, string)
        return round(left - x0), round(top - y0)

    def set(self, frames: Frames, at: tuple[int, int], string: str, text: int) -> Ink:
        return Printed(*frames, *at, string, self.face, self.size, self.fill, text)


@dataclass(frozen=True)
class Document:
    """One document, described. A paint's `first` is its page, from 0. scan: the pages are pictures."""

    id: str
    level: int
    seed: int
    paper: Paper
    frames: int
    scan: Scan | None
    paints: tuple[Paint, ...]
    texts: tuple[Text, ...]
    items: tuple[Item, ...]
    _file: list[bytes] = field(default_factory=list, repr=False, compare=False)

    @property
    def size(self) -> Size:
        """Of a page's picture."""
        return self.paper.pixels

    @property
    def file(self) -> bytes:
        """The PDF. Raises MissingError without the extra `pdf`."""
        from r4agent.textworld.press import press

        if not self._file:
            self._file.append(press(self))
        return self._file[0]

    def render(self, index: int) -> Image.Image:
        """Page `index`, from 0, as an RGB image. Raises IndexError outside the document."""
        from r4agent.media.limits import Limits
        from r4agent.media.pdf import Pdf
        from r4agent.textworld.press import ALONE

        if not 0 <= index < self.frames:
            raise IndexError(f"page {index}: {self.id} has pages 0 to {self.frames - 1}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "document.pdf"
            path.write_bytes(self.file)
            with ALONE:
                pdf = Pdf(path, Limits())
                try:
                    return Image.fromarray(pdf.picture(index))
                finally:
                    pdf.close()
