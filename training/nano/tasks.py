"""Tasks: what the nano policy first learns apart, as batches of rows.

    read    a close crop: what is written there
    corner  the corner of a sign: which label it has, if any, and whether that is the one asked for
    locate  a sign: where in it the writing is
    bind    an overview and a question: which frame shows the colour, and where
    scan    an overview and the name of a frame: where its sign is, and where a label of it would be
    whole   taught episodes

Promises: a row goes on from the beginning of a taught episode, with other pictures, so that what is learnt is
learnt where it will be needed; crops are as loose, tight and off-centre as boxes of a student will be.
Does not: compute losses.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

import numpy as np
import torch

from r4agent.budget import Budget
from r4agent.errors import UsageError
from r4agent.geometry import QWEN2_5_VL, Box, convert
from r4agent.textworld.level0 import ASK_COLOUR, ASK_LABEL, tab
from r4agent.textworld.words import CODE_LETTERS
from r4agent.training.nano.forward import ordered
from r4agent.training.nano.labels import covered, label, letter, letters
from r4agent.training.nano.lessons import Lesson
from r4agent.training.nano.pool import HUES, Pool
from r4agent.training.nano.script import Batch, Script, batch, groups
from r4agent.training.nano.signs import Crop, Sign, crop
from r4agent.training.nano.student import CHARACTERS, NUMBERS
from r4agent.training.scene import BESIDE, roomy, written

CLOSE, LOOSE, TAB = (0.0, 1.5), (0.0, 1.6), (0.2, 1.8)
"""Margins of a crop of a text, a board and a label's tab, in heights of it. `scene.NEAR` and `scene.BESIDE`
are what is asked for."""
SAME = 0.4  # of the signs with a label, that are asked for by it
FOUND = 0.4  # of the rows that scan, whose label is found
BARE = 0.15  # of the signs without a label, which are two of three, that are asked for theirs
MISREAD = 0.25  # of the rows that are read and answered
KEPT = 300  # signs at a time, of about a megabyte


class Crops:
    """Crops of signs; a sign is drawn anew after some `reuse` crops."""

    def __init__(self, found: Iterator[Sign], budget: Budget, lot: Random, *, reuse: int = 4) -> None:
        self.found, self.budget, self.lot, self.reuse = found, budget, lot, reuse
        self.kept: list[Sign] = []

    def take(self, n: int, of: Literal["text", "board", "tab"]) -> list[Crop]:
        """n crops, sorted by size, so that few sizes make up a batch. tab: of most there is one."""
        made = list[Crop]()
        while len(made) < n:
            sign = self._sign()
            if of == "tab" and sign.label is None and self.lot.random() > BARE:
                continue
            middle, margins = {
                "text": (sign.box, CLOSE),
                "board": (sign.panel, LOOSE),
                "tab": (sign.tab, TAB),
            }[of]
            one = crop(sign, middle, margins, self.budget, self.lot)
            if one.view.size.width <= NUMBERS:  # an edge further right has no token
                made.append(one)
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


def read(crops: Crops, lesson: Lesson, n: int, *, alone: bool = False, answered: bool = False) -> Batch:
    """Crops of writing, each in place of the lesson's last picture. alone: without what comes before that,
    which takes a third of the time. answered: to the end of the reply, whose answer is a copy of the thought,
    of one that is wrong too: else it would be read once more, and a second reading may differ."""
    shown, last = crops.take(n, "text"), len(lesson.refs) - 1
    before, rows = Script(lesson.script.checkpoint) if alone else lesson.until(last), []
    for one in shown:
        row = Script(before.checkpoint, len(before.ids)).picture(one.grid).copied(lesson.since(last))
        thought, text = row.after + len(row.ids), one.sign.string
        if answered and crops.lot.random() < MISREAD:
            text = _misread(text, crops.lot)
            for char in text:
                row.given(char)
        else:
            for number, char in enumerate(text):
                row.look("letter", covered(one.grid, letter(one, number), row.starts[0])).said(char)
        row.said('.</think>\n<evidence>{"view": "')
        rows.append(_answered(row, one, f"v{last + 1}", text, thought) if answered else row)
    pictures = groups([one.pixels for one in shown])
    beginning = None if alone else _batch(before, lesson.pictures[:last])
    return batch(rows, pictures, before=beginning, letters=_spelt(shown, pictures))


def _misread(text: str, lot: Random) -> str:
    """With another character in one place."""
    at = lot.randrange(len(text))
    return text[:at] + lot.choice(CHARACTERS) + text[at + 1 :]


def _answered(row: Script, one: Crop, name: str, text: str, thought: int) -> Script:
    """The evidence, of the picture of that name, and the answer: the text that the thought says, from that
    place on."""
    box = ", ".join(f"{edge:.0f}" for edge in written(one.sign.box, one.view, QWEN2_5_VL))
    row.given(f'{name}", "box": [{box}]}}</evidence><answer>')
    for number, part in enumerate((*text, "</answer>")):
        row.recalls[len(row.ids) - 1] = thought + number
        row.said(part)
    return row


def corner(crops: Crops, lesson: Lesson, n: int) -> Batch:
    """Crops of corners after a question by label alone: what stands there, and whether it is the one."""
    shown = crops.take(n, "tab")
    rows = [_labelled(one, lesson, _asked(one, crops.lot), crops.lot) for one in shown]
    pictures = groups([one.pixels for one in shown])
    return batch(rows, pictures, letters=_spelt(shown, pictures))


def _spelt(shown: Sequence[Crop], pictures: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Of each of the pictures, a tensor for each size, which character its patches show."""
    labels = iter(ordered(torch.from_numpy(letters(one))) for one in shown)
    return [torch.stack([next(labels) for _ in group]) for group in pictures]


def _asked(one: Crop, lot: Random) -> str:
    """A label to ask for: often the one that the sign has."""
    if one.sign.label is not None and lot.random() < SAME:
        return one.sign.label.string
    return lot.choice(CODE_LETTERS)


def _labelled(one: Crop, lesson: Lesson, wanted: str, lot: Random) -> Script:
    row, number = Script(lesson.script.checkpoint), lot.randrange(lesson.overview)
    row.given(f"Question: {lot.choice(ASK_LABEL).format(wanted)}").reply()
    word = _next(row, lesson, wanted, number, lot)
    row.picture(one.grid).copied(lesson.after(lesson.overview)).given(
        f"<think>v{lesson.overview + 1 + number}"
    )
    if one.sign.label is None:
        return row.said(": no label. Next: ")
    found = one.sign.label.string
    row.said(": ").look("letter", covered(one.grid, label(one), row.starts[0])).said(found)
    row.recalls[len(row.ids) - 1] = word  # is it the one?
    if found != wanted:
        return row.said(f", not {wanted}. Next: ")
    return row.said(". It is in this part of ").said(f"v{number + 1}").said(".</think>\n<tool_call>")


def _next(row: Script, lesson: Lesson, wanted: str, number: int, lot: Random) -> int:
    """The thought before a look at the label of picture `number`. Returns where it says what is wanted."""
    if number == 0:
        row.given("<think>Wanted: ")
    else:
        row.given(f"<think>v{lesson.overview + number}: {lot.choice(CODE_LETTERS)}, not ")
    word = row.after + len(row.ids)
    row.given(f"{wanted}. {'First' if number == 0 else 'Next'}: v{number + 1}.</think>\n<tool_call>")
    return word


def locate(crops: Crops, lesson: Lesson, n: int) -> Batch:
    """Crops of boards, each in place of the lesson's last picture but one."""
    shown, last = crops.take(n, "board"), len(lesson.refs) - 2
    before, rows = lesson.until(last), []
    for one in shown:
        row = Script(before.checkpoint, len(before.ids)).picture(one.grid).copied(lesson.since(last))
        box = written(roomy(one.sign.box, one.view.region), one.view, QWEN2_5_VL)
        rows.append(row.box(box, covered(one.grid, one.text, row.starts[0])))
    return batch(rows, groups([one.pixels for one in shown]), before=_batch(before, lesson.pictures[:last]))


def bind(videos: Videos, lesson: Lesson, n: int) -> Batch:
    """Videos in place of the lesson's; each colour of each of them is asked for, n in all."""

    def row(row: Script, at: int, number: int, seen: list[int]) -> Script:
        hue, (board, view), name = HUES[videos.pool.hues[at]], videos.pool.board(at), f"v{number + 1}"
        row.given(f"Question: {videos.lot.choice(ASK_COLOUR).format(hue)}").reply()
        row.given("<think>Wanted: ").want(hue).said(". It is in this part of ").look("name", seen).said(name)
        row.said(".</think>\n<tool_call>").said('{"name": "zoom", "arguments": {"view": "')
        row.look("name", seen).said(name).said('", "box": ')
        return row.box(written(roomy(board, view.region), view, QWEN2_5_VL), seen)

    return _overviews(videos, lesson, n, row)


def scan(videos: Videos, lesson: Lesson, n: int) -> Batch:
    """The same, but each of the pictures is named: where is its sign, or where would its label be?"""
    lot = videos.lot

    def row(row: Script, at: int, number: int, seen: list[int]) -> Script:
        wanted, (board, view) = lot.choice(CODE_LETTERS), videos.pool.board(at)
        name, found = f"v{number + 1}", lot.random() < FOUND
        row.given(f"Question: {lot.choice(ASK_LABEL).format(wanted)}").reply()
        if found:
            row.given(f"<think>v{lesson.overview + 1 + number}: {wanted}. It is in this part of {name}")
            row.given(".</think>\n<tool_call>")
        else:
            _next(row, lesson, wanted, number, lot)
        row.given('{"name": "zoom", "arguments": {"view": "').want(name).said('", "box": ')
        x0, y0, x1, y1 = map(int, board.corners)
        label = roomy(Box(*tab((x0, y0, x1, y1))), view.region, BESIDE)
        box = roomy(board, view.region) if found else label
        return row.box(written(box, view, QWEN2_5_VL), seen, other=not found)

    return _overviews(videos, lesson, n, row)


def _overviews(
    videos: Videos,
    lesson: Lesson,
    n: int,
    asked: Callable[[Script, int, int, list[int]], Script],
) -> Batch:
    """Rows of a question and a zoom, each after its video. asked: what is to be added to a row, of a frame
    by its numbers in the pool and in the video, and the image tokens that show its sign."""
    pool, many, before = videos.pool, lesson.overview, lesson.opening()
    grid = before.grids[0]
    chosen = [videos.take(many) for _ in range(n // many)]
    hues = torch.zeros(len(chosen), many, grid[0] * grid[1], dtype=torch.long)
    rows = []
    for video, frames in enumerate(chosen):
        for number, at in enumerate(frames):
            board, view = pool.board(at)
            cells = covered(grid, convert(board, "shown", region=view.region, shown=view.size))
            hues[video, number, cells] = 1 + int(pool.hues[at])
            seen = [before.starts[number] + cell for cell in cells]
            rows.append(asked(Script(before.checkpoint, len(before.ids)), at, number, seen))
    pictures = [torch.from_numpy(pool.frames[[at for frames in chosen for at in frames]])]
    return batch(rows, [], before=batch([before] * len(chosen), pictures), hues=hues)


def whole(found: Sequence[Lesson]) -> Batch:
    """Lessons from beginning to end."""
    return batch([one.script for one in found], groups([each for one in found for each in one.pictures]))


def _batch(before: Script, pictures: Sequence[np.ndarray]) -> Batch:
    return batch([before], groups(pictures))
