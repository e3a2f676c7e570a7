"""A terminal in which a session runs: lines appear, status lines are overwritten, and the window scrolls.

Promises: every run of text of the session is a Text with its own track. Does not: emulate a real terminal.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from r4agent.textworld.fonts import mono_fonts
from r4agent.textworld.session import COMMANDS, Command, Line, typed
from r4agent.textworld.stage import Frames, Stage, Style
from r4agent.textworld.window import DARK, LIGHT, NIGHT, Theme, inset, settle, window
from r4agent.textworld.words import FOLDERS
from r4agent.textworld.world import Colour, Corners

COLUMNS = 80  # the longest line that a session prints is shorter


@dataclass(frozen=True, slots=True)
class Timed:
    """A line with its row in the session and the frame it appears in; a brief one ends at `gone`."""

    line: Line
    row: int
    first: int
    gone: int


def terminal(stage: Stage, rng: Random, frames: Frames, area: Corners) -> None:
    """A session that fills `frames`, in a window as wide as `area`."""
    theme = rng.choice((DARK, NIGHT, NIGHT, LIGHT))
    face = rng.choice([face for face in mono_fonts() if "bold" not in face.name.lower()] or mono_fonts())
    inside = (area[2] - area[0] - 40) / COLUMNS
    fit = [size for size in range(12, 23) if Style(face, size, theme.ink).width("M" * 10) / 10 <= inside]
    style = Style(face, rng.choice(fit), theme.ink)
    high = round((area[3] - area[1]) * rng.uniform(0.35, 1))
    box = settle(rng, area, area[2] - area[0], high)
    title = f"dev@laptop: ~/{rng.choice(FOLDERS)}"
    left, top, _, bottom = inset(window(stage, frames, box, title, style, theme), 12, 10)
    rows = (bottom - top) // style.line
    lines = list(_session(rng, frames, stage.fps))
    scroll = _scroll(lines, rows, frames)
    for timed in lines:
        if track := list(_track(timed, scroll)):  # in a burst, a line can pass between two frames
            _print(stage, timed, track, style, theme, (left, top + style.size))


def _session(rng: Random, frames: Frames, fps: int) -> Iterator[Timed]:
    """Commands until the time is up; the last half second prints nothing."""
    now, row, last = frames[0], 0, frames[1] - max(1, fps // 2)
    deck: list[Callable[[Random], Command]] = []
    while True:
        deck = deck or rng.sample(COMMANDS, len(COMMANDS))
        command, output = deck.pop()(rng)
        pace = rng.choice((0.02, 0.08, 0.2))
        for line in (typed(command), *output):
            if now >= last:
                return
            stay = rng.uniform(0.3, 0.7) if line.brief else rng.uniform(0.5, 1.5) * pace
            later = now + (max(2, round(stay * fps)) if line.brief else round(stay * fps))
            yield Timed(line, row, now, gone=later if line.brief else frames[1])
            now, row = later, row + (not line.brief)
        now += round(rng.uniform(0.2, 0.8) * fps)


def _scroll(lines: list[Timed], rows: int, frames: Frames) -> list[tuple[Frames, int]]:
    """The spans in which the session stands still, each with the row that is at the top in it."""
    moves = {frames[0]: 0}
    for timed in lines:
        moves[timed.first] = max(0, timed.row - rows + 1)
    return [((a, b), moves[a]) for a, b in pairwise([*moves, frames[1]])]


def _track(timed: Timed, scroll: list[tuple[Frames, int]]) -> Iterator[tuple[Frames, int]]:
    """Where the line stands: spans, each with its row on the screen; neighbours on one row are joined."""
    spans: dict[int, Frames] = {}
    for (first, stop), top in scroll:
        first, stop, row = max(first, timed.first), min(stop, timed.gone), timed.row - top
        if first < stop and row >= 0:
            spans[row] = (spans[row][0] if row in spans else first, stop)
    yield from ((span, row) for row, span in spans.items())


def _print(
    stage: Stage,
    timed: Timed,
    track: list[tuple[Frames, int]],
    style: Style,
    theme: Theme,
    origin: tuple[int, int],
) -> None:
    """Draw the runs of a line wherever the line stands, and ask what they answer."""
    before = ""
    for run in timed.line.runs:
        blank = len(run.string) - len(run.string.lstrip())
        string, x = run.string.strip(), origin[0] + style.width(before + run.string[:blank])
        before += run.string
        (frames, row), *moved = track
        at, tinted = (x, origin[1] + row * style.line), style.tinted(_tint(run.tint, theme))
        role, alike = f"line {timed.row + 1}", run.ask[1] if run.ask else ""
        number = stage.text(frames, at, string, tinted, timed.line.kind, role, alike)
        for later, row in moved:
            stage.again(number, later, (x, origin[1] + row * style.line))
        if run.ask:
            stage.ask(run.ask[0], run.ask[1], number)


def _tint(name: str, theme: Theme) -> Colour:
    light = theme is LIGHT
    return {
        "ink": theme.ink,
        "dim": theme.dim,
        "accent": theme.accent,
        "good": (20, 110, 40) if light else (120, 220, 130),
        "bad": (175, 25, 25) if light else (255, 135, 125),
    }[name]
