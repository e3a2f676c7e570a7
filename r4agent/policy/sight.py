"""What has been seen so far: the pictures of a conversation, read and laid together frame by frame.

Promises: a function of the messages alone. A picture that looks like one read before is read only where
it differs. What several pictures show of one frame becomes one Screen in source pixels, each place as the
closest look at it reads.
Does not: keep anything between calls; the Reader's cache does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from r4agent.geometry import Box, Size, convert
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture
from r4agent.reader import Reader
from r4agent.text import Line, in_reading_order

CELL = 16  # pixels a side of the squares in which two pictures are compared
LEVELS, PIXELS = (
    40,
    3,
)  # a square differs when so many pixels differ by so many levels: more than a codec's noise
MOSTLY = 0.6  # a picture that differs in more than this share of its area is read as a whole


@dataclass(frozen=True)
class Screen:
    """One frame: its lines in source pixels and reading order, and the picture each was read in."""

    frame: int
    time: float | None
    lines: tuple[Line, ...]
    origin: dict[Line, Picture]


def screens(pictures: Sequence[Picture], store: MediaStore, reader: Reader) -> list[Screen]:
    """The frames seen in `pictures` (in the order in which they were shown), in order of time."""
    read = read_all(pictures, store, reader)
    frames: dict[int, list[Picture]] = {}
    for picture in pictures:
        frames.setdefault(picture.view.frame, []).append(picture)
    return [_screen(frame, seen, read) for frame, seen in sorted(frames.items())]


def scale(picture: Picture) -> float:
    """Shown pixels for a source pixel."""
    return picture.view.size.width / picture.view.region.width


def _screen(frame: int, seen: list[Picture], read: dict[str, tuple[Line, ...]]) -> Screen:
    origin: dict[Line, Picture] = {}
    closer: list[Box] = []
    for picture in sorted(seen, key=scale, reverse=True):
        region = picture.view.region
        for line in read[picture.name]:
            box = convert(line.box, "source", region=region, shown=picture.view.size)
            if not any(_within(box, other) for other in closer):
                origin.setdefault(Line(line.text, box, line.score), picture)
        closer.append(region)
    return Screen(frame, seen[0].view.time, in_reading_order(origin), origin)


def _within(box: Box, other: Box) -> bool:
    shared = box.overlap(other)
    return shared is not None and shared.area >= 0.5 * box.area


def read_all(pictures: Sequence[Picture], store: MediaStore, reader: Reader) -> dict[str, tuple[Line, ...]]:
    """The lines of every picture by its name, in the picture's own pixels."""
    read: dict[str, tuple[Line, ...]] = {}
    alike: dict[tuple[Box, Size], list[Picture]] = {}
    for picture in pictures:
        image = store.get(picture.ref)
        before = alike.setdefault((picture.view.region, picture.view.size), [])
        nearest = min(before, key=lambda p: abs(p.view.frame - picture.view.frame), default=None)
        regions = None if nearest is None else changes(store.get(nearest.ref), image, read[nearest.name])
        if nearest is None or regions is None:
            read[picture.name] = reader.read(image, ref=picture.ref)
        else:
            kept = [o for o in read[nearest.name] if not any(o.box.overlap(r) for r in regions)]
            new = [line for region in regions for line in _read_part(image, region, reader)]
            read[picture.name] = in_reading_order([*kept, *new])
        before.append(picture)
    return read


def _read_part(image: Image.Image, region: Box, reader: Reader) -> list[Line]:
    x0, y0, x1, y1 = (round(v) for v in region.corners)
    return [
        Line(o.text, Box(o.box.x0 + x0, o.box.y0 + y0, o.box.x1 + x0, o.box.y1 + y0, "shown"), o.score)
        for o in reader.read(image.crop((x0, y0, x1, y1)))
    ]


def changes(old: Image.Image, new: Image.Image, lines: Sequence[Line]) -> list[Box] | None:
    """Where `new` differs from `old`, a picture of the same size: boxes in whole pixels that hold whole
    the lines they touch and do not overlap; None where it mostly differs."""
    size = Size(new.width, new.height)
    boxes = [box.grown(CELL / 2, CELL / 2) for box in _clusters(_differing(old, new))]
    merged: list[Box] = []
    while boxes:
        box = boxes.pop()
        touched = [line.box for line in lines if line.box.overlap(box)] + [
            b for b in merged if b.overlap(box)
        ]
        grown = reduce(Box.hull, touched, box)
        merged = [b for b in merged if not b.overlap(box)]
        (merged if grown == box else boxes).append(grown)
    merged = [box.pixels(size) for box in merged]
    return None if sum(box.area for box in merged) > MOSTLY * size.pixels else merged


def _differing(old: Image.Image, new: Image.Image) -> NDArray[np.bool_]:
    """Which squares differ, as rows and columns."""
    a, b = (np.asarray(image, dtype=np.int16) for image in (old, new))
    differ = np.abs(a - b).max(axis=2) > LEVELS
    high, wide = (-(-n // CELL) * CELL for n in differ.shape)
    padded = np.zeros((high, wide), dtype=bool)
    padded[: differ.shape[0], : differ.shape[1]] = differ
    cells = padded.reshape(high // CELL, CELL, wide // CELL, CELL).sum(axis=(1, 3))
    return np.asarray(cells >= PIXELS)


def _clusters(mask: NDArray[np.bool_]) -> list[Box]:
    """Boxes, in pixels, around the groups of squares that touch or have one square between them."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
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
    names, counts = np.unique(colour_names(image.crop(around.corners)), return_counts=True)  # type: ignore[arg-type]
    return str(names[counts.argmax()])


def patch(image: Image.Image, colour: str) -> Box | None:
    """The largest, fullest patch of a colour that is not the picture's ground, or None."""
    mask = colour_names(image) == colour
    if not 20 <= mask.sum() <= 0.4 * mask.size:
        return None
    left, best = {(int(y), int(x)) for y, x in np.argwhere(mask)}, (0.0, None)
    while left:
        group, edge = 0, [left.pop()]
        x0 = x1 = edge[0][1]
        y0 = y1 = edge[0][0]
        while edge:
            y, x = edge.pop()
            group += 1
            x0, x1, y0, y1 = min(x, x0), max(x, x1), min(y, y0), max(y, y1)
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            edge.extend(near)
        full = group * group / ((x1 + 1 - x0) * (y1 + 1 - y0))
        if group >= 20 and x1 > x0 and y1 > y0 and full > best[0]:
            best = (full, Box(x0, y0, x1 + 1, y1 + 1, "shown"))  # type: ignore[assignment]
    return best[1]
