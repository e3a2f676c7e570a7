"""From a Document to the bytes of a PDF, by PDFium.

Promises: text is text, in the document's own fonts, and every mark stands where the document says, in pixels
at 200 dots an inch; a scan's pages are pictures. The same document gives the same bytes for one version of
PDFium and Pillow.
Does not: subset fonts, make links or tag anything.
"""

import ctypes
import io
import re
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from r4agent.errors import MissingError
from r4agent.textworld.document import Document, Paper, Scan
from r4agent.textworld.fonts import Face
from r4agent.textworld.world import Colour, Corners, Ink, Paint, Shape

try:
    import pypdfium2
    from pypdfium2 import raw
except ModuleNotFoundError as error:
    raise MissingError('writing a PDF needs pypdfium2; run: pip install "r4agent[pdf]"') from error

ALONE = threading.Lock()
"""Held while PDFium works: it bears no second thread."""

PDFIUM = str(pypdfium2.version.PDFIUM_INFO)


def press(document: Document) -> bytes:
    """The document as a PDF file."""
    pages: list[list[Paint]] = [[] for _ in range(document.frames)]
    for paint in document.paints:
        pages[paint.first].append(paint)
    with ALONE:
        pdf = pypdfium2.PdfDocument.new()
        try:
            _Plates(pdf, document.paper).print(pages)
            return _saved(_scanned(pdf, document.paper, document.scan)) if document.scan else _saved(pdf)
        finally:
            pdf.close()


class _Plates:
    """Puts paints on pages: from pixels that count down to points that count up."""

    def __init__(self, pdf: Any, paper: Paper) -> None:
        self._pdf, self._paper = pdf, paper
        self._kx, self._ky = paper.wide / paper.pixels.width, paper.high / paper.pixels.height
        self._fonts: dict[Face, tuple[Any, Any]] = {}

    def print(self, pages: Iterable[Iterable[Paint]]) -> None:
        for paints in pages:
            page = self._pdf.new_page(self._paper.wide, self._paper.high)
            for paint in paints:
                if isinstance(paint, Ink):
                    self._text(page, paint)
                elif isinstance(paint, Shape):
                    self._shape(page, paint)
                else:
                    raise ValueError(f"a page can't show a {type(paint).__name__}")
            raw.FPDFPage_GenerateContent(page.raw)
            page.close()

    def _text(self, page: Any, ink: Ink) -> None:
        if not ink.string.isascii():  # a simple TrueType font in a PDF shows other signs in their place
            raise ValueError(f"text {ink.string!r}: a document's text is ASCII")
        mark = raw.FPDFPageObj_CreateTextObj(self._pdf.raw, self._font(ink.face), ink.size * self._ky)
        letters = (ink.string + "\0").encode("utf-16-le")
        raw.FPDFText_SetText(mark, (ctypes.c_ushort * (len(letters) // 2)).from_buffer_copy(letters))
        raw.FPDFPageObj_SetFillColor(mark, *ink.fill, 255)
        raw.FPDFPageObj_Transform(mark, 1, 0, 0, 1, ink.x * self._kx, self._paper.high - ink.y * self._ky)
        raw.FPDFPage_InsertObject(page.raw, mark)

    def _shape(self, page: Any, shape: Shape) -> None:
        x0, y0, x1, y1 = shape.box
        if shape.outline:
            self._fill(page, shape.box, shape.outline)
            x0, y0, x1, y1 = x0 + 2, y0 + 2, x1 - 2, y1 - 2
        self._fill(page, (x0, y0, x1, y1), shape.fill)

    def _fill(self, page: Any, box: Corners, fill: Colour) -> None:
        x0, y0, x1, y1 = box
        left, foot = x0 * self._kx, self._paper.high - y1 * self._ky
        mark = raw.FPDFPageObj_CreateNewRect(left, foot, (x1 - x0) * self._kx, (y1 - y0) * self._ky)
        raw.FPDFPageObj_SetFillColor(mark, *fill, 255)
        raw.FPDFPath_SetDrawMode(mark, raw.FPDF_FILLMODE_WINDING, False)
        raw.FPDFPage_InsertObject(page.raw, mark)

    def _font(self, face: Face) -> Any:
        if face not in self._fonts:
            data = face.data
            kept = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
            font = raw.FPDFText_LoadFont(self._pdf.raw, kept, len(data), raw.FPDF_FONT_TRUETYPE, False)
            if not font:
                raise ValueError(f"PDFium can't embed {face.name}")
            self._fonts[face] = font, kept
        return self._fonts[face][0]


def _scanned(pdf: Any, paper: Paper, scan: Scan) -> Any:
    """A PDF whose pages are pictures of another's, as a scanner gives them."""
    noise = np.random.default_rng(scan.seed)
    out = pypdfium2.PdfDocument.new()
    wide, high = paper.pixels.width, paper.pixels.height
    for number in range(len(pdf)):
        clean = pdf[number].render(scale=wide / paper.wide, rev_byteorder=True).to_numpy()[:high, :wide, :3]
        image = Image.fromarray(np.ascontiguousarray(clean)).filter(ImageFilter.GaussianBlur(scan.blur))
        grain = noise.normal(0, scan.noise, (high, wide, 1)).astype(np.float32)
        dirty = np.asarray(image, np.float32) * (scan.tone / 255) + grain
        jpeg = io.BytesIO()
        Image.fromarray(dirty.clip(0, 255).astype(np.uint8)).save(jpeg, "JPEG", quality=scan.quality)
        picture = pypdfium2.PdfImage.new(out)
        picture.load_jpeg(jpeg, inline=True)
        picture.set_matrix(pypdfium2.PdfMatrix().scale(paper.wide, paper.high))
        page = out.new_page(paper.wide, paper.high)
        page.insert_obj(picture)
        page.gen_content()
        page.close()
    return out


# PDFium writes the time and a random name into each file.
_CHANCE = re.compile(rb"/CreationDate\([^)]*\)|/ID\[<[0-9A-F]*><[0-9A-F]*>\]")


def _saved(pdf: Any) -> bytes:
    """The file's bytes, the same each time. What is cut out gives way to blanks: offsets are counted."""
    out = io.BytesIO()
    pdf.save(out)
    return _CHANCE.sub(lambda match: b" " * len(match.group()), out.getvalue())
