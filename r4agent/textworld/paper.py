"""Sheets of a document: where the pen stands, and setting headings, paragraphs, tables and pairs.

Promises: an answer is a text of its own, so its box holds nothing else; nothing runs over a margin.
Does not: break a table's row or a heading from what follows it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from r4agent.textworld.document import Print
from r4agent.textworld.facts import Fact
from r4agent.textworld.fonts import Face, plain_fonts
from r4agent.textworld.stage import Frames, Stage
from r4agent.textworld.world import Colour, Corners

Sentence = Sequence[str | Fact]

BLACK, GREY, PALE, WHITE = (25, 25, 30), (95, 95, 105), (228, 230, 235), (255, 255, 255)
ACCENTS = ((25, 75, 150), (150, 40, 40), (20, 105, 85), (110, 60, 140), (165, 85, 15))


@dataclass(frozen=True, slots=True)
class Look:
    """What a document looks like: its two faces, the size of running text in pixels an em, its colour."""

    plain: Face
    bold: Face
    size: int
    accent: Colour
    margin: int

    def text(self, scale: float = 1, fill: Colour = BLACK) -> Print:
        return Print(self.plain, round(self.size * scale), fill)

    def strong(self, scale: float = 1, fill: Colour = BLACK) -> Print:
        return Print(self.bold, round(self.size * scale), fill)


def look(rng: Random, small: int, large: int, margin: int) -> Look:
    """Running text of `small` to `large` pixels an em in one family."""
    plain, bold = rng.choice(families())
    return Look(plain, bold, rng.randint(small, large), rng.choice(ACCENTS), margin)


def families() -> list[tuple[Face, Face]]:
    """Upright faces, each with its bold one where there is one."""
    named = {face.name: face for face in plain_fonts()}
    pairs = []
    for face in plain_fonts():
        if "bold" not in face.name.lower() and not face.mono:
            family = face.name.removesuffix(" Book").removesuffix(" Regular")
            pairs.append((face, named.get(f"{family} Bold", face)))
    return pairs


class Sheets:
    """Pages being filled. `y` is where the next line's top is, on page `page`, counted from 0.

    head: called when a page has been begun, to draw what each page bears.
    """

    def __init__(self, stage: Stage, look: Look, head: Callable[["Sheets"], None] | None = None) -> None:
        self.stage, self.look, self._head = stage, look, head
        self.left, self.right = look.margin, stage.size.width - look.margin
        self.page = -1
        self.turn()

    @property
    def frames(self) -> Frames:
        return self.page, self.page + 1

    @property
    def foot(self) -> int:
        """Where running text must end."""
        return self.stage.size.height - self.look.margin

    def turn(self) -> None:
        """Begin the next page."""
        self.page += 1
        self.y = self.look.margin
        self.stage.frames = self.page + 1
        self.fill((0, 0, self.stage.size.width, self.stage.size.height), WHITE)
        if self._head:
            self._head(self)

    def room(self, height: int) -> None:
        """Turn the page unless `height` pixels are left."""
        if self.y + height > self.foot:
            self.turn()

    def fill(self, box: Corners, colour: Colour, outline: Colour | None = None) -> None:
        self.stage.shape(self.frames, box, colour, outline)

    def put(
        self, x: int, y: int, string: str, style: Print, kind: str, role: str = "", alike: str = ""
    ) -> int:
        """A text that begins at `x` with its baseline at `y`."""
        return self.stage.text(self.frames, (x, y), string, style, kind, role or string, alike)

    def fact(self, x: int, y: int, fact: Fact, style: Print, kind: str) -> None:
        """A value that is asked for."""
        number = self.put(x, y, fact.string, style, kind, fact.question, fact.alike)
        self.stage.ask(fact.question, fact.kind, number)

    def heading(self, string: str, scale: float = 1.5, keep: int = 6) -> None:
        """A heading, on one page with `keep` lines of text below it."""
        style = self.look.strong(scale, self.look.accent)
        while style.width(string) > self.right - self.left:
            style = replace(style, size=style.size - 1)
        self.room(2 * style.line + keep * self.look.text().line)
        self.y += style.line
        self.put(self.left, self.y, string, style, "heading")
        self.y += style.line // 2

    def paragraph(self, sentences: Sequence[Sentence], style: Print | None = None) -> None:
        """Sentences set flush left, then half a line of space."""
        style = style or self.look.text()
        for line in _lines(_words(sentences), style, self.right - self.left):
            self.room(style.line)
            self.y += style.line
            x = self.left
            for part in line:
                if isinstance(part, Fact):
                    self.fact(x, self.y, part, style, "value in text")
                    x += style.width(part.string)
                else:
                    ink = part.strip()
                    if ink:
                        blank = len(part) - len(part.lstrip())
                        self.put(x + style.width(part[:blank]), self.y, ink, style, "text", "running text")
                    x += style.width(part)
        self.y += style.line // 2

    def table(self, headings: Sequence[str], rows: Sequence[tuple[str, Sequence[Fact]]]) -> None:
        """Rows of a name and its facts, under headings, all on one page."""
        style = self.look.text(0.95)
        step = round(style.line * 1.2)
        self.room(step * (len(rows) + 1) + style.line)
        self.y += style.line // 2
        column = (self.right - self.left) // len(headings)
        self.fill((self.left, self.y, self.right, self.y + step), PALE)
        bold = self.look.strong(0.95)
        for i, heading in enumerate(headings):
            x = self.left + 10 if i == 0 else self.left + (i + 1) * column - 10 - bold.width(heading)
            self.put(x, self.y + round(step * 0.7), heading, bold, "column")
        for name, facts in rows:
            self.y += step
            base = self.y + round(step * 0.7)
            self.put(self.left + 10, base, name, style, "row")
            for i, fact in enumerate(facts, start=2):
                self.fact(self.left + i * column - 10 - style.width(fact.string), base, fact, style, "cell")
            self.fill((self.left, self.y + step - 2, self.right, self.y + step), PALE)
        self.y += step + style.line // 2

    def pairs(self, rows: Sequence[tuple[str, Fact]], share: float = 0.4) -> None:
        """Labels and, in a column of their own, values."""
        style = self.look.text()
        self.room(len(rows) * round(style.line * 1.15) + style.line // 2)
        at = self.left + round((self.right - self.left) * share)
        for label, fact in rows:
            self.y += round(style.line * 1.15)
            self.put(self.left, self.y, label, self.look.text(1, GREY), "label")
            self.fact(at, self.y, fact, style, "value")
        self.y += style.line // 2


def _words(sentences: Sequence[Sentence]) -> Iterator[list[str | Fact]]:
    """Words, each of the parts that stand together: a value and the comma behind it are one word."""
    for sentence in sentences:
        word: list[str | Fact] = []
        for part in sentence:
            if isinstance(part, Fact):
                word.append(part)
                continue
            first, *rest = part.split(" ")
            if first:
                word.append(first)
            for piece in rest:
                if word:
                    yield word
                word = [piece] if piece else []
        if word:
            yield word


def _lines(words: Iterator[list[str | Fact]], style: Print, room: int) -> Iterator[list[str | Fact]]:
    """Lines of runs: text between values is one run, spaces included."""
    line: list[str | Fact] = []
    for word in words:
        longer = _joined(line, word)
        if line and sum(_width(part, style) for part in longer) > room:
            yield line
            longer = _joined([], word)
        line = longer
    if line:
        yield line


def _joined(line: list[str | Fact], word: list[str | Fact]) -> list[str | Fact]:
    out = list(line)
    for part in [" ", *word] if line else word:
        if out and isinstance(out[-1], str) and isinstance(part, str):
            out[-1] += part
        else:
            out.append(part)
    return out


def _width(part: str | Fact, style: Print) -> int:
    return style.width(part.string if isinstance(part, Fact) else part)
