"""A window with a table that turns its pages.

Promises: a row stands on one page only; each cell that is asked for is named by its row's first cell and
its column's heading; cells of a column may differ in one character. Does not: sort, scroll or merge cells.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from r4agent.textworld.facts import Values
from r4agent.textworld.stage import Frames, Stage, Style
from r4agent.textworld.window import THEMES, Theme, bar_height, inset, settle, text_style, window
from r4agent.textworld.words import CITIES, GOODS, NAMES
from r4agent.textworld.world import Corners

Cell = Callable[[Random], str]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A title, the heading and the names of the first column, and the other columns' cells by heading."""

    title: str
    key: str
    names: Callable[[Random], list[str]]
    columns: dict[str, Cell]


def _number(low: int, high: int, form: str = "{}") -> Cell:
    return lambda rng: form.format(rng.randint(low, high))


def _clock(rng: Random) -> str:
    return f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"


def _numbered(form: str) -> Callable[[Random], list[str]]:
    return lambda rng: [form.format(i) for i in rng.sample(range(10, 99), 60)]


def _sampled(words: tuple[str, ...]) -> Callable[[Random], list[str]]:
    return lambda rng: rng.sample(words, len(words))


def _address(rng: Random) -> str:
    return f"10.{rng.randint(0, 99)}.{rng.randint(0, 255)}.{rng.randint(2, 254)}"


def _version(rng: Random) -> str:
    return f"{rng.randint(1, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 30)}"


def _day(rng: Random) -> str:
    return f"{rng.randint(1, 28)} {rng.choice(('May', 'June', 'July'))}"


def _one_of(words: tuple[str, ...]) -> Cell:
    return lambda rng: rng.choice(words)


def _joined(form: str, letters: str, low: int, high: int) -> Cell:
    return lambda rng: form.format("".join(rng.choices(letters, k=2)), rng.randint(low, high))


SERVERS: dict[str, Cell] = {
    "Address": _address,
    "Port": _number(1025, 9999),
    "Memory": _number(100, 999, "{} MB"),
    "Version": _version,
    "Uptime": _number(2, 900, "{} days"),
}
ORDERS: dict[str, Cell] = {
    "Customer": _one_of(NAMES),
    "Amount": _number(1000, 99_999, "${}"),
    "Items": _number(2, 400),
    "Ships": _day,
}
DEPARTURES: dict[str, Cell] = {
    "To": _one_of(CITIES),
    "Departs": _clock,
    "Gate": _joined("{0[0]}{1}", "ABCDEF", 1, 60),
    "Seats left": _number(2, 180),
}
RESULTS: dict[str, Cell] = {
    "Room": _number(101, 499),
    "Points": lambda rng: f"{rng.randint(0, 99)}.{rng.randint(0, 9)}",
    "Candidate no.": _number(30_000, 99_999),
}
STOCK: dict[str, Cell] = {
    "Code": _joined("{}-{}", "BCDFGHKLMNP", 100, 999),
    "In stock": _number(2, 999),
    "Price": lambda rng: f"{rng.randint(0, 49)}.{rng.randint(10, 99)}",
    "Shelf": _joined("{1}{0[0]}", "abcdef", 1, 40),
}

LONGEST = 13  # characters of the longest cell, an address
SHEETS = (
    Sheet("Servers", "Host", _numbered("web-{}"), SERVERS),
    Sheet("Orders", "Order", _numbered("A-20{}"), ORDERS),
    Sheet("Departures", "Flight", _numbered("KX {}4"), DEPARTURES),
    Sheet("Exam results", "Student", _sampled(NAMES), RESULTS),
    Sheet("Stock", "Article", _sampled(GOODS), STOCK),
)


def table(stage: Stage, rng: Random, frames: Frames, area: Corners) -> None:
    """A table whose pages share `frames`, in a window as wide as `area`."""
    sheet, theme = rng.choice(SHEETS), rng.choice(THEMES)
    style = text_style(rng, theme)
    column = (area[2] - area[0] - 34) // (1 + len(sheet.columns))
    while style.width("0" * LONGEST) > column - 12:
        style = replace(style, size=style.size - 1)
    step = round(style.line * rng.uniform(1.05, 1.6))
    frame = bar_height(style) + 24
    rows = min((area[3] - area[1] - frame) // step - 1, 18)
    box = settle(rng, area, area[2] - area[0], frame + (rows + 1) * step)
    x0, y0, x1, _ = inset(window(stage, frames, box, sheet.title, style, theme), 16, 8)
    headings = (sheet.key, *sheet.columns)
    lefts = [x0 + (x1 - x0) * i // len(headings) for i in range(len(headings))]
    stage.shape(frames, (x0, y0, x1, y0 + step), theme.bar)
    for left, heading in zip(lefts, headings, strict=True):
        tinted = style.tinted(theme.dim)
        stage.text(frames, (left + 6, y0 + _middle(step, style)), heading, tinted, "heading", heading)
    names, values = sheet.names(rng), Values(rng, 0.15)
    pages = min(rng.randint(1, 3), len(names) // 4, (frames[1] - frames[0]) // stage.fps)
    for page in range(pages):
        shown = _share(frames, page, pages)
        some = names[page * len(names) // pages : (page + 1) * len(names) // pages][:rows]
        for i, name in enumerate(some):
            _row(stage, rng, shown, (lefts, y0 + step * (i + 1), x1, step), name, values, sheet, style, theme)


def _share(frames: Frames, page: int, pages: int) -> Frames:
    length = frames[1] - frames[0]
    return frames[0] + length * page // pages, frames[0] + length * (page + 1) // pages


def _middle(step: int, style: Style) -> int:
    """The baseline that puts capitals in the middle of a row, from the row's top."""
    return (step + style.face.cap_height(style.size)) // 2


def _row(
    stage: Stage,
    rng: Random,
    frames: Frames,
    place: tuple[list[int], int, int, int],
    name: str,
    values: Values,
    sheet: Sheet,
    style: Style,
    theme: Theme,
) -> None:
    lefts, top, right, step = place
    base = top + _middle(step, style)
    stage.shape(frames, (lefts[0], top + step - 1, right, top + step), theme.line)
    accent = style.tinted(theme.accent)
    named = stage.text(frames, (lefts[0] + 6, base), name, accent, "row name", name)
    for left, (heading, make) in zip(lefts[1:], sheet.columns.items(), strict=True):
        value = values.make(heading, make)
        number = stage.text(frames, (left + 6, base), value, style, "cell", f"{heading} of {name}")
        words = f"In the table '{sheet.title}', what stands under '{heading}' for {name}?"
        stage.ask(words, "table cell", number, beside=(named,))
