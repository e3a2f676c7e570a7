"""A Source: an opened video, animation, folder of pictures, picture or PDF, frame by frame.

Promises: frames come upright, in RGB, each with its true presentation time; memory does not grow with
the length of the media; a hostile file can at worst end its own decoder.
Does not: resize, crop, or guess what is in a frame.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from r4agent.errors import UsageError
from r4agent.geometry import Size
from r4agent.media.child import Child
from r4agent.media.decoders import Decoder, Kind, open_decoder
from r4agent.media.files import check, fingerprint
from r4agent.media.limits import Limits

SLACK = 0.5  # seconds by which a time may lie outside the media and still mean its first or last frame
STRIP = 256  # rows of a picture converted at a time
ROUNDING = 0.0005  # seconds: a time written with three decimals still names the frame it was taken from


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture, upright, RGB.

    index: presentation order from 0; for a PDF the page number less 1. time: presentation time in
    seconds; None for pages and stills.
    """

    index: int
    time: float | None
    image: Image.Image


class Source:
    """Opened media; a context manager, safe to use from several threads. Made by `open_source`.

    id: `src:` and 16 hex digits that follow from the content. kind: video, animation, images, image or
    pdf. count: frames, pictures or pages. size: of frame 0, upright. times: presentation time of each
    frame in seconds, read-only, None for pages and stills. duration: seconds from the first frame's start
    to the last one's end. decoder: the library and version that decodes. decoded: frames delivered so far.
    """

    def __init__(self, path: Path, decoder: Decoder) -> None:
        self.path = path
        self.id = fingerprint(path)
        self._decoder = decoder
        self.decoder = decoder.name
        self.kind: Kind = decoder.kind
        self.count = decoder.count
        self.duration = decoder.duration
        self.times: NDArray[np.float64] | None = decoder.times
        if self.times is not None:
            self.times.flags.writeable = False
        self.decoded = 0
        self._sizes: dict[int, Size] = {}
        self.size = self.size_of(0)

    def __repr__(self) -> str:
        length = "" if self.duration is None else f", {self.duration:.2f} s"
        return f"Source({self.path.name!r}, {self.kind}, {self.count} x {self.size}{length})"

    def size_of(self, index: int) -> Size:
        """Size of frame `index`, upright; known without decoding it."""
        self._check(index)
        if self.kind in ("video", "animation"):
            index = 0
        if index not in self._sizes:
            self._sizes[index] = self._decoder.size_of(index)
        return self._sizes[index]

    def nearest(self, time: float) -> int:
        """The frame on screen at `time` (seconds): the last whose own time is not later.

        Half a second outside the media means its first or last frame; further out is a UsageError.
        """
        if self.times is None:
            raise UsageError(f"{self.path.name}: its {self.count} pictures have no times; name an index")
        start = float(self.times[0])
        end = start + (self.duration or 0.0)
        if not (math.isfinite(time) and start - SLACK <= time <= end + SLACK):
            raise UsageError(f"time {time}: must be {start:.3f} to {end:.3f} seconds")
        return max(0, int(np.searchsorted(self.times, time + ROUNDING, side="right")) - 1)

    def overview(self, n: int) -> list[int]:
        """`n` indices spread evenly over time (or pages): the middles of `n` equal parts, sorted, each
        once, so that there may be fewer."""
        if n < 1:
            raise UsageError(f"overview of {n} frames: must be at least 1")
        middles = [(part + 0.5) / n for part in range(n)]
        if self.times is None:
            return sorted({int(middle * self.count) for middle in middles})
        start, length = float(self.times[0]), self.duration or 0.0
        at = [bisect_right(self.times, start + middle * length) - 1 for middle in middles]
        return sorted({max(0, index) for index in at})

    def frames(self, indices: Sequence[int]) -> Iterator[Frame]:
        """The frames asked for, in that order, decoded in ascending order; duplicates are decoded once.

        Frames are held only until their turn comes: one at a time when `indices` ascend. Raises
        UsageError for an index out of range, before anything is decoded, and MediaError for a frame that
        cannot be decoded.
        """
        due = [int(index) for index in indices]
        for index in due:
            self._check(index)
        return self._frames(due)

    def _frames(self, due: list[int]) -> Iterator[Frame]:
        held: dict[int, Frame] = {}
        uses = Counter(due)
        rest = iter(sorted(uses))
        for index in due:
            while index not in held:
                following = next(rest)
                held[following] = self._frame(following)
            yield held[index]
            uses[index] -= 1
            if not uses[index]:
                del held[index]

    def frame(self, index: int) -> Frame:
        """One frame; see `frames`."""
        self._check(index)
        return self._frame(index)

    def _frame(self, index: int) -> Frame:
        pixels = self._decoder.picture(index)
        self.decoded += 1
        time = None if self.times is None else float(self.times[index])
        return Frame(index, time, _image(pixels))

    def _check(self, index: int) -> None:
        if not 0 <= index < self.count:
            raise UsageError(f"frame {index}: must be 0 to {self.count - 1}")

    @property
    def ended(self) -> bool:
        """Whether the decoder's process is gone, by `close` or by what is in the file."""
        return isinstance(self._decoder, Child) and self._decoder.ended

    def close(self) -> None:
        """Let go of the file and the decoder. May be called twice."""
        self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    """The same pixels, height x width x 3, as a picture. By strips: `fromarray` would copy them twice."""
    height, width = pixels.shape[:2]
    image = Image.new("RGB", (width, height))
    for top in range(0, height, STRIP):
        image.paste(Image.fromarray(pixels[top : top + STRIP]), (0, top))
    return image


def open_source(path: str | Path, *, limits: Limits | None = None, isolate: bool = True) -> Source:
    """Open a video, an animated GIF, WebP or PNG, a folder of pictures, a picture or a PDF.

    The kind is told by content. A folder's pictures are its files ending in .png .jpg .jpeg .webp .gif
    .bmp .tif .tiff .avif, in natural order. isolate: decode in a child process with time and memory
    limits; False decodes in this one without either, for files of your own making.

    Raises MediaError for what cannot or must not be opened, MissingError when a PDF is given and the extra
    for it is not installed.
    """
    path, limits = Path(path).absolute(), limits or Limits()
    check(path, limits)
    decoder = Child(path, limits) if isolate else open_decoder(path, limits)
    try:
        return Source(path, decoder)
    except BaseException:
        decoder.close()
        raise
