"""Where things are: sizes, boxes, and the one function that carries a box between spaces.

Promises: a Box always knows its space; source → model → source is exact up to float rounding, for
any picture that shows any rectangle of a source frame at any size. `fit` gives a size that both the
engine and the trainer accept as it is (a multiple of the model's grid, within its pixel range).
Does not: touch pixels, or guess a space from the size of the numbers.
"""

import math
from dataclasses import dataclass
from typing import Literal

from r4agent.errors import UsageError

Space = Literal["source", "shown", "thousand", "unit"]
"""source: pixels of the upright source frame · shown: pixels of the resized picture the model saw ·
thousand: 0–1000 across that picture · unit: 0–1 across that picture."""

MAX_ASPECT = 180  # Qwen's processors refuse an aspect ratio above 200; stay clear of it.


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels, both at least 1."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise UsageError(f"size {self.width}x{self.height}: both sides must be at least 1 pixel")

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def box(self) -> "Box":
        """The whole picture, as a source box."""
        return Box(0, 0, self.width, self.height)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: left, top, right, bottom, and the space those numbers are in."""

    x0: float
    y0: float
    x1: float
    y1: float
    space: Space = "source"

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in self.corners):
            raise UsageError(f"box {list(self.corners)}: every number must be finite")
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise UsageError(f"box {self}: must be [x0, y0, x1, y1] with x0 < x1 and y0 < y1")

    def __str__(self) -> str:
        return "[" + ", ".join(f"{v:.6g}" for v in self.corners) + "]"

    @property
    def corners(self) -> tuple[float, float, float, float]:
        return (self.x0, self.y0, self.x1, self.y1)

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        return self.width * self.height

    def overlap(self, other: "Box") -> "Box | None":
        """The part both boxes cover, or None. Both must be in one space."""
        self._same_space(other)
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        x1, y1 = min(self.x1, other.x1), min(self.y1, other.y1)
        return Box(x0, y0, x1, y1, self.space) if x0 < x1 and y0 < y1 else None

    def hull(self, other: "Box") -> "Box":
        """The smallest box around both."""
        self._same_space(other)
        return Box(
            min(self.x0, other.x0),
            min(self.y0, other.y0),
            max(self.x1, other.x1),
            max(self.y1, other.y1),
            self.space,
        )

    def grown(self, dx: float, dy: float) -> "Box":
        """Wider by `dx` and taller by `dy` on each side."""
        return Box(self.x0 - dx, self.y0 - dy, self.x1 + dx, self.y1 + dy, self.space)

    def pixels(self, within: Size) -> "Box":
        """Rounded outward to whole pixels and clipped to a picture of size `within`.

        Raises UsageError when no pixel of it lies inside.
        """
        x0, y0 = max(0, math.floor(self.x0 + 1e-6)), max(0, math.floor(self.y0 + 1e-6))
        x1 = min(within.width, math.ceil(self.x1 - 1e-6))
        y1 = min(within.height, math.ceil(self.y1 - 1e-6))
        if x0 >= x1 or y0 >= y1:
            raise UsageError(f"box {self}: lies outside the picture, which is {within}")
        return Box(x0, y0, x1, y1, self.space)

    def _same_space(self, other: "Box") -> None:
        if self.space != other.space:
            raise UsageError(f"boxes in two spaces: {self.space} and {other.space}; convert one first")


def convert(box: Box, to: Space, *, region: Box, shown: Size) -> Box:
    """Carry `box` into the space `to`.

    region: the rectangle of the source frame that the picture shows, in source pixels.
    shown: the size in pixels at which the model saw it.
    """
    if region.space != "source":
        raise UsageError(f"region must be in source pixels, not {region.space}")
    if box.space == to:
        return box
    left, top, wide, high = _frame_of(box.space, region, shown)
    ox, oy, ow, oh = _frame_of(to, region, shown)
    sx, sy = ow / wide, oh / high
    x0, y0 = ox + (box.x0 - left) * sx, oy + (box.y0 - top) * sy
    x1, y1 = ox + (box.x1 - left) * sx, oy + (box.y1 - top) * sy
    return Box(x0, y0, x1, y1, to)


def _frame_of(space: Space, region: Box, shown: Size) -> tuple[float, float, float, float]:
    """Origin and extent that the picture has in `space`."""
    match space:
        case "source":
            return region.x0, region.y0, region.width, region.height
        case "shown":
            return 0, 0, shown.width, shown.height
        case "thousand":
            return 0, 0, 1000, 1000
        case "unit":
            return 0, 0, 1, 1


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """What a model family takes as a picture and how it speaks of places in it.

    grid: pixels a side that become one image token. min_pixels, max_pixels: the range its processor
    leaves alone. space: the space of the boxes it writes.
    """

    name: str
    space: Space
    grid: int
    min_pixels: int
    max_pixels: int

    def tokens(self, size: Size) -> int:
        """Image tokens of a picture of `size`, which must be a multiple of the grid."""
        return (size.width // self.grid) * (size.height // self.grid)

    def fit(self, size: Size, max_tokens: int, *, enlarge: float = 1.0) -> Size:
        """The size at which to show a region of `size`: at most `max_tokens` image tokens, its shape
        kept as well as whole grid cells allow, magnified at most `enlarge` times.

        The processor's range wins over both: a picture below `min_pixels` is magnified to it. A size
        that already qualifies is returned unchanged, as Qwen's `smart_resize` returns ours.
        """
        least = math.ceil(self.min_pixels / self.grid**2)
        most = min(max_tokens, self.max_pixels // self.grid**2)
        if most < least:
            raise UsageError(f"max_tokens {max_tokens}: {self.name} needs at least {least} for a picture")
        native = size.pixels / self.grid**2
        scale = math.sqrt(min(max(native * enlarge**2, least), most) / native)
        columns, rows = size.width * scale / self.grid, size.height * scale / self.grid
        shape = math.log(columns / rows)

        def misfit(cells: tuple[int, int]) -> float:
            c, r = cells
            return abs(math.log(c / r) - shape) + abs(math.log(c * r / (columns * rows))) / 4

        near = [(c, r) for c in _around(columns) for r in _around(rows)]
        near = [(c, r) for c, r in near if least <= c * r <= most and max(c / r, r / c) <= MAX_ASPECT]
        if not near:  # a strip thinner than one cell: one row of as many cells as are allowed
            long = max(least, min(round(max(columns, rows)), most, MAX_ASPECT))
            near = [(long, 1) if columns > rows else (1, long)]
        columns_, rows_ = min(near, key=misfit)
        return Size(columns_ * self.grid, rows_ * self.grid)


def _around(value: float) -> set[int]:
    return {max(1, math.floor(value)), max(1, math.ceil(value))}


QWEN2_5_VL = ModelProfile("qwen2.5-vl", "shown", grid=28, min_pixels=4 * 28 * 28, max_pixels=16384 * 28 * 28)
QWEN3_VL = ModelProfile("qwen3-vl", "thousand", grid=32, min_pixels=4 * 32 * 32, max_pixels=16384 * 32 * 32)
