"""Labels: which image tokens and patches of a picture show what.

Does not: look at pixels. Where things are is known from how they were drawn.
"""

import numpy as np

from r4agent.geometry import QWEN2_5_VL, Box, convert
from r4agent.textworld.fonts import pen_width
from r4agent.training.nano.signs import Crop
from r4agent.training.nano.student import CHARACTERS

CELL = QWEN2_5_VL.grid
PATCH = CELL // 2
SHARE = 0.25  # of a box, or of a token, that counts as a good part


def covered(grid: tuple[int, int], box: Box, start: int = 0) -> list[int]:
    """The image tokens of a picture, whose first stands at `start`, of which a box, in its pixels, covers a
    good part, or else the one that holds most of it."""
    down, right = (
        np.clip(np.minimum(end, edges + CELL) - np.maximum(first, edges), 0, None)
        for first, end, edges in (
            (box.y0, box.y1, np.arange(grid[0]) * CELL),
            (box.x0, box.x1, np.arange(grid[1]) * CELL),
        )
    )
    shares = np.outer(down, right)
    limit = min(shares.max(), SHARE * min(box.area, CELL * CELL))
    return [start + int(n) for n in np.flatnonzero((shares >= limit) & (shares > 0))]


def label(shown: Crop) -> Box:
    """Where the letter of the label stands, in the crop's pixels."""
    assert shown.sign.label is not None
    return convert(Box(*shown.sign.label.box), "shown", region=shown.view.region, shown=shown.view.size)


def letter(shown: Crop, number: int) -> Box:
    """Where a character of the text stands, by how far the pen had moved."""
    ink = shown.sign.ink
    whole = pen_width(ink.face, ink.size, ink.string)
    x0, x1 = (pen_width(ink.face, ink.size, ink.string[:n]) / whole for n in (number, number + 1))
    box = shown.text
    return Box(box.x0 + x0 * box.width, box.y0, box.x0 + x1 * box.width, box.y1, box.space)


def _nearest(middles: np.ndarray, first: float, end: float) -> np.ndarray:
    """Of which patches the middle is in a range, or else the nearest, unless the range is cut off."""
    inside = (middles > first) & (middles < end)
    if not inside.any():
        inside = np.abs(middles - (first + end) / 2) <= PATCH // 2
    return inside


def letters(shown: Crop) -> np.ndarray:
    """Of each patch, (rows, columns): 0, or 1 + the place in CHARACTERS of that in its middle."""
    out = np.zeros([side // PATCH for side in shown.pixels.shape[:2]], np.int64)
    y, x = (np.arange(side) * PATCH + PATCH // 2 for side in out.shape)
    slack = 0.15 * shown.text.height
    down = (y > shown.text.y0 - slack) & (y < shown.text.y1 + slack)
    for number, char in enumerate(shown.sign.string):
        box = letter(shown, number)
        out[np.ix_(down, (x >= box.x0) & (x < box.x1))] = 1 + CHARACTERS.index(char)
    if shown.sign.label is not None:
        box = label(shown)
        down, right = (_nearest(y, box.y0, box.y1), _nearest(x, box.x0, box.x1))
        out[np.ix_(down, right)] = 1 + CHARACTERS.index(shown.sign.label.string)
    return out
