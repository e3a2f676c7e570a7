"""A Source: an opened video, animation, folder of pictures, picture or PDF, frame by frame.

Promises: frames come upright, in RGB, each with its true presentation time; memory does not grow with
the length of the media.
Does not: resize, crop, or guess what is in a frame.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from r4agent.errors import MediaError, UsageError
from r4agent.geometry import Size
from r4agent.media.limits import Limits

Kind = Literal["video", "animation", "images", "image", "pdf"]
SLACK = 0.5


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
    """Opened media. A context manager; safe to use from several threads."""

    def __init__(self, path: Path, limits: Limits) -> None:
        from r4agent.media.video import Video

        self.path = path
        self._decoder = Video(path, limits)
        self.id = _fingerprint(path)
        self.kind: Kind = "video"
        self.count = self._decoder.count
        self.duration = self._decoder.duration
        self.times: NDArray[np.float64] | None = self._decoder.times
        self.decoder = self._decoder.name
        self.size = self._decoder.size_of(0)
        self.decoded = 0

    def size_of(self, index: int) -> Size:
        return self._decoder.size_of(index)

    def nearest(self, time: float) -> int:
        """The frame on screen at `time`."""
        if self.times is None:
            raise UsageError(f"{self.path.name}: has pages, not times")
        return max(0, int(np.searchsorted(self.times, time + 1e-6, side="right")) - 1)

    def overview(self, n: int) -> list[int]:
        """`n` indices spread evenly over time, unique and sorted."""
        if self.times is None:
            return sorted({int((i + 0.5) * self.count / n) for i in range(n)})
        start, span = float(self.times[0]), self.duration or 0.0
        return sorted({self.nearest(start + (i + 0.5) * span / n) for i in range(n)})

    def frames(self, indices: Sequence[int]) -> Iterator[Frame]:
        """The frames asked for, in that order."""
        for index in indices:
            if not 0 <= index < self.count:
                raise UsageError(f"frame {index}: must be 0 to {self.count - 1}")
        held: dict[int, Frame] = {}
        due = list(indices)
        for index, pixels in self._decoder.decode(sorted(set(indices))):
            self.decoded += 1
            time = None if self.times is None else float(self.times[index])
            held[index] = Frame(index, time, Image.fromarray(pixels))
            while due and due[0] in held:
                yield held[due[0]]
                due.pop(0)
                held = {i: f for i, f in held.items() if i in due}

    def frame(self, index: int) -> Frame:
        return next(iter(self.frames([index])))

    def close(self) -> None:
        self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_source(path: str | Path, *, limits: Limits | None = None, isolate: bool = True) -> Source:
    """Open media by content."""
    path = Path(path)
    if not path.is_file():
        raise MediaError(f"{path}: no such file; check the path")
    return Source(path, limits or Limits())


def _fingerprint(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for offset in (0, max(0, size // 2), max(0, size - 65536)):
            file.seek(offset)
            digest.update(file.read(65536))
    return "src:" + digest.hexdigest()[:16]
