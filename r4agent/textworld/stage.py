"""The Stage: where a level puts its shapes, texts and questions, and what turns them into a Clip.

Promises: boxes and spans are worked out from what is drawn, so they can't disagree with it: a text that
something covers is not shown while it is covered, however little of it is. A question is dropped when its
answer stands whole for less than a fifth of a second, when it is part of any other text of the clip, or
when another question has the same words.
Does not: decide what is drawn, or keep two texts apart; levels see to that.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from r4agent.geometry import Size
from r4agent.item import Item, Span
from r4agent.textworld.fonts import Face, ink_box
from r4agent.textworld.world import Backdrop, Clip, Colour, Corners, Ink, Paint, Shape, Shown, Text, overlap

Frames = tuple[int, int]
LEAST_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Style:
    """How a text is written: face, pixels an em, colour."""

    face: Face
    size: int
    fill: Colour

    def width(self, string: str) -> int:
        """How far the pen moves over `string`, in whole pixels."""
        return round(self.face.at(self.size).getlength(string))

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

    def tinted(self, fill: Colour) -> "Style":
        return replace(self, fill=fill)


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its kind, and the number of the Text that answers it; None if nothing does."""

    words: str
    kind: str
    text: int | None
    meta: dict[str, Any]


class Stage:
    """A clip being built. Frames run from 0 to `frames`; spans are [first, stop) in frames."""

    def __init__(self, level: int, seed: int, size: Size, fps: int, frames: int) -> None:
        self.level, self.seed, self.size, self.fps, self.frames = level, seed, size, fps, frames
        self.rng = Random(f"text world {level} {seed} stage")
        self._paints: list[Paint] = []
        self._texts: list[tuple[Ink, str, str]] = []
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

    def text(
        self, frames: Frames, at: tuple[int, int], string: str, style: Style, kind: str, role: str
    ) -> int:
        """Draw a new text with its origin, on the baseline, at `at`; returns its number."""
        ink = Ink(*frames, *at, string, style.face, style.size, style.fill, text=len(self._texts))
        self._texts.append((ink, kind, role))
        self._paints.append(ink)
        return ink.text

    def again(self, number: int, frames: Frames, at: tuple[int, int]) -> None:
        """Draw text `number` once more, elsewhere, as when a terminal scrolls."""
        ink = self._texts[number][0]
        self._paints.append(replace(ink, first=frames[0], stop=frames[1], x=at[0], y=at[1]))

    def ask(self, words: str, kind: str, text: int | None, **meta: Any) -> None:
        """Ask something that text `text` answers; None marks a question that nothing here answers."""
        self._questions.append(Question(words, kind, text, meta))

    def clip(self, per_kind: int = 100) -> Clip:
        """The finished clip, with at most `per_kind` questions of a kind, drawn by lot."""
        texts = self._shown_texts()
        name = f"L{self.level}-{self.seed:010d}"
        asked = Counter(question.words for question in self._questions)
        fair = [q for q in self._questions if asked[q.words] == 1 and self._fair(q, texts)]
        kinds = dict.fromkeys(q.kind for q in fair)
        groups = ([q for q in fair if q.kind == kind] for kind in kinds)
        kept = [q for group in groups for q in self.rng.sample(group, min(per_kind, len(group)))]
        items = tuple(self._item(f"{name}-q{i}", name, q, texts) for i, q in enumerate(kept))
        return Clip(
            name, self.level, self.seed, self.size, self.fps, self.frames, tuple(self._paints), texts, items
        )

    def _shown_texts(self) -> tuple[Text, ...]:
        runs: list[list[Shown]] = [[] for _ in self._texts]
        for depth, paint in enumerate(self._paints):
            if isinstance(paint, Ink):
                runs[paint.text] += self._uncovered(depth, paint)
        return tuple(
            Text(
                ink.string,
                kind,
                role,
                ink.face.cap_height(ink.size),
                ink.face.name,
                tuple(sorted(runs[ink.text], key=lambda run: run.first)),
            )
            for ink, kind, role in self._texts
        )

    def _uncovered(self, depth: int, ink: Ink) -> list[Shown]:
        """The frames in which no shape drawn later touches the text."""
        box = ink.box
        if not (box[0] >= 0 and box[1] >= 0 and box[2] <= self.size.width and box[3] <= self.size.height):
            raise ValueError(f"text {ink.string!r} at {box} leaves the frame, which is {self.size}")
        spans = [(max(ink.first, 0), min(ink.stop, self.frames))]
        for paint in self._paints[depth + 1 :]:
            if paint.solid and overlap(box, paint.box):
                spans = [part for span in spans for part in _without(span, (paint.first, paint.stop))]
        return [Shown(a, b, a / self.fps, b / self.fps, box) for a, b in spans if a < b]

    def _fair(self, question: Question, texts: tuple[Text, ...]) -> bool:
        if question.text is None:
            return True
        answer = texts[question.text]
        others = (text for i, text in enumerate(texts) if i != question.text)
        return answer.seconds >= LEAST_SECONDS and not any(
            holds(text.string, answer.string) for text in others
        )

    def _item(self, id_: str, name: str, question: Question, texts: tuple[Text, ...]) -> Item:
        meta: dict[str, Any] = {"level": self.level, "seed": self.seed, "kind": question.kind}
        if question.text is None:
            meta |= {"unanswerable": True}
            answers: tuple[str, ...] = ()
            evidence: tuple[Span, ...] = ()
        else:
            text = texts[question.text]
            meta |= {"text_height": text.height, "visible_seconds": text.seconds}
            answers = (text.string,)
            evidence = tuple(Span(start=s.start, end=s.end, box=s.box, unit="seconds") for s in text.shown)
        return Item(
            id=id_,
            media=f"clips/{name}.mp4",
            question=question.words,
            answers=answers,
            evidence=evidence,
            meta=meta | question.meta,
        )


def holds(text: str, answer: str) -> bool:
    """Whether `answer` stands in `text` as a word or words of its own, in any case."""
    return re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, re.IGNORECASE) is not None


def _without(span: Frames, hole: Frames) -> list[Frames]:
    """`span` less `hole`, as the zero, one or two spans that are left."""
    parts = (span[0], min(span[1], hole[0])), (max(span[0], hole[1]), span[1])
    return [part for part in parts if part[0] < part[1]]
