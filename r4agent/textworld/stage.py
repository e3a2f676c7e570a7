"""The Stage: where a level puts its shapes, texts and questions, and what turns them into a Clip.

Promises: boxes and spans are worked out from what is drawn, so they can't disagree with it: a text that
something covers, or an edge cuts, is not shown while it is, however little of it. A question is dropped when
its answer, together with what it is known by, stands whole for less than a fifth of a second, when it is part
of any other text of the clip, when something else has nearly the colour it names, or when another question
has the same words. Texts that may be taken for the
answer are named in the item.
Does not: decide what is drawn, or keep two texts apart; levels see to that.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import dist
from random import Random
from typing import Any, Literal, Self

import numpy as np

from r4agent.geometry import Size
from r4agent.item import Item, Span
from r4agent.textworld.fonts import Face, ink_box, pen_width
from r4agent.textworld.world import (
    Backdrop,
    Clip,
    Colour,
    Corners,
    Ink,
    Paint,
    Polygon,
    Shape,
    Shown,
    Sprite,
    Text,
)

Frames = tuple[int, int]
LEAST_SECONDS = 0.2
UNLIKE = 50  # distance in RGB from which on a colour does not go by another's name


@dataclass(frozen=True, slots=True)
class Style:
    """How a text is written: face, pixels an em, colour."""

    face: Face
    size: int
    fill: Colour

    def width(self, string: str) -> int:
        """How far the pen moves over `string`, in whole pixels."""
        return round(pen_width(self.face, self.size, string))

    def ink(self, string: str) -> tuple[int, int]:
        """Width and height of the ink of `string`."""
        x0, y0, x1, y1 = ink_box(self.face, self.size, string)
        return x1 - x0, y1 - y0

    def place(self, string: str, left: int, top: int) -> tuple[int, int]:
        """The origin that puts the ink's upper left corner at (left, top)."""
        x0, y0, _, _ = ink_box(self.face, self.size, string)
        return left - x0, top - y0

    @property
    def line(self) -> int:
        """Distance of two baselines."""
        return round(self.size * 1.4)

    def tinted(self, fill: Colour) -> Self:
        return replace(self, fill=fill)

    def set(self, frames: Frames, at: tuple[int, int], string: str, text: int) -> Ink:
        """The paint of a text in this style, its origin at `at`."""
        return Ink(*frames, *at, string, self.face, self.size, self.fill, text)


@dataclass(frozen=True, slots=True)
class Loose(Style):
    """Text that is turned, or that the edges of `view` may cut."""

    angle: float = 0.0
    view: Corners | None = None

    def set(self, frames: Frames, at: tuple[int, int], string: str, text: int) -> Ink:
        place = (*frames, *at)
        return Sprite(*place, string, self.face, self.size, self.fill, text, False, self.angle, self.view)


@dataclass(frozen=True, slots=True)
class Placed:
    """A text as it was put on the stage: its paints, in the order drawn."""

    runs: list[Ink]
    kind: str
    role: str
    alike: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its kind, and the number of the Text that answers it; None if nothing does. beside: the
    numbers of the texts by which the answer is told from others; carrier: the colour of what it is on, where
    the question names it."""

    words: str
    kind: str
    text: int | None
    beside: tuple[int, ...]
    carrier: Colour | None
    meta: dict[str, Any]


class Stage:
    """A clip being built. Frames run from 0 to `frames`; spans are [first, stop) in frames.

    fps: 0 for a document, whose pages are its frames.
    """

    def __init__(self, level: int, seed: int, size: Size, fps: int, frames: int) -> None:
        self.level, self.seed, self.size, self.fps, self.frames = level, seed, size, fps, frames
        self.name = f"L{level}-{seed:010d}"
        self.rng = Random(f"text world {level} {seed} stage")
        self._paints: list[Paint] = []
        self._texts: list[Placed] = []
        self._questions: list[Question] = []

    def backdrop(self, frames: Frames, style: str, colour: Colour, other: Colour) -> None:
        """Fill the frame."""
        seed = self.rng.randrange(2**32)
        self._paints.append(Backdrop(*frames, self.size, style, colour, other, seed))

    def shape(
        self, frames: Frames, box: Corners, fill: Colour, outline: Colour | None = None, radius: int = 0
    ) -> None:
        """Draw a rectangle over what is there."""
        self._paints.append(Shape(*frames, box, fill, outline, radius))

    def polygon(
        self,
        frames: Frames,
        points: tuple[tuple[int, int], ...],
        fill: Colour,
        outline: Colour | None = None,
    ) -> None:
        """Draw a polygon over what is there."""
        self._paints.append(Polygon(*frames, points, fill, outline))

    def text(
        self,
        frames: Frames,
        at: tuple[int, int],
        string: str,
        style: Style,
        kind: str,
        role: str,
        alike: str = "",
    ) -> int:
        """Draw a new text with its origin, on the baseline, at `at`; returns its number.

        alike: a name that it shares with the texts that one might take for it.
        """
        number = len(self._texts)
        ink = style.set(frames, at, string, number)
        self._texts.append(Placed([ink], kind, role, alike))
        self._paints.append(ink)
        return number

    def again(self, number: int, frames: Frames, at: tuple[int, int], style: Style | None = None) -> None:
        """Draw text `number` once more, elsewhere, as when a terminal scrolls, or in another style."""
        runs = self._texts[number].runs
        if style:
            ink = style.set(frames, at, runs[0].string, number)
        else:
            ink = replace(runs[0], first=frames[0], stop=frames[1], x=at[0], y=at[1])
        runs.append(ink)
        self._paints.append(ink)

    def ask(
        self,
        words: str,
        kind: str,
        text: int | None,
        beside: tuple[int, ...] = (),
        carrier: Colour | None = None,
        **meta: Any,
    ) -> None:
        """Ask something that text `text` answers; None marks a question that nothing here answers.

        beside: texts, as a label, that must stand whole together with the answer for a fifth of a second.
        carrier: colour of the shape that the answer is on, when the question names it; no other may look so.
        """
        self._questions.append(Question(words, kind, text, beside, carrier, meta))

    def clip(self, per_kind: int = 100) -> Clip:
        """The finished clip, with at most `per_kind` questions of a kind, drawn by lot."""
        texts, items = self.finish(per_kind)
        span = self.fps, self.frames
        return Clip(self.name, self.level, self.seed, self.size, *span, tuple(self._paints), texts, items)

    def finish(self, per_kind: int) -> tuple[tuple[Text, ...], tuple[Item, ...]]:
        """Every text with where it is shown, and the questions that are fair."""
        texts = self._shown_texts()
        heap = "\n".join(text.string for text in texts).lower()
        asked = Counter(question.words for question in self._questions)
        kinds: dict[str, list[Question]] = {}
        for question in self._questions:
            if asked[question.words] == 1:
                kinds.setdefault(question.kind, []).append(question)
        kept: list[Question] = []
        for group in kinds.values():
            fair = (q for q in self.rng.sample(group, len(group)) if self._fair(q, texts, heap))
            kept += islice(fair, per_kind)
        items = tuple(self._item(f"{self.name}-q{i}", q, texts) for i, q in enumerate(kept))
        return texts, items

    @property
    def paints(self) -> tuple[Paint, ...]:
        return tuple(self._paints)

    def _shown_texts(self) -> tuple[Text, ...]:
        runs: list[list[Shown]] = [[] for _ in self._texts]
        solid = _Solid(self._paints)
        for depth, paint in enumerate(self._paints):
            if isinstance(paint, Ink):
                runs[paint.text] += self._uncovered(depth, paint, solid)
        return tuple(
            Text(
                placed.runs[0].string,
                placed.kind,
                placed.role,
                min(ink.height for ink in placed.runs),
                placed.runs[0].face.name,
                _joined(shown),
            )
            for placed, shown in zip(self._texts, runs, strict=True)
        )

    def _uncovered(self, depth: int, ink: Ink, solid: "_Solid") -> list[Shown]:
        """The frames in which no shape drawn later touches the text and no edge cuts it."""
        box, view = ink.box, ink.view or (0, 0, self.size.width, self.size.height)
        if not (box[0] >= view[0] and box[1] >= view[1] and box[2] <= view[2] and box[3] <= view[3]):
            if ink.view:
                return []
            raise ValueError(f"text {ink.string!r} at {box} leaves the frame, which is {self.size}")
        spans = [(max(ink.first, 0), min(ink.stop, self.frames))]
        for hole in solid.over(depth, box, ink.first, ink.stop):
            spans = [part for span in spans for part in _without(span, hole)]
        return [Shown(a, b, *self._when(a, b), box) for a, b in spans if a < b]

    def _when(self, first: int, stop: int) -> tuple[float, float]:
        """Frames as seconds; pages as their numbers, counted from 1."""
        return (first / self.fps, stop / self.fps) if self.fps else (first + 1, stop)

    def _fair(self, question: Question, texts: tuple[Text, ...], heap: str) -> bool:
        """Whether its answer can be read, and stands in no other text; `heap` is all of them, lower case."""
        if question.text is None:
            return True
        if question.carrier and any(0 < dist(fill, question.carrier) < UNLIKE for fill in self._fills()):
            return False
        together = set.intersection(*(_frames(texts[number]) for number in (question.text, *question.beside)))
        long_enough = len(together) >= LEAST_SECONDS * self.fps if self.fps else bool(together)
        return long_enough and _times_held(heap, texts[question.text].string) == 1

    def _fills(self) -> set[Colour]:
        return {paint.fill for paint in self._paints if isinstance(paint, Shape | Polygon)}

    def _item(self, id_: str, question: Question, texts: tuple[Text, ...]) -> Item:
        meta: dict[str, Any] = {"level": self.level, "seed": self.seed, "kind": question.kind}
        if question.text is None:
            meta |= {"unanswerable": True}
            answers: tuple[str, ...] = ()
            evidence: tuple[Span, ...] = ()
        else:
            text = texts[question.text]
            meta |= {"text_height": text.height}
            if self.fps:
                meta |= {"visible_seconds": text.seconds}
            if rivals := self._rivals(question.text, texts):
                meta |= {"distractors": rivals}
            answers = (text.string,)
            unit: Literal["seconds", "page"] = "seconds" if self.fps else "page"
            evidence = tuple(Span(start=s.start, end=s.end, box=s.box, unit=unit) for s in text.shown)
        return Item(
            id=id_,
            media=f"clips/{self.name}.{'mp4' if self.fps else 'pdf'}",
            question=question.words,
            answers=answers,
            evidence=evidence,
            meta=meta | question.meta,
        )

    def _rivals(self, number: int, texts: tuple[Text, ...]) -> list[dict[str, Any]]:
        """What might be taken for text `number`: texts that were said to be alike, and those of its kind
        that differ from it in one character. Each with the time and the box around all its places."""
        answer, alike = texts[number], self._texts[number].alike
        rivals = (
            text
            for i, text in enumerate(texts)
            if i != number
            and text.shown
            and ((alike and self._texts[i].alike == alike) or _twins(text, answer))
            and not holds(answer.string, text.string)  # a part of the answer is not another answer
        )
        return [
            {
                "text": text.string,
                "start": text.shown[0].start,
                "end": text.shown[-1].end,
                "box": list(_hull([shown.box for shown in text.shown])),
            }
            for text in rivals
        ]


class _Solid:
    """What covers: the solid paints, in arrays, since a clip may hold thousands."""

    def __init__(self, paints: Sequence[Paint]) -> None:
        rows = [(i, p.first, p.stop, *p.box) for i, p in enumerate(paints) if p.solid]
        self._depth, self._first, self._stop, self._x0, self._y0, self._x1, self._y1 = (
            np.array(rows, dtype=np.int64).reshape(-1, 7).T
        )

    def over(self, depth: int, box: Corners, first: int, stop: int) -> list[Frames]:
        """The spans of those that are drawn after `depth`, touch `box`, and share a frame."""
        x0, y0, x1, y1 = box
        later = (self._depth > depth) & (self._first < stop) & (first < self._stop)
        here = later & (self._x0 < x1) & (x0 < self._x1) & (self._y0 < y1) & (y0 < self._y1)
        return list(zip(self._first[here].tolist(), self._stop[here].tolist(), strict=True))


def _joined(shown: list[Shown]) -> tuple[Shown, ...]:
    """In order of time; runs that follow each other in the same place are one."""
    runs: list[Shown] = []
    for run in sorted(shown, key=lambda run: run.first):
        if runs and runs[-1].stop == run.first and runs[-1].box == run.box:
            run = replace(runs.pop(), stop=run.stop, end=run.end)
        runs.append(run)
    return tuple(runs)


def _frames(text: Text) -> set[int]:
    """The frames in which it stands whole."""
    return {index for run in text.shown for index in range(run.first, run.stop)}


def _hull(boxes: list[Corners]) -> Corners:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _twins(one: Text, two: Text) -> bool:
    """Whether two texts of a kind differ in one character, and have at least three."""
    a, b = one.string, two.string
    return (
        one.kind == two.kind and len(a) == len(b) >= 3 and sum(x != y for x, y in zip(a, b, strict=True)) == 1
    )


def holds(text: str, answer: str) -> bool:
    """Whether `answer` stands in `text` as a word or words of its own, in any case."""
    return _times_held(text.lower(), answer) > 0


def _times_held(text: str, answer: str) -> int:
    """How often `answer` stands in `text`, which is lower case, as a word or words of its own."""
    wanted = answer.lower()
    if wanted not in text:  # much the quicker
        return 0
    return len(re.findall(rf"(?<!\w){re.escape(wanted)}(?!\w)", text))


def _without(span: Frames, hole: Frames) -> list[Frames]:
    """`span` less `hole`, as the zero, one or two spans that are left."""
    parts = (span[0], min(span[1], hole[0])), (max(span[0], hole[1]), span[1])
    return [part for part in parts if part[0] < part[1]]
