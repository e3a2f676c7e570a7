"""Tasks: what the nano policy first learns apart, as batches of short rows in the graph's own words.

    read    a close crop: what is written there
    locate  a sign: where in it the writing is
    bind    an overview and a question: which frame shows the colour, and where

Promises: a row is cut from what an episode says, so that what is learnt here holds there. It says which
tokens are learnt and, for losses on inner layers, which image tokens each of them is read from.
Does not: compute losses, or make whole episodes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from r4agent.budget import Budget
from r4agent.engines import Checkpoint
from r4agent.engines.chatml import END, START
from r4agent.geometry import QWEN2_5_VL, Box
from r4agent.textworld.fonts import pen_width
from r4agent.textworld.level0 import ASK_COLOUR
from r4agent.training.nano.forward import ordered, places
from r4agent.training.nano.pool import NAMES, Pool
from r4agent.training.nano.signs import Crop, Sign, crop
from r4agent.training.nano.student import BUDGET, CHARACTERS
from r4agent.training.scene import NEAR

What = Literal["letter", "name", "left", "top", "right", "foot"]
"""What a token says: a character, a picture's name, or an edge of a box."""
EDGES: tuple[What, ...] = ("left", "top", "right", "foot")

CLOSE, LOOSE = (0.3, 1.2), (0.6, 1.6)
"""Margins of a crop of a text and of a board, in heights of it: an untaught student's boxes are not exact."""
CELL = QWEN2_5_VL.grid
PATCH = CELL // 2


@dataclass
class Script:
    """A row as it is written. ids: image tokens spelt out. grids, starts: of its pictures, rows and columns
    of tokens, and where the first stands. learnt: places of tokens to be learnt. looks: of places, what the
    next token says and the image tokens it is read from. wanted: the place of the word that says what is
    sought."""

    checkpoint: Checkpoint
    ids: list[int] = field(default_factory=list)
    grids: list[tuple[int, int]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    learnt: list[int] = field(default_factory=list)
    looks: dict[int, tuple[What, list[int]]] = field(default_factory=dict)
    wanted: int | None = None

    def given(self, text: str) -> "Script":
        self.ids += self.checkpoint.tokenizer.encode(text, add_special_tokens=False).ids
        return self

    def said(self, text: str) -> "Script":
        first = len(self.ids)
        self.given(text).learnt.extend(range(first, len(self.ids)))
        return self

    def special(self, name: str) -> "Script":
        self.ids.append(self.checkpoint.token(name))
        return self

    def picture(self, grid: tuple[int, int]) -> "Script":
        self.special("<|vision_start|>").grids.append(grid)
        self.starts.append(len(self.ids))
        self.ids += [self.checkpoint.image_token] * (grid[0] * grid[1])
        return self.special("<|vision_end|>")

    def look(self, what: What, tokens: Sequence[int]) -> "Script":
        """The next token says this, read from these image tokens."""
        self.looks[len(self.ids) - 1] = what, list(tokens)
        return self

    def reply(self) -> "Script":
        """The end of what the policy is told, and the beginning of what it says."""
        return self.special(END).given("\n").special(START).given("assistant\n")

    def box(self, box: Sequence[int], tokens: Sequence[int]) -> "Script":
        for number, (edge, value) in enumerate(zip(EDGES, box, strict=True)):
            self.look(edge, tokens).said(f"{', ' if number else '['}{value}")
        return self.said("]")


@dataclass(frozen=True)
class Batch:
    """Rows side by side. ids, learnt: (B, T). places: (3, B, T). pictures: a tensor for each size, in the
    order of the rows. looks: (row, place, what, image tokens). wanted: as a Script has it. before: what rows
    go on from, each of its own for B / its B of them, and whose image tokens they look at. letters: of the
    patches of `pictures`, which character they show. hues: of the tokens of `pictures`, (…), which colour; 0
    is none in both."""

    ids: Tensor
    learnt: Tensor
    places: Tensor
    pictures: list[Tensor]
    looks: list[tuple[int, int, What, list[int]]]
    wanted: list[int | None]
    before: "Batch | None" = None
    letters: list[Tensor] = field(default_factory=list)
    hues: Tensor | None = None


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
        if len(self.kept) < 1000:
            self.kept.append(next(self.found))
            return self.kept[-1]
        at = self.lot.randrange(len(self.kept))
        if self.lot.random() < 1 / self.reuse:
            self.kept[at] = next(self.found)
        return self.kept[at]


@dataclass
class Frames:
    """Videos put together of a pool's frames, no colour twice. The last tenth of the pool is for scores."""

    pool: Pool
    lot: Random
    held: bool = False

    def __post_init__(self) -> None:
        edge = len(self.pool.frames) * 9 // 10
        within = np.arange(len(self.pool.frames)) >= edge
        self.of = [
            np.flatnonzero((self.pool.colours == colour) & (within == self.held))
            for colour in range(len(NAMES))
        ]

    def others(self) -> "Frames":
        return Frames(self.pool, Random(3), held=True)

    def video(self, frames: int) -> list[int]:
        """Numbers of frames in the pool."""
        colours = self.lot.sample(range(len(NAMES)), frames)
        return [int(self.lot.choice(self.of[colour])) for colour in colours]


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
        name, height, width = _name(crops.lot), *one.pixels.shape[:2]
        row = (
            Script(checkpoint).given(f"[{name}] frame ").picture(one.grid).given("\n</tool_response>").reply()
        )
        row.given(
            f"<think>Wanted: {one.sign.colour}. It is here in {name}: look closer.</think>\n<tool_call>"
        )
        row.given(f'{{"name": "zoom", "arguments": {{"view": "{name}", "box": ')
        rows.append(row.box(target(one.text, width, height), covered(one.grid, one.text, row.starts[0])))
    return batch(rows, groups([one.pixels for one in shown]))


def bind(checkpoint: Checkpoint, frames: Frames, n: int, budget: Budget = BUDGET) -> Batch:
    """Each colour of n / frames videos is asked for."""
    height, width = frames.pool.frames.shape[1:3]
    grid, many = (height // CELL, width // CELL), budget.overview_images
    before = Script(checkpoint)
    for number in range(1, many + 1):
        before.given(f"[v{number}] frame ").picture(grid)
    rows, chosen = list[Script](), list[int]()
    hues = torch.zeros(n // many, many, grid[0] * grid[1], dtype=torch.long)
    for video in range(n // many):
        chosen += frames.video(many)
        for number, start in enumerate(before.starts):
            at = chosen[video * many + number]
            x0, y0, x1, y1 = frames.pool.boards[at].tolist()
            board, colour = Box(x0, y0, x1, y1, "shown"), int(frames.pool.colours[at])
            seen = covered(grid, board, start)
            hues[video, number, [token - start for token in seen]] = 1 + colour
            asked = frames.lot.choice(ASK_COLOUR).format(NAMES[colour])
            row = Script(checkpoint).given(f"Question: {asked}").reply().given("<think>Wanted: ")
            row.wanted = len(row.ids)
            row.said(f"{NAMES[colour]}. It is in this part of ").look("name", seen).said(f"v{number + 1}")
            row.said('.</think>\n<tool_call>{"name": "zoom", "arguments": {"view": "')
            row.look("name", seen).said(f"v{number + 1}").said('", "box": ')
            rows.append(row.box(target(board, width, height), seen))
    pictures = [torch.from_numpy(frames.pool.frames[chosen])]
    overview = batch([before] * (n // many), pictures)
    return batch(rows, [], start=int(overview.places.max()) + 1, before=overview, hues=hues)


def batch(
    rows: Sequence[Script],
    pictures: list[Tensor],
    *,
    start: int = 0,
    before: Batch | None = None,
    letters: Sequence[Tensor] = (),
    hues: Tensor | None = None,
) -> Batch:
    """Rows padded on the right. start: the place of their first token."""
    checkpoint = rows[0].checkpoint
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), checkpoint.token("<|endoftext|>"))
    learnt = torch.zeros(ids.shape, dtype=torch.bool)
    where = torch.zeros(3, *ids.shape, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        learnt[number, row.learnt] = True
        where[:, number, : len(row.ids)] = places(row.ids, row.grids, checkpoint.image_token, start)
    looks = [(number, at, *look) for number, row in enumerate(rows) for at, look in row.looks.items()]
    wanted = [row.wanted for row in rows]
    return Batch(ids, learnt, where, pictures, looks, wanted, before, list(letters), hues)


def groups(pictures: Sequence[np.ndarray]) -> list[Tensor]:
    """Pictures that are of like size where they stand side by side, a tensor for each size."""
    out: list[list[np.ndarray]] = []
    for picture in pictures:
        if not out or out[-1][0].shape != picture.shape:
            out.append([])
        out[-1].append(picture)
    return [torch.from_numpy(np.stack(group)) for group in out]


def target(box: Box, width: int, height: int) -> list[int]:
    """A box with the margin that is taught, in whole pixels of a picture."""
    x0, y0, x1, y1 = box.grown(NEAR * box.height, NEAR * box.height).corners
    return [max(0, int(x0)), max(0, int(y0)), min(width, -int(-x1 // 1)), min(height, -int(-y1 // 1))]


def covered(grid: tuple[int, int], box: Box, start: int) -> list[int]:
    """The image tokens of a picture, whose first stands at `start`, of which a box covers a good part, or
    else the one that holds most of it."""
    down, right = (
        np.clip(np.minimum(end, edges + CELL) - np.maximum(first, edges), 0, None)
        for first, end, edges in (
            (box.y0, box.y1, np.arange(grid[0]) * CELL),
            (box.x0, box.x1, np.arange(grid[1]) * CELL),
        )
    )
    shares = np.outer(down, right)
    limit = min(shares.max(), 0.25 * min(box.area, CELL * CELL))
    return [start + int(n) for n in np.flatnonzero((shares >= limit) & (shares > 0))]


def letter(shown: Crop, number: int) -> Box:
    """Where a character of the text stands, by how far the pen had moved."""
    ink = shown.sign.ink
    whole = pen_width(ink.face, ink.size, ink.string)
    x0, x1 = (pen_width(ink.face, ink.size, ink.string[:n]) / whole for n in (number, number + 1))
    box = shown.text
    return Box(box.x0 + x0 * box.width, box.y0, box.x0 + x1 * box.width, box.y1, box.space)


def letters(shown: Crop) -> np.ndarray:
    """Of each patch, (rows, columns): 0, or 1 + the place in CHARACTERS of that in its middle."""
    out = np.zeros([side // PATCH for side in shown.pixels.shape[:2]], np.int64)
    y, x = (np.arange(side) * PATCH + PATCH // 2 for side in out.shape)
    slack = 0.15 * shown.text.height
    down = (y > shown.text.y0 - slack) & (y < shown.text.y1 + slack)
    for number, char in enumerate(shown.sign.string):
        box = letter(shown, number)
        out[np.ix_(down, (x >= box.x0) & (x < box.x1))] = 1 + CHARACTERS.index(char)
    return out


def _name(lot: Random) -> str:
    """Of a picture that comes after an overview."""
    return f"v{lot.randint(BUDGET.overview_images + 1, BUDGET.overview_images + BUDGET.turns)}"
