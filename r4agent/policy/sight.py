"""What has been seen so far: the pictures of a conversation, read and laid together frame by frame.

Promises: what is seen depends on the pictures and their order alone. A picture that looks like one read
before is read only where it differs. What several pictures show of one frame becomes one Screen in source
pixels, each place as the closest look at it reads.
Does not: choose what to look at, or judge what was read.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from r4agent.geometry import Box, Size, convert
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture
from r4agent.reader import Reader
from r4agent.text import Line, in_reading_order

CELL = 16  # pixels a side of the squares in which two pictures are compared
PIXELS = 3  # a square differs when so many of its pixels differ by more than a codec's noise, which is
NOISE, SHARE, EDGES = 12, 0.25, 40  # a share of the square's own contrast, from 12 to 40 of 255 levels
MOSTLY = 0.6  # a picture that differs in more than this share of its area is read as a whole


@dataclass(frozen=True)
class Screen:
    """One frame: its lines in source pixels and reading order, and the picture each was read in. fresh: how
    many characters its pictures showed that no picture before them did: what reading it cost."""

    frame: int
    time: float | None
    lines: tuple[Line, ...]
    origin: dict[Line, Picture]
    fresh: int


class Sight:
    """What is on the pictures of a store, as a reader reads it. Safe to use from several threads."""

    def __init__(self, store: MediaStore, reader: Reader) -> None:
        self.store, self.reader = store, reader
        self._difference = lru_cache(maxsize=4096)(self._compare)

    def screens(self, pictures: Sequence[Picture]) -> list[Screen]:
        """The frames seen in `pictures` (in the order in which they were shown), in order of time."""
        read = self.read(pictures)
        frames: dict[int, list[Picture]] = {}
        known: set[Line] = set()
        fresh = Counter[int]()
        for picture in pictures:
            frames.setdefault(picture.view.frame, []).append(picture)
            fresh[picture.view.frame] += sum(len(o.text) for o in read[picture.name] if o not in known)
            known.update(read[picture.name])
        return [_screen(frame, seen, read, fresh[frame]) for frame, seen in sorted(frames.items())]

    def read(self, pictures: Sequence[Picture]) -> dict[str, tuple[Line, ...]]:
        """The lines of every picture by its name, in the picture's own pixels."""
        read: dict[str, tuple[Line, ...]] = {}
        alike: dict[tuple[Box, Size], list[Picture]] = {}
        for picture in pictures:
            before = alike.setdefault((picture.view.region, picture.view.size), [])
            read[picture.name] = self._read(picture, before, read)
            before.append(picture)
        return read

    def _read(
        self, picture: Picture, before: Sequence[Picture], read: dict[str, tuple[Line, ...]]
    ) -> tuple[Line, ...]:
        image = self.store.get(picture.ref)
        least: tuple[float, list[Box], tuple[Line, ...]] = (MOSTLY * picture.view.size.pixels, [], ())
        for other in _neighbours(picture, before):
            lines = read[other.name]
            boxes = whole_lines(self._difference(other.ref, picture.ref), lines, picture.view.size)
            least = min(least, (sum(box.area for box in boxes), boxes, lines), key=lambda found: found[0])
        area, boxes, lines = least
        if area == MOSTLY * picture.view.size.pixels:
            return self.reader.read(image, ref=picture.ref)
        kept = [line for line in lines if not any(line.box.overlap(box) for box in boxes)]
        return in_reading_order([*kept, *(line for box in boxes for line in self._read_part(image, box))])

    def _compare(self, old: str, new: str) -> list[Box]:
        return differences(self.store.get(old), self.store.get(new))

    def _read_part(self, image: Image.Image, part: Box) -> list[Line]:
        x0, y0, x1, y1 = (round(v) for v in part.corners)
        return [
            Line(o.text, Box(o.box.x0 + x0, o.box.y0 + y0, o.box.x1 + x0, o.box.y1 + y0, "shown"), o.score)
            for o in self.reader.read(image.crop((x0, y0, x1, y1)))
        ]


def scale(picture: Picture) -> float:
    """Shown pixels for a source pixel."""
    return picture.view.size.width / picture.view.region.width


def _neighbours(picture: Picture, before: Sequence[Picture]) -> list[Picture]:
    """The nearest earlier and the nearest later frame among `before`."""
    frame = picture.view.frame
    earlier = [p for p in before if p.view.frame <= frame]
    later = [p for p in before if p.view.frame > frame]
    nearest = [max(earlier, key=lambda p: p.view.frame, default=None)]
    nearest.append(min(later, key=lambda p: p.view.frame, default=None))
    return [p for p in nearest if p is not None]


def _screen(frame: int, seen: list[Picture], read: dict[str, tuple[Line, ...]], fresh: int) -> Screen:
    origin: dict[Line, Picture] = {}
    closer: list[Box] = []
    for picture in sorted(seen, key=scale, reverse=True):
        region = picture.view.region
        for line in read[picture.name]:
            box = convert(line.box, "source", region=region, shown=picture.view.size)
            if not any(_within(box, other) for other in closer):
                origin.setdefault(Line(line.text, box, line.score), picture)
        closer.append(region)
    return Screen(frame, seen[0].view.time, in_reading_order(origin), origin, fresh)


def _within(box: Box, other: Box) -> bool:
    shared = box.overlap(other)
    return shared is not None and shared.area >= 0.5 * box.area


def differences(old: Image.Image, new: Image.Image) -> list[Box]:
    """Where two pictures of one size differ: boxes around the groups of squares that touch or have one
    square between them."""
    red, green, blue = ImageChops.difference(old, new).split()
    most = _squares(ImageChops.lighter(ImageChops.lighter(red, green), blue))
    both = np.concatenate([_squares(old.convert("L")), _squares(new.convert("L"))], axis=2)
    contrast = both.max(axis=2).astype(int) - both.min(axis=2)
    noise = np.clip(SHARE * contrast, NOISE, EDGES)[:, :, None]
    left = {(int(y), int(x)) for y, x in np.argwhere((most > noise).sum(axis=2) >= PIXELS)}
    boxes = []
    while left:
        group, edge = [], [left.pop()]
        while edge:
            y, x = edge.pop()
            group.append((y, x))
            near = {(y + dy, x + dx) for dy in (-2, -1, 0, 1, 2) for dx in (-2, -1, 0, 1, 2)} & left
            left -= near
            edge.extend(near)
        ys, xs = [y for y, _ in group], [x for _, x in group]
        x1, y1 = CELL * (max(xs) + 1), CELL * (max(ys) + 1)
        boxes.append(Box(CELL * min(xs), CELL * min(ys), x1, y1, "shown"))
    return boxes


def _squares(grey: Image.Image) -> NDArray[np.uint8]:
    """The pixels by square: an array of rows, columns and CELL² values. Edge pixels fill what is over."""
    wide, high = -(-grey.width // CELL), -(-grey.height // CELL)
    over = ((0, high * CELL - grey.height), (0, wide * CELL - grey.width))
    pixels = np.pad(np.asarray(grey), over, mode="edge").reshape(high, CELL, wide, CELL)
    return pixels.transpose(0, 2, 1, 3).reshape(high, wide, CELL * CELL)


def whole_lines(boxes: Sequence[Box], lines: Sequence[Line], size: Size) -> list[Box]:
    """The boxes grown by half a square, then until they hold whole the lines they touch and do not
    overlap; in whole pixels inside a picture of `size`."""
    left, merged = [box.grown(CELL / 2, CELL / 2) for box in boxes], list[Box]()
    while left:
        box = left.pop()
        touched = [line.box for line in lines if line.box.overlap(box)]
        grown = reduce(Box.hull, touched + [other for other in merged if other.overlap(box)], box)
        merged = [other for other in merged if not other.overlap(box)]
        (merged if grown == box else left).append(grown)
    return [box.pixels(size) for box in merged]


SPECK, GROUND = 20, 0.4  # pixels below, and share of a picture above which a colour is no thing in it
# Hue in degrees up to which a colour has its name.
_HUES = (
    (14, "red"),
    (42, "orange"),
    (68, "yellow"),
    (165, "green"),
    (250, "blue"),
    (300, "purple"),
    (345, "pink"),
)


def colour_names(image: Image.Image) -> NDArray[np.str_]:
    """The name of each pixel's colour, in rows and columns."""
    hsv = np.asarray(image.convert("HSV"), dtype=np.float32)
    hue, saturation, value = hsv[..., 0] * 360 / 255, hsv[..., 1], hsv[..., 2]
    names = np.full(hue.shape, "red", dtype="<U6")
    for limit, name in reversed(_HUES):
        names[hue <= limit] = name
    names[((hue <= 20) | (hue > 320)) & (saturation < 130) & (value > 180)] = "pink"
    names[(hue > 10) & (hue <= 45) & (value < 160)] = "brown"
    names[saturation < 50] = "grey"
    names[(saturation < 50) & (value > 215)] = "white"
    names[value < 50] = "black"
    return names


def background(image: Image.Image, box: Box) -> str:
    """The name of the commonest colour in and just around a box of the picture."""
    around = box.grown(box.height / 4, box.height / 4).pixels(Size(image.width, image.height))
    names, counts = np.unique(colour_names(image.crop(around.corners)), return_counts=True)
    return str(names[counts.argmax()])


def patch(image: Image.Image, colour: str) -> Box | None:
    """The largest solid patch of a colour, unless that colour is the picture's ground; else None."""
    mask = colour_names(image) == colour
    left, best, most = {(int(y), int(x)) for y, x in np.argwhere(mask)}, None, 0.0
    if len(left) > GROUND * mask.size:
        return None
    while left:
        group, edge = [], [left.pop()]
        while edge:
            y, x = edge.pop()
            group.append((y, x))
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            edge.extend(near)
        ys, xs = [y for y, _ in group], [x for _, x in group]
        box = Box(min(xs), min(ys), max(xs) + 1, max(ys) + 1, "shown")
        if len(group) >= SPECK and len(group) ** 2 / box.area > most:
            best, most = box, len(group) ** 2 / box.area
    return best
