"""Level 0: short codes and words on coloured signs, the world of the nano policy.

Promises: a clip has eight signs of eight colours in eight equal slots. A sign stands in the middle of its
slot, so an overview of eight frames, one from the middle of each eighth, shows each colour. The colour can
be seen in a thumbnail of 448 pixels; the text is at most 3.6 pixels high there and at least 10 in the source.
Some codes differ from another sign's in one character.
Does not: move anything, or use a colour twice in a clip.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from r4agent.geometry import Size
from r4agent.item import Item
from r4agent.textworld.facts import twin
from r4agent.textworld.fonts import plain_fonts
from r4agent.textworld.stage import Frames, Stage, Style
from r4agent.textworld.words import CODE_LETTERS, SHORT_WORDS
from r4agent.textworld.world import Clip, Colour, Corners, Ink, Paint, Shape, luma, overlap

SIGNS = 8
COLOURS: dict[str, Colour] = {
    "red": (200, 30, 35),
    "orange": (245, 135, 20),
    "yellow": (245, 220, 40),
    "green": (35, 145, 60),
    "blue": (35, 75, 200),
    "purple": (120, 45, 160),
    "pink": (250, 150, 195),
    "brown": (110, 65, 30),
    "white": (250, 250, 250),
    "black": (15, 15, 15),
}
SIZES = (Size(1280, 720), Size(1408, 792), Size(1472, 828))
THUMBNAIL, HIDDEN, READABLE = 448, 3.6, 10

ASK_COLOUR = (
    "What does the {} sign say?",
    "What is written on the {} sign?",
    "Which text is on the {} sign?",
    "Read the {} sign.",
)
ASK_LABEL = (
    "What does the sign labelled {} say?",
    "What is written on the sign labelled {}?",
)


def level0(seed: int) -> Clip:
    """The clip of this seed: 4–8 s at 8 or 10 frames a second."""
    rng = Random(f"text world 0 {seed}")
    fps = rng.choice((8, 10))
    stage = Stage(0, seed, rng.choice(SIZES), fps, frames=SIGNS * rng.randint(fps // 2, fps))
    _backdrops(stage, rng)
    strings = _strings(rng, SIGNS)
    labels = rng.sample([c for c in CODE_LETTERS if c not in strings], SIGNS)
    taken: list[tuple[Frames, Corners]] = []
    for slot, colour in enumerate(rng.sample(sorted(COLOURS), SIGNS)):
        label = labels[slot] if rng.random() < 0.35 else None
        frames = _slot(rng, slot, stage.frames // SIGNS)
        _sign(stage, rng, frames, colour, strings[slot], label, taken)
    return stage.clip()


@dataclass(frozen=True, slots=True)
class Board:
    """A sign as it is drawn. label: what its tab says, if it has one. paints: all of it."""

    shape: Shape
    ink: Ink
    label: Ink | None
    paints: tuple[Paint, ...]

    @property
    def tab(self) -> Corners:
        """Where its label stands, or would."""
        return tab(self.shape.box)


def boards(clip: Clip) -> Iterator[Board]:
    """The signs of a clip of level 0, in the order in which they appear."""
    for shape in clip.paints:
        if isinstance(shape, Shape) and shape.fill in COLOURS.values():
            paints = tuple(p for p in clip.paints if isinstance(p, Shape | Ink) and p.first == shape.first)
            inks = {clip.texts[p.text].kind: p for p in paints if isinstance(p, Ink)}
            yield Board(shape, inks["sign"], inks.get("label"), paints)


def panel(item: Item) -> Corners:
    """The sign that a level-0 item asks about, in source pixels: what a thumbnail shows of it."""
    x0, y0, x1, y1 = item.meta["panel"]
    return x0, y0, x1, y1


def _slot(rng: Random, slot: int, length: int) -> Frames:
    """Frames of a slot's sign: they hold the slot's middle, begin and end within a quarter of its edges."""
    reach = max(1, length // 4)
    first = slot * length + rng.randint(-reach, reach)
    stop = (slot + 1) * length + rng.randint(-reach, reach)
    return max(first, 0), min(stop, SIGNS * length)


def _backdrops(stage: Stage, rng: Random) -> None:
    """One to three shots, cut where slots meet."""
    cuts = sorted(rng.sample(range(1, SIGNS), rng.randint(0, 2)))
    edges = [stage.frames // SIGNS * cut for cut in (0, *cuts, SIGNS)]
    for first, stop in pairwise(edges):
        style = rng.choice(("plain", "fade", "cloud", "tiles", "blocks"))
        stage.backdrop((first, stop), style, _muted(rng), _muted(rng))


def _muted(rng: Random) -> Colour:
    """A greyish middle tone that none of the sign colours is near."""
    grey = rng.randint(95, 185)
    red, green, blue = (grey + rng.randint(-14, 14) for _ in range(3))
    return red, green, blue


def _strings(rng: Random, count: int) -> list[str]:
    """Different short words and codes of one to eight characters; none differs by case only."""
    chosen: dict[str, str] = {}
    while len(chosen) < count:
        codes = [code for code in chosen.values() if len(code) > 2 and not code.isalpha()]
        if codes and rng.random() < 0.2:
            string = twin(rng, codes[-1])
        elif rng.random() < 0.35:
            word = rng.choice(SHORT_WORDS)
            string = rng.choice((word, word.upper(), word.capitalize()))
        else:
            length = rng.choice((1, 2, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7, 8))
            string = "".join(rng.choices(CODE_LETTERS + "0123456789" * 2, k=length))
        chosen.setdefault(string.lower(), string)
    return list(chosen.values())


def _sign(
    stage: Stage,
    rng: Random,
    frames: Frames,
    colour: str,
    string: str,
    label: str | None,
    taken: list[tuple[Frames, Corners]],
) -> None:
    fill = COLOURS[colour]
    style = _style(rng, stage.size.width, (0, 0, 0) if luma(fill) > 120 else (255, 255, 255))
    wide, high = style.ink(string)
    least = (
        round(stage.size.width * rng.uniform(0.08, 0.11)),
        round(stage.size.width * rng.uniform(0.03, 0.04)),
    )
    width = max(wide + 2 * round(wide * rng.uniform(0.25, 0.6)), least[0])
    height = max(high + 2 * round(high * rng.uniform(0.6, 1.6)), least[1])
    left, top = _spot(rng, stage.size, frames, (width, height), taken)
    box = (left, top, left + width, top + height)
    stage.shape(frames, box, fill, style.fill, radius=rng.choice((0, 0, 4, 8)))
    dx, dy = (round(spare * rng.uniform(0.35, 0.65)) for spare in (width - wide, height - high))
    text = stage.text(frames, style.place(string, left + dx, top + dy), string, style, "sign", colour)
    stage.ask(rng.choice(ASK_COLOUR).format(colour), "sign by colour", text, colour=colour, panel=list(box))
    if label:
        _label(stage, frames, box, style.tinted((255, 255, 255)), label)
        stage.ask(rng.choice(ASK_LABEL).format(label), "sign by label", text, label=label, panel=list(box))


LABEL = (26, 22)


def tab(sign: Corners) -> Corners:
    """Where the label of a sign stands, or would."""
    left, top = sign[0] + 6, sign[1] - LABEL[1]
    return left, top, left + LABEL[0], top + LABEL[1]


def _label(stage: Stage, frames: Frames, sign: Corners, style: Style, label: str) -> None:
    """A grey tab that stands on the sign's upper left corner."""
    left, top, right, foot = tab(sign)
    stage.shape(frames, (left, top, right, foot), (70, 70, 70))
    wide, high = style.ink(label)
    at = style.place(label, left + (LABEL[0] - wide) // 2, top + (LABEL[1] - high) // 2)
    stage.text(frames, at, label, style, "label", label)


def _style(rng: Random, width: int, fill: Colour) -> Style:
    """A face and a size that can be read in the source and not in the thumbnail."""
    tallest = HIDDEN * width / THUMBNAIL
    while True:
        face = rng.choice(plain_fonts())
        fit = [size for size in range(10, 26) if READABLE <= face.cap_height(size) <= tallest]
        if fit:  # hinting may pass over the one height that is both
            return Style(face, rng.choice(fit), fill)


def _spot(
    rng: Random,
    frame: Size,
    frames: Frames,
    size: tuple[int, int],
    taken: list[tuple[Frames, Corners]],
) -> tuple[int, int]:
    """A corner at which the sign and its tab touch no sign that stands at the same time."""
    margin, tab = 8, LABEL[1]
    while True:
        left = rng.randint(margin, frame.width - size[0] - margin)
        top = rng.randint(margin + tab, frame.height - size[1] - margin)
        box = (left - margin, top - tab - margin, left + size[0] + margin, top + size[1] + margin)
        if not any(a < frames[1] and frames[0] < b and overlap(box, other) for (a, b), other in taken):
            taken.append((frames, box))
            return left, top
