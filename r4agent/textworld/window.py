"""A window on the desktop of level 2: its colours, its frame, and running text inside it.

Promises: text colours differ from their ground by at least 80 of 255 in brightness, so that they survive
video's coarse colour. Does not: overlap windows.
"""

from dataclasses import dataclass
from random import Random

from r4agent.textworld.fonts import Face, plain_fonts
from r4agent.textworld.stage import Frames, Stage, Style
from r4agent.textworld.world import Colour, Corners


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a window. ground, bar: behind text. ink, dim, accent: text. line: rules and borders."""

    ground: Colour
    bar: Colour
    ink: Colour
    dim: Colour
    accent: Colour
    line: Colour


LIGHT = Theme((252, 252, 250), (232, 234, 238), (25, 28, 34), (95, 100, 110), (20, 80, 190), (205, 208, 214))
SAND = Theme((250, 244, 232), (236, 226, 206), (45, 38, 30), (115, 98, 76), (160, 62, 20), (214, 202, 178))
DARK = Theme((30, 32, 40), (48, 51, 62), (225, 228, 234), (150, 156, 168), (110, 190, 255), (74, 78, 92))
NIGHT = Theme((12, 14, 18), (34, 38, 44), (215, 220, 215), (140, 150, 145), (120, 220, 140), (58, 64, 70))
THEMES = (LIGHT, SAND, DARK, NIGHT)


def text_style(rng: Random, theme: Theme, small: int = 13, large: int = 20) -> Style:
    """A style for the running text of a window."""
    return Style(rng.choice(upright()), rng.randint(small, large), theme.ink)


def upright() -> tuple[Face, ...]:
    """Faces that a desktop would use: not bold, so that titles can be told from text."""
    return tuple(face for face in plain_fonts() if "bold" not in face.name.lower())


def window(stage: Stage, frames: Frames, box: Corners, title: str, style: Style, theme: Theme) -> Corners:
    """Draw an empty window and return the inside of it."""
    x0, y0, x1, y1 = box
    bar = bar_height(style)
    stage.shape(frames, box, theme.ground, theme.line, radius=6)
    stage.shape(frames, (x0, y0, x1, y0 + bar), theme.bar, theme.line, radius=6)
    for i, tint in enumerate(((230, 90, 80), (230, 185, 60), (90, 180, 90))):
        left, top = x0 + 12 + 20 * i, y0 + bar // 2 - 6
        stage.shape(frames, (left, top, left + 12, top + 12), tint, radius=5)
    at = (x0 + 84, y0 + (bar + style.face.cap_height(style.size)) // 2)
    stage.text(frames, at, title, style.tinted(theme.dim), "title", f"title of {title}")
    return x0 + 1, y0 + bar + 1, x1 - 1, y1 - 1


def bar_height(style: Style) -> int:
    """Height of the title bar of a window, in pixels."""
    return style.size + 16


def settle(rng: Random, area: Corners, width: int, height: int) -> Corners:
    """A box of this size, or less where `area` is smaller, somewhere in `area`."""
    width, height = min(width, area[2] - area[0]), min(height, area[3] - area[1])
    left, top = rng.randint(area[0], area[2] - width), rng.randint(area[1], area[3] - height)
    return left, top, left + width, top + height


def inset(box: Corners, dx: int, dy: int) -> Corners:
    """`box` less a margin."""
    return box[0] + dx, box[1] + dy, box[2] - dx, box[3] - dy
