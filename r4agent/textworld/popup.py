"""Transient things that lie over the desktop of level 2: toasts, dialogs and tooltips, 0.3–1.5 s each.

Promises: one at a time, the first one shorter than a second. What it covers is not shown meanwhile. Two may
be on one subject and say different things; the question then says which is meant. Does not: fade in or slide.
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from r4agent.textworld.fonts import plain_fonts
from r4agent.textworld.stage import Frames, Stage, Style
from r4agent.textworld.window import THEMES, Theme, upright
from r4agent.textworld.words import FILES, NAMES
from r4agent.textworld.world import Corners

SUBJECTS = (
    "backup", "battery", "update", "printer", "calendar", "network", "download", "security", "storage",
    "message", "sync", "camera",
)  # fmt: skip
METRICS = ("load", "visits", "price", "heat", "flow", "noise", "speed", "demand")


class Topic(NamedTuple):
    """What a pop-up is about. which: "first " or "second " where there are two about it."""

    subject: str
    which: str = ""


def popups(stage: Stage, rng: Random, area: Corners) -> list[str]:
    """Two to five of them over the whole clip, inside `area`; returns their subjects."""
    spans = list(_spans(rng, stage))
    subjects = rng.sample(SUBJECTS, len(spans))
    makers = [rng.choice((_notice, _notice, _counter, _tooltip)) for _ in spans]
    topics = [Topic(subject) for subject in subjects]
    if makers[0] is not _tooltip and rng.random() < 0.5:  # the first one comes again, with other words
        again = rng.randint(1, len(spans) - 1)
        makers[again] = makers[0]
        topics[0], topics[again] = Topic(subjects[0], "first "), Topic(subjects[0], "second ")
    for frames, topic, make in zip(spans, topics, makers, strict=True):
        theme = rng.choice(THEMES)
        style = Style(rng.choice(upright()), rng.randint(13, 18), theme.ink)
        make(stage, rng, frames, area, topic, style, theme)
    return subjects


def _spans(rng: Random, stage: Stage) -> Iterator[Frames]:
    count = rng.randint(2, 5)
    share = stage.frames // count
    for i in range(count):
        seconds = rng.uniform(0.3, 0.9) if i == 0 else rng.uniform(0.3, 1.5)
        length = max(2, round(seconds * stage.fps))
        first = i * share + rng.randint(0, share - length - 1)
        yield first, first + length


def _sentence(rng: Random, subject: str) -> str:
    """One short line that could stand in a pop-up on this subject."""
    number = rng.randint(2, 98)
    return {
        "backup": f"Last copy is {number} days old",
        "battery": f"{number} percent left, {rng.randint(2, 59)} minutes",
        "update": f"Release {rng.randint(2, 19)}.{number} is ready",
        "printer": f"Tray {rng.randint(2, 9)} is out of paper",
        "calendar": f"{rng.choice(NAMES)} moved it to {rng.randint(8, 18)}:{rng.randint(10, 59)}",
        "network": f"Joined Cafe-{number} without a password",
        "download": f"{rng.choice(FILES)} was saved",
        "security": f"Code {rng.randint(100_000, 999_999)} is valid for {number} s",
        "storage": f"Only {number} GB are free",
        "message": f"{rng.choice(NAMES)}: see you at gate {number}",
        "sync": f"{number} files could not be copied",
        "camera": f"In use by {rng.choice(NAMES)}",
    }[subject]


def _notice(
    stage: Stage, rng: Random, frames: Frames, area: Corners, topic: Topic, style: Style, theme: Theme
) -> None:
    """A toast in a corner or a dialog in the middle: a title and a sentence, sometimes two buttons."""
    subject, which = topic
    body = _sentence(rng, subject)
    dialog = rng.random() < 0.4
    bold = Style(rng.choice([f for f in plain_fonts() if "bold" in f.name.lower()] or plain_fonts()),
                 style.size, theme.ink)  # fmt: skip
    title = subject.capitalize()
    lines = 4 if dialog else 2
    width = max(style.width(body), bold.width(title), 220) + 4 * style.size
    height = lines * style.line + 2 * style.size
    left, top = _corner(rng, area, width, height, middle=dialog)
    stage.shape(frames, (left, top, left + width, top + height), theme.ground, theme.dim, radius=8)
    x, y = left + 2 * style.size, top + style.size // 2 + style.line
    stage.text(frames, (x, y), title, bold, "pop-up title", subject)
    number = stage.text(frames, (x, y + style.line), body, style, "pop-up", f"body of {subject}", subject)
    stage.ask(f"What does the {which}pop-up about '{subject}' say?", "pop-up text", number)
    if dialog:
        for i, word in enumerate(("Cancel", "OK")):
            edge = left + width - (190 - 92 * i)
            base = y + 3 * style.line - 4
            stage.shape(
                frames, (edge, base - style.line, edge + 84, base + 8), theme.bar, theme.line, radius=5
            )
            at = (edge + (84 - style.width(word)) // 2, base - style.line // 2 + style.size // 2 + 2)
            stage.text(frames, at, word, style.tinted(theme.accent), "button", word)


def _counter(
    stage: Stage, rng: Random, frames: Frames, area: Corners, topic: Topic, style: Style, theme: Theme
) -> None:
    """A toast with a number in it that is asked for."""
    subject, which = topic
    label, value = f"{subject.capitalize()} ticket", str(rng.randint(1000, 99_999))
    width = style.width(f"{label}  {value}") + 4 * style.size
    left, top = _corner(rng, area, width, 2 * style.line, middle=False)
    stage.shape(frames, (left, top, left + width, top + 2 * style.line), theme.ground, theme.accent, radius=6)
    base = top + style.line + style.size // 3
    stage.text(frames, (left + 2 * style.size, base), label, style, "pop-up title", subject)
    at = (left + width - 2 * style.size - style.width(value), base)
    number = stage.text(
        frames, at, value, style.tinted(theme.accent), "pop-up number", f"number of {subject}", subject
    )
    stage.ask(f"What number does the {which}'{subject} ticket' pop-up show?", "pop-up number", number)


def _tooltip(
    stage: Stage, rng: Random, frames: Frames, area: Corners, topic: Topic, style: Style, theme: Theme
) -> None:
    """A small box beside the pointer: a label and a value."""
    label, value = (
        f"{rng.choice(METRICS)} at {rng.randint(2, 12)}:00",
        f"{rng.randint(10, 999)}.{rng.randint(0, 9)}",
    )
    width = style.width(f"{label}: {value}") + style.size
    left, top = _corner(rng, area, width, style.line + 6, middle=True)
    stage.shape(frames, (left, top, left + width, top + style.line + 6), theme.ground, theme.dim)
    base = top + style.line
    stage.text(frames, (left + style.size // 2, base), f"{label}:", style, "tooltip label", topic.subject)
    at = (left + width - style.size // 2 - style.width(value), base)
    number = stage.text(frames, at, value, style, "tooltip", f"value of {label}")
    stage.ask(f"What value does the tooltip '{label}' show?", "tooltip value", number)


def _corner(rng: Random, area: Corners, width: int, height: int, middle: bool) -> tuple[int, int]:
    """The upper left corner of a box in a corner of `area`, or anywhere near its middle."""
    x0, y0, x1, y1 = area[0] + 16, area[1] + 16, area[2] - width - 16, area[3] - height - 16
    if middle:
        return rng.randint(x0 + (x1 - x0) // 4, x1 - (x1 - x0) // 4), rng.randint(
            y0 + (y1 - y0) // 4, y1 - (y1 - y0) // 4
        )
    return rng.choice((x0, x1)), rng.choice((y0, y1))
