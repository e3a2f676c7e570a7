"""A Decoder: what every kind of media offers, and the choice of the one that opens a file.

Promises: importing this loads no decoder; only the one a file needs is imported.
Does not: isolate anything. `child` runs a decoder in a process of its own.
"""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from r4agent.geometry import Size
from r4agent.media.files import check, family
from r4agent.media.limits import Limits

Kind = Literal["video", "animation", "images", "image", "pdf"]


class Decoder(Protocol):
    """Pictures by index. `times` and `duration` are None where pictures have no time."""

    @property
    def kind(self) -> Kind: ...
    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def times(self) -> NDArray[np.float64] | None: ...
    @property
    def duration(self) -> float | None: ...
    def size_of(self, index: int) -> Size: ...
    def picture(self, index: int) -> NDArray[np.uint8]: ...
    def close(self) -> None: ...


def open_decoder(path: Path, limits: Limits) -> Decoder:
    """The decoder for the file's content. Raises MediaError, or MissingError for a missing extra."""
    check(path, limits)
    match family(path):
        case "folder":
            from r4agent.media.stills import Pictures

            return Pictures(path, limits)
        case "still":
            from r4agent.media.stills import open_still

            return open_still(path, limits)
        case "pdf":
            from r4agent.media.pdf import Pdf

            return Pdf(path, limits)
        case "video":
            from r4agent.media.video import Video

            return Video(path, limits)
