"""Pages of a PDF as pictures.

Promises: a page is drawn at 200 dots an inch, its long side at most 4096 pixels, rotation applied, on
white; the same page gives the same pixels for one PDFium version.
Does not: ask for passwords, run scripts, or extract text.
"""

import math
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from r4agent.errors import MediaError, MissingError, one_line
from r4agent.geometry import Size
from r4agent.media.limits import Limits

try:
    import pypdfium2
except ModuleNotFoundError as error:
    raise MissingError('opening a PDF needs pypdfium2; run: pip install "r4agent[pdf]"') from error

DPI = 200
LONG_SIDE = 4096


class Pdf:
    """An opened PDF; page 1 is picture 0."""

    kind: Literal["pdf"] = "pdf"
    name = f"pypdfium2 {pypdfium2.version.PYPDFIUM_INFO}"
    times: NDArray[np.float64] | None = None
    duration: float | None = None

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        try:
            self._document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            locked = "assword" in str(error)
            hint = "remove its password first" if locked else "check that the file is complete"
            raise MediaError(f"{path}: a PDF that cannot be opened ({one_line(error)}); {hint}") from error
        self.count = len(self._document)
        if not 1 <= self.count <= limits.pages:
            self.close()
            raise MediaError(f"{path}: {self.count} pages; 1 to {limits.pages} are allowed, so split it")

    def size_of(self, index: int) -> Size:
        width, height, scale = self._measure(index)
        return Size(max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale)))

    def picture(self, index: int) -> NDArray[np.uint8]:
        *_, scale = self._measure(index)
        page = self._page(index)
        bitmap = page.render(scale=scale, rev_byteorder=True)
        try:
            return np.ascontiguousarray(bitmap.to_numpy()[..., :3])
        finally:
            bitmap.close()
            page.close()

    def _measure(self, index: int) -> tuple[float, float, float]:
        """Width and height in points, and pixels for each point."""
        page = self._page(index)
        width, height = page.get_size()
        page.close()
        if not (width > 0 and height > 0 and math.isfinite(width * height)):
            raise MediaError(f"{self._path}: page {index + 1} has no area; remove that page")
        scale = min(
            DPI / 72, LONG_SIDE / max(width, height), math.sqrt(self._limits.frame_pixels / width / height)
        )
        return width, height, scale

    def _page(self, index: int) -> "pypdfium2.PdfPage":
        try:
            return self._document[index]
        except pypdfium2.PdfiumError as error:
            raise MediaError(
                f"{self._path}: page {index + 1} is damaged ({one_line(error)}); remove that page"
            ) from error

    def close(self) -> None:
        self._document.close()
