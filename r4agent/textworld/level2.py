"""Level 2: a desktop on which terminals, receipts, tables and settings stand and pop-ups come and go.

Promises: text of 12–22 pixels an em in frames of 1280x720 to 1920x1080, 8–20 s at 10–25 frames a second;
one to three scenes of different kinds, one after another, under two to five pop-ups of 0.3–1.5 s. About one
item in twenty asks for what is not there; it has no answers and `unanswerable` in its meta.
Does not: move anything but a terminal's scrolling lines.
"""

from collections.abc import Callable
from itertools import pairwise
from random import Random

from r4agent.geometry import Size
from r4agent.textworld.form import form
from r4agent.textworld.popup import SUBJECTS, popups
from r4agent.textworld.receipt import receipt
from r4agent.textworld.stage import Frames, Stage, Style
from r4agent.textworld.table import table
from r4agent.textworld.terminal import terminal
from r4agent.textworld.window import upright
from r4agent.textworld.world import Clip, Colour, Corners

Scene = Callable[[Stage, Random, Frames, Corners], None]

SCENES: dict[str, Scene] = {"terminal": terminal, "receipt": receipt, "table": table, "form": form}
SIZES = (Size(1280, 720), Size(1366, 768), Size(1440, 900), Size(1600, 900), Size(1920, 1080))
BAR = 30
"""Height of the bar with the clock, in pixels."""

PER_KIND = 2
"""Questions of one kind in one clip, at most."""


def level2(seed: int) -> Clip:
    """The clip of this seed."""
    rng = Random(f"text world 2 {seed}")
    fps = rng.choice((10, 12, 15, 20, 25))
    stage = Stage(2, seed, rng.choice(SIZES), fps, frames=fps * rng.randint(8, 20))
    whole = (0, stage.frames)
    wall = _wall(rng)
    shift = rng.randint(-30, 25)
    red, green, blue = (max(0, tone + shift + rng.randint(-8, 8)) for tone in wall)
    stage.backdrop(whole, rng.choice(("plain", "fade", "cloud", "blocks", "tiles")), wall, (red, green, blue))
    _clock(stage, rng)
    area = (0, BAR, stage.size.width, stage.size.height)
    names = rng.sample(sorted(SCENES), rng.randint(1, 3 if stage.frames > 12 * fps else 2))
    cuts = [stage.frames * i // len(names) for i in range(len(names) + 1)]
    for name, frames in zip(names, pairwise(cuts), strict=True):
        SCENES[name](stage, rng, frames, _part(rng, area))
    subjects = popups(stage, rng, area)
    if rng.random() < 0.5:
        _ask_in_vain(stage, rng, names, subjects)
    return stage.clip(PER_KIND)


def _wall(rng: Random) -> Colour:
    """A subdued colour for the desktop's background, dark or light."""
    grey = rng.choice((rng.randint(30, 90), rng.randint(110, 190)))
    red, green, blue = (grey + rng.randint(-25, 35) for _ in range(3))
    return red, green, blue


def _part(rng: Random, area: Corners) -> Corners:
    """Most of `area`, set off from its edges by chance."""
    wide, high = area[2] - area[0], area[3] - area[1]
    x0, x1 = (round(wide * rng.uniform(0.01, 0.1)) for _ in range(2))
    y0, y1 = (round(high * rng.uniform(0.02, 0.08)) for _ in range(2))
    return area[0] + x0, area[1] + y0, area[2] - x1, area[3] - y1


def _clock(stage: Stage, rng: Random) -> None:
    """A bar along the top with a clock that ticks."""
    stage.shape((0, stage.frames), (0, 0, stage.size.width, BAR), (28, 30, 36))
    style = Style(rng.choice(upright()), 14, (225, 225, 230))
    now = rng.randrange(24 * 3600)
    for second in range(stage.frames // stage.fps):
        minutes, seconds = divmod((now + second) % 86400, 60)
        string = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
        frames = (second * stage.fps, (second + 1) * stage.fps)
        at = (stage.size.width - style.width(string) - 16, 20)
        stage.text(frames, at, string, style, "clock", "clock")


def _ask_in_vain(stage: Stage, rng: Random, names: list[str], subjects: list[str]) -> None:
    """Ask for a pop-up, or a receipt, that the clip does not have."""
    absent = rng.choice([subject for subject in SUBJECTS if subject not in subjects])
    vain = [f"What does the pop-up about '{absent}' say?"]
    if "receipt" not in names:
        vain.append("What is the total on the receipt?")
    stage.ask(rng.choice(vain), "unanswerable", None)
