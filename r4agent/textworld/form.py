"""A settings window whose sections are opened one after another.

Promises: a value stands beside its label, in its own section only. Sections share some labels.
Does not: click or type.
"""

from collections.abc import Callable
from random import Random

from r4agent.textworld.stage import Frames, Stage, Style
from r4agent.textworld.window import THEMES, bar_height, settle, text_style, window
from r4agent.textworld.words import CITIES, NAMES, SHORT_WORDS
from r4agent.textworld.world import Colour, Corners

Value = Callable[[Random], str]


def _serial(rng: Random) -> str:
    return "-".join(f"{rng.randrange(16**4):04X}" for _ in range(3))


def _mail(rng: Random) -> str:
    return f"{rng.choice(SHORT_WORDS)}.{rng.choice(SHORT_WORDS)}@example.org"


SECTIONS: dict[str, dict[str, Value]] = {
    "About": {
        "Device name": lambda rng: f"{rng.choice(SHORT_WORDS)}-{rng.randint(2, 99)}",
        "Serial number": _serial,
        "Firmware": lambda rng: f"{rng.randint(1, 9)}.{rng.randint(10, 99)}.{rng.randint(100, 999)}",
        "Storage used": lambda rng: f"{rng.randint(20, 900)}.{rng.randint(1, 9)} GB",
    },
    "Network": {
        "Network name": lambda rng: f"{rng.choice(SHORT_WORDS).capitalize()} Guest {rng.randint(2, 99)}",
        "IP address": lambda rng: f"192.168.{rng.randint(0, 250)}.{rng.randint(2, 250)}",
        "Device name": lambda rng: f"{rng.choice(SHORT_WORDS)}-{rng.randint(2, 99)}",
        "Gateway": lambda rng: f"172.16.{rng.randint(0, 250)}.{rng.randint(2, 250)}",
        "Signal": lambda rng: f"-{rng.randint(31, 89)} dBm",
    },
    "Account": {
        "User": lambda rng: rng.choice(NAMES),
        "E-mail": _mail,
        "Member since": lambda rng: (
            f"{rng.choice(('March', 'April', 'June', 'October'))} {rng.randint(2008, 2024)}"
        ),
        "Licence key": _serial,
    },
    "Printer": {
        "Model": lambda rng: f"LX-{rng.randint(200, 990)}",
        "Serial number": _serial,
        "Pages printed": lambda rng: str(rng.randint(1200, 98000)),
        "Toner left": lambda rng: f"{rng.randint(3, 97)} %",
        "IP address": lambda rng: f"192.168.{rng.randint(0, 250)}.{rng.randint(2, 250)}",
        "Location": lambda rng: f"{rng.choice(CITIES)}, floor {rng.randint(2, 30)}",
    },
}


def form(stage: Stage, rng: Random, frames: Frames, area: Corners) -> None:
    """Sections that share `frames`, in a window in `area`."""
    theme = rng.choice(THEMES)
    style = text_style(rng, theme)
    rows = 2 + max(map(len, SECTIONS.values()))
    roomy = round(style.line * rng.uniform(1.5, 2.5))
    step = min(roomy, (area[3] - area[1] - bar_height(style)) // rows)
    wide = round((area[2] - area[0]) * rng.uniform(0.6, 1))
    box = settle(rng, area, wide, bar_height(style) + rows * step)
    x0, y0, x1, _ = window(stage, frames, box, "Settings", style, theme)
    side = x0 + max(style.width(name) for name in SECTIONS) + 3 * style.size
    names = rng.sample(sorted(SECTIONS), len(SECTIONS))
    opened = names[: min(rng.randint(2, 3), (frames[1] - frames[0]) // stage.fps)]
    length = (frames[1] - frames[0]) // len(opened)
    for i, name in enumerate(opened):
        start = frames[0] + i * length
        shown = (start, frames[1] if name == opened[-1] else start + length)
        row = y0 + names.index(name) * step
        stage.shape(shown, (x0 + 4, row + 4, side - 4, row + step), theme.bar, radius=4)
        _section(stage, rng, shown, name, (side + 24, y0 + step, x1), step, style, theme.dim)
    for i, name in enumerate(names):
        at = (x0 + 16, y0 + i * step + (step + style.size) // 2)
        stage.text(frames, at, name, style, "section", f"section {name}")


def _section(
    stage: Stage,
    rng: Random,
    frames: Frames,
    name: str,
    place: tuple[int, int, int],
    step: int,
    style: Style,
    dim: Colour,
) -> None:
    """The labels of a section and, in a column of their own, the values."""
    left, top, right = place
    values = left + (right - left) * 2 // 5
    for i, (label, make) in enumerate(SECTIONS[name].items()):
        base = top + i * step + style.size
        named = stage.text(frames, (left, base), label, style.tinted(dim), "form label", label)
        number = stage.text(
            frames, (values, base), make(rng), style, "form value", f"{label} in {name}", label
        )
        stage.ask(f"What is the '{label}' in the {name} settings?", "form value", number, beside=(named,))
