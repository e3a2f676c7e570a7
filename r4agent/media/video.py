"""Frames of a video file, by index, with the container's own presentation times."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from r4agent.errors import MediaError, one_line
from r4agent.geometry import Size
from r4agent.media.limits import Limits

THREADS = 2


class Video:
    kind = "video"

    def __init__(self, path: Path, limits: Limits) -> None:
        try:
            self._container = av.open(str(path), mode="r")
            self._stream = self._container.streams.video[0]
            packets = [p for p in self._container.demux(self._stream) if p.pts is not None]
        except (av.FFmpegError, IndexError) as error:
            raise MediaError(f"{path}: not a video that can be opened ({one_line(error)})") from error
        base = self._stream.time_base
        assert base is not None
        self._pts = sorted(p.pts for p in packets if p.pts is not None)
        self._keys = sorted(p.pts for p in packets if p.is_keyframe and p.pts is not None)
        self.times: NDArray[np.float64] | None = np.array([float(p * base) for p in self._pts])
        self.duration: float | None = float(self.times[-1] - self.times[0]) if len(self._pts) else 0.0
        self._stream.codec_context.thread_count = THREADS
        self._stream.codec_context.thread_type = "AUTO"  # type: ignore[assignment]
        self.count = len(self._pts)
        self.name = f"av {av.__version__}"
        first = next(iter(self.decode([0])))[1]
        self._size = Size(first.shape[1], first.shape[0])

    def size_of(self, index: int) -> Size:
        return self._size

    def decode(self, indices: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Each index with its RGB picture, for ascending, unique indices."""
        wanted = list(indices)
        while wanted:
            self._container.seek(self._pts[wanted[0]], stream=self._stream)
            for frame in self._container.decode(self._stream):
                if frame.pts is None or frame.pts < self._pts[wanted[0]]:
                    continue
                picture = frame.to_ndarray(format="rgb24")
                turns = round(frame.rotation / 90) % 4
                yield wanted.pop(0), np.ascontiguousarray(np.rot90(picture, turns))
                if not wanted or self._key_before(wanted[0]) > frame.pts:
                    break

    def _key_before(self, index: int) -> int:
        return self._keys[max(0, bisect_right(self._keys, self._pts[index]) - 1)]

    def close(self) -> None:
        self._container.close()
