"""Lines of text that were read in a picture: their order, and whether an answer stands in them.

Promises: pure functions on strings and boxes that raise on no text at all, whatever its characters.
Does not: read pixels (the Reader does), or judge an answer's meaning.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from r4agent.geometry import Box

# OCR and typing disagree on these; both sides of a comparison are brought to one form.
_UNIFIED = str.maketrans("“”„«»‘’‚`´‐‑‒–—―−", "\"\"\"\"\"'''''-------")
# Stripped from the ends. Signs that carry meaning there (-5, $12, 100%, C++) stay, and so does a
# leading full stop (.gitignore, .5).
_OPENING = " \"'()[]{}<>,;:!?¿¡…"
_CLOSING = " \"'()[]{}<>.,;:!?…"

# A token is a word, with the separators inside a number (3.10, 12:30), or one punctuation mark, or one
# character of a script that puts no spaces between words.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+(?:(?<=\d)[.,:](?=\d)[^\W{_CJK}]+)*|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text: what it says, where (pixels of the picture read), how sure the reader is (0–1)."""

    text: str
    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class Match:
    """How well an answer stands in some lines (0–1; 1 is exact, after `normalise`) and in which."""

    score: float
    lines: tuple[Line, ...] = ()

    @property
    def box(self) -> Box | None:
        """Around the matching lines; None when nothing matched."""
        return reduce(Box.hull, (line.box for line in self.lines)) if self.lines else None


def normalise(text: str) -> str:
    """Text in the form that comparisons use: one case, one kind of quote and dash, single spaces, no
    brackets, quotes or sentence marks at the ends."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.translate(_UNIFIED).split()).lstrip(_OPENING).rstrip(_CLOSING)


def in_reading_order(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Rows from top to bottom, each from left to right.

    A line joins a row when it shares half of the lower one's height with the row's first line and
    neither is more than three times as tall as the other, so that a label standing on its side does
    not swallow the rows beside it.
    """
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (line.box.y0 + line.box.y1, line.box.x0, line.text)):
        row = next((row for row in reversed(rows[-3:]) if _share_row(row[0].box, line.box)), None)
        if row is None:
            rows.append([line])
        else:
            row.append(line)
    return tuple(line for row in rows for line in sorted(row, key=lambda line: line.box.x0))


def contains(lines: Sequence[Line], answer: str) -> Match:
    """The best place for `answer` in `lines`: within one line, or across two or three that follow each
    other in a row or a column.

    The score is 1 − edit distance / longer length, between the normalised answer and a run of whole
    tokens, so that "12" is found in "page 12" but not in "1234" or "12.5". The first of equal places
    in the order of `lines` wins. An answer with no letter, digit or sign left scores 0.
    """
    from rapidfuzz.distance import Levenshtein  # loaded here: it comes with the extra `ocr`

    wanted = normalise(answer)
    count = len(_TOKEN.findall(wanted))
    best = Match(0.0)
    if not count:
        return best
    for chain in _chains(lines):
        texts = [normalise(line.text) for line in chain]
        text = " ".join(texts)
        for start, end in _windows(text, count, len(texts[0]), len(text) - len(texts[-1])):
            if min(end - start, len(wanted)) <= best.score * max(end - start, len(wanted)):
                continue  # even as a part of the other it could not score more
            score = Levenshtein.normalized_similarity(text[start:end], wanted, score_cutoff=best.score)
            if score > best.score:
                best = Match(score, chain)
        if best.score == 1.0:
            break
    return best


def _windows(text: str, count: int, first_ends: int, last_starts: int) -> Iterator[tuple[int, int]]:
    """Runs of about `count` tokens (OCR splits and merges words) from the first line into the last."""
    tokens = [match.span() for match in _TOKEN.finditer(text)]
    for size in range(max(1, count // 2), count + 3):
        for begin in range(len(tokens) - size + 1):
            start, end = tokens[begin][0], tokens[begin + size - 1][1]
            if start < first_ends and end > last_starts:
                yield start, end


def _chains(lines: Sequence[Line]) -> Iterator[tuple[Line, ...]]:
    """Each line alone, then runs of two and of three to the right and downward."""
    for line in lines:
        yield (line,)
    for follows in (_right_of, _below):
        after = {at: follows(line, lines) for at, line in enumerate(lines)}
        pairs = [(at, then) for at, then in after.items() if then is not None]
        for at, then in pairs:
            yield lines[at], lines[then]
        for at, then in pairs:
            third = after[then]
            if third is not None:
                yield lines[at], lines[then], lines[third]


def _right_of(line: Line, lines: Sequence[Line]) -> int | None:
    """The nearest line that goes on to the right of `line`, at most four line heights away."""
    near = [
        (other.box.x0 - line.box.x1, at)
        for at, other in enumerate(lines)
        if other.box.x0 > line.box.x0
        and -line.box.height / 2 <= other.box.x0 - line.box.x1 <= 4 * line.box.height
        and _share_row(line.box, other.box)
    ]
    return min(near)[1] if near else None


def _below(line: Line, lines: Sequence[Line]) -> int | None:
    """The nearest line under `line` that stands in its column, at most one line height away."""
    near = [
        (other.box.y0 - line.box.y1, at)
        for at, other in enumerate(lines)
        if other.box.y0 > line.box.y0
        and -line.box.height / 2 <= other.box.y0 - line.box.y1 <= line.box.height
        and _shared(line.box.x0, line.box.x1, other.box.x0, other.box.x1) >= 0.5
    ]
    return min(near)[1] if near else None


def _share_row(one: Box, other: Box) -> bool:
    tall, low = max(one.height, other.height), min(one.height, other.height)
    return tall <= 3 * low and _shared(one.y0, one.y1, other.y0, other.y1) >= 0.5


def _shared(a0: float, a1: float, b0: float, b1: float) -> float:
    """The share of the shorter interval that lies in the other."""
    return (min(a1, b1) - max(a0, b0)) / min(a1 - a0, b1 - b0)
