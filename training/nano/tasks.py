"""Tasks: what the nano policy first learns apart, as batches of short rows.

    read    a close crop: what is written there
    locate  a sign: where in it the writing is
    bind    an overview and a question: which frame shows the colour, and where

Promises: the words, boxes and margins are those of an episode of the kind `closer`; crops are as loose, tight
and off-centre as boxes of a student will be.
Does not: compute losses, or make whole episodes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

import numpy as np
import torch

from r4agent.budget import Budget
from r4agent.engines import Checkpoint
from r4agent.errors import UsageError
from r4agent.geometry import QWEN2_5_VL, convert
from r4agent.textworld.level0 import ASK_COLOUR
from r4agent.training.nano.forward import ordered
from r4agent.training.nano.labels import CELL, covered, letter, letters
from r4agent.training.nano.pool import HUES, Pool
from r4agent.training.nano.script import Batch, Script, batch, groups
from r4agent.training.nano.signs import Crop, Sign, crop
from r4agent.training.nano.student import BUDGET
from r4agent.training.scene import roomy, written

CLOSE, LOOSE = (0.0, 1.5), (0.0, 1.6)
"""Margins of a crop of a text and of a board, in heights of it. NEAR is what is asked for."""
KEPT = 1000  # signs at a time


class Crops:
    """Crops of signs; a sign is drawn anew after some `reuse` crops."""

    def __init__(self, found: Iterator[Sign], budget: Budget, lot: Random, *, reuse: int = 4) -> None:
        self.found, self.budget, self.lot, self.reuse = found, budget, lot, reuse
        self.kept: list[Sign] = []

    def take(self, n: int, of: Literal["text", "board"]) -> list[Crop]:
        """n crops, sorted by size, so that few sizes make up a batch."""
        made = []
        for _ in range(n):
            sign = self._sign()
            middle, margins = (sign.box, CLOSE) if of == "text" else (sign.panel, LOOSE)
            made.append(crop(sign, middle, margins, self.budget, self.lot))
        return sorted(made, key=lambda one: one.grid)

    def _sign(self) -> Sign:
        if self.reuse == 1:
            return next(self.found)
        if len(self.kept) < KEPT:
            self.kept.append(next(self.found))
            return self.kept[-1]
        at = self.lot.randrange(len(self.kept))
        if self.lot.random() < 1 / self.reuse:
            self.kept[at] = next(self.found)
        return self.kept[at]


@dataclass
class Videos:
    """Videos put together of a pool's frames, no colour twice."""

    pool: Pool
    lot: Random

    def __post_init__(self) -> None:
        self.of = [np.flatnonzero(self.pool.hues == hue) for hue in range(len(HUES))]
        if empty := [name for name, frames in zip(HUES, self.of, strict=True) if not len(frames)]:
            raise UsageError(f"pool: no frame has a sign that is {empty[0]}; draw more clips")

    def take(self, frames: int) -> list[int]:
        """One video: numbers of frames in the pool."""
        return [int(self.lot.choice(self.of[hue])) for hue in self.lot.sample(range(len(HUES)), frames)]


def read(checkpoint: Checkpoint, crops: Crops, n: int) -> Batch:
    shown = crops.take(n, "text")
    rows = []
    for one in shown:
        row = Script(checkpoint).picture(one.grid).given(f"<think>{_name(crops.lot)} shows it: ")
        for number, char in enumerate(one.sign.string):
            row.look("letter", covered(one.grid, letter(one, number), row.starts[0])).said(char)
        rows.append(row.said('.</think>\n<evidence>{"view": "'))
    pictures = groups([one.pixels for one in shown])
    labels = iter(ordered(torch.from_numpy(letters(one))) for one in shown)
    return batch(rows, pictures, letters=[torch.stack([next(labels) for _ in group]) for group in pictures])


def locate(checkpoint: Checkpoint, crops: Crops, n: int) -> Batch:
    shown = crops.take(n, "board")
    rows = []
    for one in shown:
        name = _name(crops.lot)
        row = Script(checkpoint).given(f"[{name}] frame ").picture(one.grid).given("\n</tool_response>")
        row.reply().given(f"<think>Wanted: {one.sign.colour}. It is here in {name}")
        row.given(': look closer.</think>\n<tool_call>{"name": "zoom", "arguments": {"view": "')
        row.given(name).given('", "box": ')
        box = written(roomy(one.sign.box, one.view.region), one.view, QWEN2_5_VL)
        rows.append(row.box(box, covered(one.grid, one.text, row.starts[0])))
    return batch(rows, groups([one.pixels for one in shown]))


def bind(checkpoint: Checkpoint, videos: Videos, n: int, budget: Budget = BUDGET) -> Batch:
    """Each colour of n / overview_images videos is asked for."""
    pool, many = videos.pool, budget.overview_images
    grid = (pool.frames.shape[1] // CELL, pool.frames.shape[2] // CELL)
    before = Script(checkpoint)
    for number in range(1, many + 1):
        before.given(f"[v{number}] frame ").picture(grid)
    chosen = [videos.take(many) for _ in range(n // many)]
    hues = torch.zeros(len(chosen), many, grid[0] * grid[1], dtype=torch.long)
    rows = []
    for video, frames in enumerate(chosen):
        for number, at in enumerate(frames):
            hue, (board, view) = int(pool.hues[at]), pool.board(at)
            cells = covered(grid, convert(board, "shown", region=view.region, shown=view.size))
            hues[video, number, cells] = 1 + hue
            seen = [before.starts[number] + cell for cell in cells]
            asked = videos.lot.choice(ASK_COLOUR).format(HUES[hue])
            row = Script(checkpoint).given(f"Question: {asked}").reply().given("<think>Wanted: ")
            row.want(HUES[hue]).said(". It is in this part of ").look("name", seen).said(f"v{number + 1}")
            row.said('.</think>\n<tool_call>{"name": "zoom", "arguments": {"view": "')
            row.look("name", seen).said(f"v{number + 1}").said('", "box": ')
            rows.append(row.box(written(roomy(board, view.region), view, QWEN2_5_VL), seen))
    pictures = [torch.from_numpy(pool.frames[[at for frames in chosen for at in frames]])]
    overview = batch([before] * len(chosen), pictures)
    return batch(rows, [], start=int(overview.places.max()) + 1, before=overview, hues=hues)


def _name(lot: Random) -> str:
    """Of a picture that comes after an overview."""
    return f"v{lot.randint(BUDGET.overview_images + 1, BUDGET.overview_images + BUDGET.turns)}"
