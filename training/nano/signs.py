"""Signs of level 0, cut and scaled as the tools would, without encoding a video: what reading and looking are
first learnt from.

Promises: the signs, typefaces, sizes, places and views are those of the clips of the same seeds, and of no
others. A Crop says what is written in it and where, in its own pixels.
Does not: draw the backdrop around a sign true: it is one muted tone in a Crop. Nor are the pixels encoded and
decoded; real episodes come last in the curriculum and show both.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from r4agent.budget import Budget
from r4agent.geometry import QWEN2_5_VL, Box, Size, convert
from r4agent.media.view import View
from r4agent.textworld.level0 import SIGNS, Board, boards, level0
from r4agent.textworld.world import Backdrop, Clip, Ink, Paint, Shape
from r4agent.tools.zoom import ENLARGE

Margins = tuple[float, float]
"""The least and the most room on a side, in heights of what stands in the middle."""

ROOM = 160  # source pixels drawn around a sign


@dataclass(frozen=True)
class Sign:
    """One sign of a clip."""

    clip: Clip
    slot: int
    colour: str
    board: Board

    @property
    def ink(self) -> Ink:
        """What is written."""
        return self.board.ink

    @property
    def label(self) -> Ink | None:
        """What its tab says, if it has one."""
        return self.board.label

    @property
    def panel(self) -> Box:
        """The board, in source pixels."""
        return Box(*self.board.shape.box)

    @property
    def string(self) -> str:
        return self.ink.string

    @property
    def box(self) -> Box:
        """Of the text, in source pixels."""
        return Box(*self.ink.box)

    @property
    def tab(self) -> Box:
        """Where its label stands, or would."""
        return Box(*self.board.tab)

    @property
    def frame(self) -> int:
        """The middle of its slot, which an overview of eight shows."""
        return self.clip.frames * (2 * self.slot + 1) // (2 * SIGNS)

    @cached_property
    def around(self) -> tuple[Box, Image.Image]:
        """The sign with ROOM around it, drawn, and where that is in the frame."""
        region = self.panel.grown(ROOM, ROOM).overlap(self.clip.size.box)
        assert region is not None
        tone = next(
            p.colour for p in self.clip.paints if isinstance(p, Backdrop) and p.first <= self.frame < p.stop
        )
        canvas = Image.new("RGB", (round(region.width), round(region.height)), tone)
        pen = ImageDraw.Draw(canvas)
        for paint in self.board.paints:
            _moved(paint, -int(region.x0), -int(region.y0)).draw(canvas, pen)
        return region, canvas


@dataclass(frozen=True)
class Crop:
    """What a zoom of a sign shows. pixels: (height, width, 3), uint8. text: where the writing is in it, in
    its pixels."""

    sign: Sign
    view: View
    pixels: np.ndarray
    text: Box

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of image tokens."""
        return self.pixels.shape[0] // QWEN2_5_VL.grid, self.pixels.shape[1] // QWEN2_5_VL.grid


def signs(seeds: Iterable[int], fits: Callable[[str], bool] = lambda font: True) -> Iterator[Sign]:
    """The signs of these clips whose typeface `fits`, by name."""
    for seed in seeds:
        clip = level0(seed)
        for slot, board in enumerate(boards(clip)):
            text = clip.texts[board.ink.text]
            if fits(text.font):
                yield Sign(clip, slot, text.role, board)


def crop(sign: Sign, middle: Box, margins: Margins, budget: Budget, lot: Random) -> Crop:
    """A zoom on `middle`, with room drawn by lot on each side."""
    left, top, right, foot = (lot.uniform(*margins) * middle.height for _ in range(4))
    whole, drawn = sign.around
    asked = Box(middle.x0 - left, middle.y0 - top, middle.x1 + right, middle.y1 + foot).overlap(whole)
    assert asked is not None
    region = asked.pixels(sign.clip.size)
    size = QWEN2_5_VL.fit(
        Size(round(region.width), round(region.height)), budget.picture_tokens, enlarge=ENLARGE
    )
    here = Box(region.x0 - whole.x0, region.y0 - whole.y0, region.x1 - whole.x0, region.y1 - whole.y0)
    pixels = np.asarray(View(sign.frame, None, here, size).cut(drawn))
    text = convert(sign.box, "shown", region=region, shown=size)
    return Crop(sign, View(sign.frame, None, region, size), pixels, text)


def _moved(paint: Paint, dx: int, dy: int) -> Paint:
    if isinstance(paint, Ink):
        return replace(paint, x=paint.x + dx, y=paint.y + dy)
    assert isinstance(paint, Shape)
    x0, y0, x1, y1 = paint.box
    return replace(paint, box=(x0 + dx, y0 + dy, x1 + dx, y1 + dy))
