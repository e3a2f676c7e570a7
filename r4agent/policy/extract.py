"""From the lines of one screen and a question to what the answer might be.

Promises: pure functions on text and boxes. A candidate is a piece of a line, word for word, with a score
from 0 to 1: the share of the question's words that stand near it, the weightier words counting more.
Does not: read pixels, reason, count, or put words together that do not stand together.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from r4agent.geometry import Box
from r4agent.text import Line, normalise

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white", "black", "grey")

_STOP = frozenset(
    re.findall(
        r"\S+",
        """a an the of in on at to for from by with and or is are was were be been does do did has have had it
        its this that these those there what which who whom whose when where why how many much as than then
        into over under after before while during right if can could will would shown show shows say says
        said read reads written appear appears appeared according give gives given see seen called named
        name me tell please i you long large big high old""",
    )
)
# Words for the media itself: a place to look by only when a question has no others.
_MEDIA = frozenset(("text", "screen", "video", "frame", "page", "picture", "slide", "document", "image"))
_PLACES = {
    "frames": re.compile(r"\b(?:page|slide|picture|image)\s+(\d{1,4})\b", re.IGNORECASE),
    "times": re.compile(r"\b(?:at|after)\s+(\d+(?:\.\d+)?)\s*s(?:ec(?:ond)?s?)?\b", re.IGNORECASE),
}
# Words for things on a screen: they say what kind of thing it is, and seldom stand on it.
_THINGS = frozenset(
    re.findall(
        r"\S+",
        """sign label labelled tooltip pop-up popup menu entry entries line list column row table cell title
        header view dialog window tab button icon chart message box field panel banner receipt terminal value
        number first last next new key shown time date version hash code statement""",
    )
)
_WORD = re.compile(r"[#$€£]?\w+(?:[-_.:/@;,]\w+)*%?")
_QUOTED = re.compile(r"[\"“']([^\"“”']{2,80})[\"”'](?!\w)")
_HEAD = re.compile(
    r"\b(?P<ask>how many|how much|how large|how big|how long|how old|how high|what|which|who|when)\b"
    r"(?: (?:is|are|was|were)\b)?(?: the\b)?(?P<head>(?: (?!(?:of|in|for|on|at|with|that|to|does|do|did|is"
    r"|are|was|were|has|have|right|below|above|shown|given)\b)[^\s?]+){0,5})",
    re.IGNORECASE,
)
_UNIT = r"[kKMGT]i?[Bb]|[mµn]?s|min|h|fps|[kMG]?Hz|px|[ckm]?m|k?g|[kM]?W|EUR|USD|€"
_NUMBER = rf"(?<![\w.,:-])[#$€£+-]?\d+(?:[.,]\d+)*(?:\s?%|\s?(?:{_UNIT})\b|(?![\w:-]))"
_DATE = (
    r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}"
    r"|(?:\d{1,2}\.? )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?(?: \d{1,2},?)?(?: \d{4})?"
)
_NAMED_DATE = re.compile(
    r"\b((?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.? \d{1,2}(?:, \d{4})?)"
)
_LABELLED = re.compile(r"([^:=]+)[:=]+\s*(.*\S)")
RARITY = 0.25
LONGEST = 2000  # characters of a question that are looked at

# (what the question asks for, what a token of it looks like); the first that is asked for counts.
_KINDS = (
    (r"timecode", r"\d\d:\d\d:\d\d[:;.,]\d\d+"),
    (r"\b(?:date|day|when)\b", _DATE),
    (r"\bwho\b", r"[^\W\d_]*[A-ZÀ-Þ][\w.'’-]*(?: [A-ZÀ-Þ][\w.'’-]+)+"),
    (r"\btime\b", r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[AP]M)?"),
    (r"\bversion\b", r"(?<![\w.:])v?\d+(?:\.\d+)+(?:[-+]\w+)?"),
    (r"\b(?:hash|commit|revision|sha|digest|checksum)\b", r"\b(?=[a-f]*\d)[0-9a-f]{7,64}\b"),
    (r"\b(?:path|file|filename|directory|folder)\b",
     r"[~.]?/?[\w@.-]+(?:/[\w@.-]+)+|[\w-]+\.[A-Za-z]\w{0,5}\b"),
    (r"\b(?:url|link|address|site|website)\b",
     r"https?://\S+|[\w.+-]+@[\w-]+\.[\w.]+|[\w-]+(?:\.[\w-]+)+(?:/\S*)?"),
    (r"\b(?:number|code|id|serial|reference)\b", r"(?<![\w.,:/-])[#$€£+-]?(?=[\w./-]*\d)\w+(?:[.,/-]\w+)*"),
    (r"percent", r"[+-]?\d+(?:[.,]\d+)*\s?%"),
    (r"how (?:many|much|large|big|long|old|high)|\b(?:count|counter|total|price|cost|amount|port|"
     r"latency|size|temperature|rate|score|sum|balance|tax|quantity|duration|speed|depth)\b", _NUMBER),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """words: (a word or quoted phrase in normal form, its weight). kind: the pattern of the token asked
    for, None where any text may be the answer. colour: of the thing the text stands on, if one is named."""

    text: str
    words: tuple[tuple[str, float], ...]
    kind: re.Pattern[str] | None
    colour: str | None
    choices: tuple[str, ...] = ()

    def places(self, unit: str) -> list[float]:
        """The pages (unit "frames") or seconds (unit "times") that the question names."""
        return [float(place) for place in _PLACES[unit].findall(self.text)]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible answer, the line it stands in, and how well the question's words stand around it."""

    text: str
    line: Line
    score: float


def understand(text: str, choices: Sequence[str] = ()) -> Question:
    """What a question asks for, and by which words the place can be known."""
    text = text[:LONGEST]
    words: dict[str, float] = {}
    for phrases in (_QUOTED, _NAMED_DATE):
        words |= {normalise(match[1]): 3.0 for match in phrases.finditer(text) if normalise(match[1])}
    rest = _NAMED_DATE.sub(" ", _QUOTED.sub(" ", text))
    colour = next((c for c in COLOURS if re.search(rf"\b{c}\b", rest, re.IGNORECASE)), None)
    for at, match in enumerate(_WORD.finditer(rest)):
        word = normalise(match[0])
        if word and word not in _STOP | _MEDIA and word != colour and not (colour and word in _THINGS):
            words.setdefault(word, _weight(match[0], first=at == 0))
    if not colour and not set(words) - _THINGS:
        words |= {word: 1.0 for word in map(normalise, _WORD.findall(rest)) if word in _MEDIA}
    return Question(text, tuple(words.items()), _kind(text), colour, tuple(choices))


def _weight(word: str, *, first: bool) -> float:
    if normalise(word) in _THINGS:
        return 0.3
    if re.search(r"\d|[-_./@]|\w[A-Z]", word) or (len(word) == 1 and word.isupper()):
        return 2.0  # an identifier, a number: seldom there by chance
    return 1.5 if word[0].isupper() and not first else 1.0


def _kind(text: str) -> re.Pattern[str] | None:
    match = _HEAD.search(text)
    if match is None:
        return None
    head = f"{match['ask']} {match['head']}"
    return next((re.compile(p) for cue, p in _KINDS if re.search(cue, head, re.IGNORECASE)), None)


def candidates(
    question: Question, lines: Sequence[Line], colour_of: Callable[[Line], str] | None = None
) -> list[Candidate]:
    """What the lines of one screen offer, the best first. colour_of names what a line stands on; needed
    only where the question names a colour."""
    hits = [[(line, m) for line in lines if (m := found(word, line.text))] for word, _ in question.words]
    # A word that stands in many lines says little about which of them is meant.
    weights = [
        weight / max(len(hit), 1) ** RARITY for (_, weight), hit in zip(question.words, hits, strict=True)
    ]
    total = sum(weights) + (2.0 if question.colour else 0.0)
    labels = {line for line in lines if _opens_row(line, lines)}

    def reach(line: Line, other: Line) -> float:
        """What opens a row speaks for its row, less for what stands elsewhere."""
        return 0.85 if other in labels and line is not other and not _same_row(line.box, other.box) else 1.0

    offered = []
    for line, text, trust in _offers(question, lines):
        if _repeats(question, text):
            continue
        near = sum(
            weight * max((m * nearness(line, other) * reach(line, other) for other, m in hit), default=0.0)
            for weight, hit in zip(weights, hits, strict=True)
        )
        if question.colour and colour_of:
            near += 2.0 * (colour_of(line) == question.colour)
        offered.append(Candidate(text, line, trust * near / total if total else 0.0))
    return sorted(offered, key=lambda c: (-c.score, -c.line.score, -c.line.box.height))


def mention(question: Question, lines: Sequence[Line]) -> float:
    """How much of the question, by the weight of its words, stands anywhere in the lines."""
    total = sum(weight for _, weight in question.words)
    said = sum(w * max((found(word, line.text) for line in lines), default=0.0) for word, w in question.words)
    return said / total if total else 0.0


@lru_cache(maxsize=1 << 17)
def found(word: str, text: str) -> float:
    """How surely a word or phrase in normal form stands in a text: 1 as a whole, less when it is part of
    a longer word or differs by what a reader or an ending may change, 0 when it does not."""
    from rapidfuzz import fuzz  # loaded here: it comes with the extra `ocr`

    text = normalise(text)
    if word.replace(",", "").isdigit():  # 97,282 is 97282
        word, text = word.replace(",", ""), re.sub(r"(?<=\d),(?=\d{3})", "", text)
    if word == text or re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text):
        return 1.0
    if len(word) < 3:
        return 0.0
    if len(word) >= 4 and word in text:
        return 0.9
    ratio = fuzz.partial_ratio(word, text) if len(text) >= len(word) else fuzz.ratio(word, text)
    if not all(re.search(rf"\b{number}\b", text) for number in re.findall(r"\b\d+\b", word)):
        return 0.0  # a number with another digit is another number
    if not any(c.isalpha() for c in word):
        return 0.0
    allowed = 88 if any(c.isdigit() for c in word) else 78
    return 0.85 * ratio / 100 if len(word) >= 5 and ratio >= allowed else 0.0


def nearness(line: Line, other: Line) -> float:
    """How much `other` says about `line`. Labels stand to the left of what they label or above it, so
    those count more than what stands to the right or below; all fade with distance in line heights."""
    if line is other:
        return 1.0
    a, b = line.box, other.box
    high = max(min(a.height, b.height), 1.0)
    dx, dy = max(a.x0 - b.x1, b.x0 - a.x1, 0.0) / high, max(a.y0 - b.y1, b.y0 - a.y1, 0.0) / high
    if _same_row(a, b):
        return max(0.95 - 0.004 * dx, 0.7) if b.x0 < a.x0 else max(0.7 - 0.006 * dx, 0.45)
    if dx == 0 and b.y0 < a.y0:
        edges = (a.x0 - b.x0, a.x1 - b.x1, (a.x0 + a.x1 - b.x0 - b.x1) / 2)
        aligned = min(abs(edge) for edge in edges) <= 1.5 * high
        return max(0.86 - 0.008 * dy, 0.6) if aligned else max(0.8 - 0.03 * dy, 0.4)
    if dx == 0:
        return max(0.6 - 0.03 * dy, 0.3)
    if dx <= 4 and dy <= 3:
        return 0.6
    return max(0.4 - 0.01 * (dx + dy), 0.15)


def _offers(question: Question, lines: Sequence[Line]) -> Iterator[tuple[Line, str, float]]:
    """(line, piece of it, trust in it as an answer)."""
    if question.choices:
        for choice in question.choices:
            yield from ((line, choice, 1.0) for line in lines if found(normalise(choice), line.text) >= 0.8)
        return
    if question.kind is not None:
        for line in lines:
            text = line.text
            if question.kind.pattern == _NUMBER:  # the 16 of May 16 counts nothing
                text = re.sub(_DATE, lambda date: "\0" * len(date[0]), text)
            yield from ((line, match[0].strip(), 1.0) for match in question.kind.finditer(text))
        return
    for line in lines:
        if not _says_something(line.text):
            continue
        here = [word for word, _ in question.words if found(word, line.text)]
        if here and (labelled := _LABELLED.match(line.text)) and any(found(w, labelled[1]) for w in here):
            yield line, labelled[2].strip(), 1.0
        # A line that holds the question's words is a place to look by; what stands beside it answers.
        share = sum(len(word) for word in here) / max(len(normalise(line.text)), 1)
        yield line, line.text, 1.0 - 0.5 * min(share, 1.0)


def _says_something(text: str) -> bool:
    """Not an icon that the reader took for a character."""
    return len(text) > 1 or (text.isascii() and text.isalnum())


def _repeats(question: Question, text: str) -> bool:
    """Whether a piece only says what the question says."""
    asked = f" {' '.join(_WORD.findall(normalise(question.text)))} "
    said = _WORD.findall(normalise(text))
    return not question.choices and all(f" {word} " in asked for word in said)


def _opens_row(line: Line, lines: Sequence[Line]) -> bool:
    """Whether it is the first of several in its row, as the label of a form's field is."""
    reach = 40 * line.box.height
    row = [o.box for o in lines if o is not line and _same_row(o.box, line.box)]
    left = any(0 <= line.box.x0 - box.x1 < reach for box in row)
    return not left and any(0 <= box.x0 - line.box.x1 < reach for box in row)


def _same_row(a: Box, b: Box) -> bool:
    return min(a.y1, b.y1) - max(a.y0, b.y0) >= 0.5 * min(a.height, b.height)
