"""The time line: where in the media a run looked, as lanes of marks from the media's start to its end.

Promises: positions are percent of the whole length, true to the presentation times; for documents the
pages stand in their order.
Does not: draw.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from r4agent.media.view import Picture
from r4agent.page.wording import counted, moment

MOST_TICKS = 7
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


class Seen(Protocol):
    """What of a sight the time line needs."""

    @property
    def anchor(self) -> str: ...
    @property
    def picture(self) -> Picture: ...
    @property
    def kind(self) -> str: ...
    @property
    def words(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Point:
    """x, width: percent; a width of 0 is a moment. anchor: the picture's id in the page, "" without one."""

    x: float
    width: float
    anchor: str
    words: str


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    kind: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """lanes from top to bottom. ticks: percent and label. words: all of it as a sentence."""

    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, str], ...]
    words: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """From a time or a page to percent. paged: positions are frame numbers, each with a width."""

    start: float
    end: float
    paged: bool

    def x(self, value: float) -> float:
        return round(100 * (value - self.start) / (self.end - self.start), 3)

    def point(self, time: float | None, frame: int, anchor: str, words: str) -> Point:
        if self.paged or time is None:
            return Point(self.x(frame), self.x(self.start + 1), anchor, words)
        return Point(self.x(time), 0, anchor, words)


def timeline(
    media: dict[str, Any], sights: Iterable[Seen], evidence: Sequence[dict[str, Any]]
) -> Timeline | None:
    """The time line of a run; None for a single picture, which has none."""
    sights = list(sights)
    if media["kind"] == "image" or (media["count"] or 0) < 2:
        return None
    scale = _scale(media, sights)
    noun = {"pdf": "page", "images": "picture"}.get(media["kind"], "frame")
    lanes = []
    for kind, name in (("overview", "overview"), ("chosen", "chosen"), ("region", "zoomed")):
        points = tuple(
            scale.point(s.picture.view.time, s.picture.view.frame, s.anchor, s.words)
            for s in sights
            if s.kind == kind
        )
        if points:
            lanes.append(Lane(name, kind, points))
    proofs = tuple(
        scale.point(place["time"], (place["page"] or 1) - 1, "evidence", f"evidence: {place['text']}")
        for place in evidence
    )
    if proofs:
        lanes.append(Lane("evidence", "evidence", proofs))
    counts = ", ".join(f"{len(lane.points)} {lane.name}" for lane in lanes) or "nothing looked at"
    whole = counted(media["count"], noun) if scale.paged else f"{moment(scale.start)} to {moment(scale.end)}"
    return Timeline(tuple(lanes), _ticks(scale), f"Time line, {whole}: {counts}.")


def _scale(media: dict[str, Any], sights: Sequence[Seen]) -> _Scale:
    if not media["duration"]:
        return _Scale(0, media["count"], paged=True)
    times = [s.picture.view.time for s in sights if s.picture.view.time is not None]
    return _Scale(min([0.0, *times]), max([float(media["duration"]), *times]), paged=False)


def _ticks(scale: _Scale) -> tuple[tuple[float, str], ...]:
    length = scale.end - scale.start
    if scale.paged:
        every = max(1, math.ceil(length / MOST_TICKS))
        return tuple((scale.x(page + 0.5), str(page + 1)) for page in range(0, round(length), every))
    step_s = next(
        (s for s in STEPS if length / s <= MOST_TICKS), math.ceil(length / MOST_TICKS / 3600) * 3600
    )
    first = math.ceil(scale.start / step_s)
    last = math.floor(scale.end / step_s)
    return tuple((scale.x(at * step_s), _label(at * step_s, step_s)) for at in range(first, last + 1))


def _label(time: float, step: float) -> str:
    if step < 1:
        return f"{time:.1f}"
    minutes, rest = divmod(round(time), 60)
    if step < 60 and time < 60:
        return f"{rest} s"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
