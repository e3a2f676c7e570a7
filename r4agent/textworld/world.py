"""A Clip: a described, not yet drawn, video whose every text is known.

Promises: `render(i)` draws frame i alone, the same pixels on every call and machine with the same fonts and
Pillow. Each Text says where it stands, to the pixel, and in which frames it stands there whole.
Does not: write files or choose what is shown; levels do, through a Stage.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Protocol

from PIL import Image, ImageDraw

from r4agent.geometry import Size
from r4agent.item import Item
from r4agent.textworld.fonts import Face, ink_box

Colour = tuple[int, int, int]
Corners = tuple[int, int, int, int]


def luma(colour: Colour) -> float:
    """Brightness 0–255 as video stores it (BT.601)."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue


def overlap(a: Corners, b: Corners) -> bool:
    """Whether two boxes share a pixel."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


class Paint(Protocol):
    """Something drawn in frames `first` up to, not including, `stop`. It covers `box` if `solid`."""

    @property
    def first(self) -> int: ...
    @property
    def stop(self) -> int: ...
    @property
    def box(self) -> Corners: ...
    @property
    def solid(self) -> bool: ...
    def draw(self, image: Image.Image, pen: ImageDraw.ImageDraw) -> None: ...


@dataclass(frozen=True, slots=True)
class Shape:
    """A filled, optionally outlined and rounded rectangle; `box` ends before its right and lower edge."""

    first: int
    stop: int
    box: Corners
    fill: Colour
    outline: Colour | None = None
    radius: int = 0
    solid: bool = True

    def draw(self, image: Image.Image, pen: ImageDraw.ImageDraw) -> None:
        x0, y0, x1, y1 = self.box
        edges = (x0, y0, x1 - 1, y1 - 1)
        if self.radius:
            pen.rounded_rectangle(edges, self.radius, self.fill, self.outline)
        else:
            pen.rectangle(edges, self.fill, self.outline)


@dataclass(frozen=True, slots=True)
class Ink:
    """One run of text with its origin, on the baseline, at (x, y). `text` numbers the Text it shows."""

    first: int
    stop: int
    x: int
    y: int
    string: str
    face: Face
    size: int
    fill: Colour
    text: int
    solid: bool = False

    @property
    def view(self) -> Corners | None:
        """The part of the frame outside which it is cut off; None where it must be whole."""
        return None

    @property
    def height(self) -> int:
        """Of a capital letter."""
        return self.face.cap_height(self.size)

    @property
    def box(self) -> Corners:
        x0, y0, x1, y1 = ink_box(self.face, self.size, self.string)
        return self.x + x0, self.y + y0, self.x + x1, self.y + y1

    def draw(self, image: Image.Image, pen: ImageDraw.ImageDraw) -> None:
        pen.text((self.x, self.y), self.string, self.fill, self.face.at(self.size), "ls")


@dataclass(frozen=True, slots=True)
class Sprite(Ink):
    """Text that may be turned by `angle` degrees against the clock around its origin, and is seen only
    inside `view`, a part of the frame, whose edges cut it."""

    angle: float = 0.0
    view: Corners | None = None

    @property
    def box(self) -> Corners:
        mask, dx, dy = _mask(self.face, self.size, self.string, self.angle)
        return self.x + dx, self.y + dy, self.x + dx + mask.width, self.y + dy + mask.height

    def draw(self, image: Image.Image, pen: ImageDraw.ImageDraw) -> None:
        mask, dx, dy = _mask(self.face, self.size, self.string, self.angle)
        left, top = self.x + dx, self.y + dy
        x0, y0, x1, y1 = self.view or (0, 0, *image.size)
        part = max(x0 - left, 0), max(y0 - top, 0), min(x1 - left, mask.width), min(y1 - top, mask.height)
        if part[0] < part[2] and part[1] < part[3]:
            image.paste(self.fill, (left + part[0], top + part[1]), mask.crop(part))


FAINT = 32
"""Of 255: a turned text's fringe that is fainter than this is cut off, so that its box is what is seen."""


@lru_cache(maxsize=1024)
def _mask(face: Face, size: int, string: str, angle: float) -> tuple[Image.Image, int, int]:
    """The ink of a text, turned, and where its upper left corner stands from the text's origin."""
    x0, y0, x1, y1 = ink_box(face, size, string)
    reach = max(map(abs, (x0, y0, x1, y1))) + 2 if angle else 0
    box = (-reach, -reach, reach, reach) if angle else (x0, y0, x1, y1)  # turning is around the middle
    mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
    ImageDraw.Draw(mask).text((-box[0], -box[1]), string, 255, face.at(size), "ls")
    if not angle:
        return mask, x0, y0
    turned = mask.rotate(angle, Image.Resampling.BICUBIC)
    inked = turned.point(lambda value: value if value >= FAINT else 0)
    left, top, right, foot = inked.getbbox() or (0, 0, 1, 1)
    return inked.crop((left, top, right, foot)), left - reach, top - reach


@dataclass(frozen=True, slots=True)
class Polygon:
    """A filled polygon. It counts as covering all of its bounding box."""

    first: int
    stop: int
    points: tuple[tuple[int, int], ...]
    fill: Colour
    outline: Colour | None = None
    solid: bool = True

    @property
    def box(self) -> Corners:
        xs, ys = zip(*self.points, strict=True)
        return min(xs), min(ys), max(xs) + 1, max(ys) + 1

    def draw(self, image: Image.Image, pen: ImageDraw.ImageDraw) -> None:
        pen.polygon(self.points, self.fill, self.outline)


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A whole-frame background of muted colours: `plain`, `fade`, `cloud`, `tiles`, `blocks` or `busy`."""

    first: int
    stop: int
    size: Size
    style: str
    colour: Colour
    other: Colour
    seed: int
    solid: bool = True

    @property
    def box(self) -> Corners:
        return 0, 0, self.size.width, self.size.height

    def draw(self, image: Image.Image, pen: ImageDraw.ImageDraw) -> None:
        image.paste(_backdrop(self.size, self.style, self.colour, self.other, self.seed))


@lru_cache(maxsize=4)
def _backdrop(size: Size, style: str, colour: Colour, other: Colour, seed: int) -> Image.Image:
    rng = Random(seed)
    wide, high = size.width, size.height
    if style == "plain":
        return Image.new("RGB", (wide, high), colour)
    if style in ("fade", "cloud"):  # a blend of two colours by a small grey picture, drawn out
        cells = (1, 2) if style == "fade" else (rng.randint(3, 9), rng.randint(3, 6))
        grey = Image.new("L", cells)
        grey.putdata([rng.randrange(256) for _ in range(cells[0] * cells[1])])
        mask = grey.resize((wide, high), Image.Resampling.BILINEAR)
        flat, over = (Image.new("RGB", (wide, high), tint) for tint in (colour, other))
        return Image.composite(over, flat, mask)
    picture = Image.new("RGB", (wide, high), colour)
    pen = ImageDraw.Draw(picture)
    if style == "tiles":
        step = rng.randint(24, 72)
        for x in range(rng.randint(0, step), wide, step):
            pen.line((x, 0, x, high), other)
        for y in range(rng.randint(0, step), high, step):
            pen.line((0, y, wide, y), other)
    elif style == "blocks":  # a floor, and furniture standing on it
        floor = round(high * rng.uniform(0.55, 0.8))
        pen.rectangle((0, floor, wide, high), other)
        for _ in range(rng.randint(3, 7)):
            w, h = rng.randint(wide // 20, wide // 5), rng.randint(high // 10, high // 2)
            x, share = rng.randint(0, wide - w), rng.uniform(0.2, 0.8)
            tint = tuple(round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
            pen.rectangle((x, floor - h, x + w, floor + h // 6), tint)
    elif style == "busy":  # a litter of boxes, discs and lines
        for _ in range(160):
            x, y = rng.randrange(wide), rng.randrange(high)
            reach, share = rng.randint(10, wide // 8), rng.uniform(0, 1)
            tint = tuple(round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
            box = (x, y, x + reach, y + round(reach * rng.uniform(0.2, 1)))
            if rng.random() < 0.3:
                pen.line(box, tint, rng.randint(1, 5))
            else:
                rng.choice((pen.ellipse, pen.rectangle))(box, tint)
    else:
        raise ValueError(f"no backdrop {style!r}")
    return picture


@dataclass(frozen=True, slots=True)
class Shown:
    """A run of frames `first` ≤ i < `stop` in which a text stands whole and still, and its ink's box.

    start, end: the same in seconds. `end` is the time of the first frame without it, so a moment t is
    inside where start ≤ t < end. In a document a frame is a page, and both are its number, from 1.
    """

    first: int
    stop: int
    start: float
    end: float
    box: Corners


@dataclass(frozen=True, slots=True)
class Text:
    """One run of text. kind: what sort of thing it is (sign, cell, command). role: which one of them.
    height: of a capital letter where it is smallest, in source pixels. shown: where and when, in order,
    empty if never whole."""

    string: str
    kind: str
    role: str
    height: int
    font: str
    shown: tuple[Shown, ...]

    @property
    def seconds(self) -> float:
        """How long it stands whole, all told."""
        return round(sum(run.end - run.start for run in self.shown), 6)

    def box_at(self, index: int) -> Corners | None:
        """Its ink's box in frame `index`, or None where it is not whole there."""
        return next((run.box for run in self.shown if run.first <= index < run.stop), None)


@dataclass(frozen=True)
class Clip:
    """One video, described. `paints` are drawn in order, so a later one covers an earlier one."""

    id: str
    level: int
    seed: int
    size: Size
    fps: int
    frames: int
    paints: tuple[Paint, ...]
    texts: tuple[Text, ...]
    items: tuple[Item, ...]
    _last: dict[tuple[int, ...], Image.Image] = field(default_factory=dict, repr=False, compare=False)

    @property
    def times(self) -> tuple[float, ...]:
        """When each frame is presented, in seconds from 0."""
        return tuple(index / self.fps for index in range(self.frames))

    @property
    def seconds(self) -> float:
        return self.frames / self.fps

    def state(self, index: int) -> tuple[int, ...]:
        """The paints that frame `index` shows; frames of one state have the same pixels.

        Raises IndexError outside 0 ≤ index < frames.
        """
        if not 0 <= index < self.frames:
            raise IndexError(f"frame {index}: {self.id} has frames 0 to {self.frames - 1}")
        return tuple(i for i, paint in enumerate(self.paints) if paint.first <= index < paint.stop)

    def render(self, index: int) -> Image.Image:
        """Frame `index` as a new RGB image of `size`. Raises IndexError as `state` does."""
        state = self.state(index)
        if state not in self._last:
            image = Image.new("RGB", (self.size.width, self.size.height))
            pen = ImageDraw.Draw(image)
            for number in state:
                self.paints[number].draw(image, pen)
            self._last.clear()
            self._last[state] = image
        return self._last[state].copy()
