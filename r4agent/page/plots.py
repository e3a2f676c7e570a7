"""Plots: bars with intervals, accuracy-per-cost curves and curves of a training run, as SVG within a page.

Promises: axes with their units, legible at a phone's width and in the dark (colours are the page's own, by
class); each plot is told in words as well, and series differ by dash as well as by colour.
Does not: compute statistics.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from r4agent.page.wording import number, visible

WIDTH, SERIES = 360, 6  # drawn at a phone's width; colours that the style has
Points = Sequence[tuple[float, float]]


class Bar(NamedTuple):
    """A share with its interval, each 0–1; None where there is none."""

    value: float | None
    low: float = 0.0
    high: float = 0.0


def bars(groups: Mapping[str, Sequence[Bar]], names: Sequence[str], title: str) -> Markup:
    """A group of bars for each metric, a bar for each of `names`, with whiskers; the axis is 0 to 100 %."""
    left, right, thick, gap = 108, 44, 14, 12
    room = WIDTH - left - right
    parts: list[Markup] = []
    y = 4.0
    for metric, values in groups.items():
        parts.append(_text(left - 8, y + len(values) * thick / 2 + 4, metric, "end"))
        for index, bar in enumerate(values):
            parts += _bar(bar, index, left, y, room, thick)
            y += thick
        y += gap
    grid = [_line(left + room * s / 4, 0, left + room * s / 4, y - 6, "grid") for s in range(5)]
    ticks = [_text(left + room * s / 4, y + 8, f"{25 * s} %", "middle") for s in range(5)]
    words = "; ".join(
        f"{metric}: " + ", ".join(_said(bar, names[i]) for i, bar in enumerate(values))
        for metric, values in groups.items()
    )
    return _svg(y + 14, f"{title}. {words}", [*grid, *parts, *ticks])


def curves(series: Sequence[Points], names: Sequence[str], cost: str) -> Markup:
    """Steps of the share right at a cost of at most x, one for each of `names`."""
    left, right, top, bottom, height = 40, 12, 8, 34, 220
    most = max((points[-1][0] for points in series if points), default=0.0)
    step = nice_step(most / 4) if most > 0 else 1.0
    end = step * max(1, math.ceil(most / step - 1e-9))
    across, down = WIDTH - left - right, height - top - bottom

    def at(x: float, y: float) -> tuple[float, float]:
        return left + across * min(x / end, 1), top + down * (1 - y)

    parts = []
    for share in range(0, 101, 25):
        _, y = at(0, share / 100)
        parts += [_line(left, y, WIDTH - right, y, "grid"), _text(left - 6, y + 4, f"{share} %", "end")]
    for tick in range(round(end / step) + 1):
        x, y = at(tick * step, 0)
        parts += [_line(x, y, x, y + 4, "tick"), _text(x, y + 16, _short(tick * step), "middle")]
    parts.append(_text(left + across / 2, height - 3, cost, "middle"))
    for index, points in enumerate(series):
        parts.append(_steps([at(x, y) for x, y in points], at(0, 0), at(end, 0)[0], index))
    ends = [
        f"{name}: {_percent(p[-1][1])} at {number(p[-1][0])}"
        for name, p in zip(names, series, strict=True)
        if p
    ]
    return _svg(height, f"Share right against {cost}. {'; '.join(ends)}", parts)


def trend(points: Points, name: str) -> Markup:
    """A line through (step, value) in the order of steps, on axes from the least to the most of each. Of more
    points than the plot has room for, means of neighbours."""
    left, right, top, bottom, height = 64, 12, 8, 34, 160
    points = _thinned(points, (WIDTH - left - right) // 2)
    across, down = WIDTH - left - right, height - top - bottom
    first, last = points[0][0], points[-1][0]
    low, high = min(y for _, y in points), max(y for _, y in points)

    def at(x: float, y: float) -> tuple[float, float]:
        share = (y - low) / (high - low) if high > low else 0.5
        return left + across * (x - first) / max(last - first, 1), top + down * (1 - share)

    parts = []
    for y in sorted({low, (low + high) / 2, high}):
        parts += [_line(left, at(0, y)[1], WIDTH - right, at(0, y)[1], "grid")]
        parts += [_text(left - 6, at(0, y)[1] + 4, f"{y:.3g}", "end")]
    for x, anchor in {first: "start", last: "end"}.items():
        parts += [_line(at(x, low)[0], top + down, at(x, low)[0], top + down + 4, "tick")]
        parts += [_text(at(x, low)[0], top + down + 16, f"{x:.0f}", anchor)]
    parts.append(_text(left + across / 2, height - 3, "step", "middle"))
    path = "L".join(" ".join(_n(v) for v in at(x, y)) for x, y in points)
    parts.append(Markup('<path class="curve s0" d="M{}"/>').format(path))
    said = f"{number(points[0][1])} at step {first:.0f}, {number(points[-1][1])} at step {last:.0f}"
    return _svg(height, f"{name} by step: {said}, from {number(low)} to {number(high)}", parts)


def _thinned(points: Points, most: int) -> Points:
    """At most so many points: each the mean of neighbours."""
    size = math.ceil(len(points) / most)
    parts = [points[at : at + size] for at in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def curve_table(
    series: Sequence[Points], names: Sequence[str], steps: int = 5
) -> list[tuple[str, list[str]]]:
    """The curves as rows: a cost, and each series' share there."""
    most = max((points[-1][0] for points in series if points), default=0.0)
    rows = []
    for part in range(1, steps + 1):
        x = most * part / steps
        shares = [max((y for at, y in points if at <= x), default=0.0) for points in series]
        rows.append((_short(x), [_percent(share) for share in shares]))
    return rows


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `least`."""
    least = max(least, 1e-300)  # a share of the smallest floats is 0, of which there is no logarithm
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= least * (1 - 1e-9))


def _bar(bar: Bar, index: int, left: float, y: float, room: float, thick: float) -> list[Markup]:
    if bar.value is None:
        return [_text(left + 4, y + thick - 3, "none", "start")]
    middle, low, high = y + thick / 2, left + room * bar.low, left + room * bar.high
    return [
        Markup('<rect class="bar s{}" x="{}" y="{}" width="{}" height="{}"/>').format(
            index % SERIES, left, y + 1, _n(max(0.5, room * bar.value)), thick - 2
        ),
        _line(low, middle, high, middle, "whisker"),
        _line(low, middle - 3, low, middle + 3, "whisker"),
        _line(high, middle - 3, high, middle + 3, "whisker"),
        _text(WIDTH, y + thick - 3, _percent(bar.value), "end"),
    ]


def _steps(points: Points, origin: tuple[float, float], end: float, index: int) -> Markup:
    """A line that is level between points and rises at each."""
    path, y = f"M{_n(origin[0])} {_n(origin[1])}", origin[1]
    for x, higher in points:
        path += f"H{_n(x)}V{_n(higher)}"
        y = higher
    return (
        Markup('<path class="curve s{}" d="{}H{}"/>').format(index % SERIES, path, _n(end))
        if y
        else Markup("")
    )


def _svg(height: float, words: str, parts: Sequence[Markup]) -> Markup:
    opening = Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    return opening.format(WIDTH, _n(height), visible(words)) + Markup("").join(parts) + Markup("</svg>")


def _line(x0: float, y0: float, x1: float, y1: float, kind: str) -> Markup:
    line = Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    return line.format(kind, *(_n(v) for v in (x0, y0, x1, y1)))


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    label = Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>')
    return label.format(_n(x), _n(y), anchor, escape(visible(text)))


def _said(bar: Bar, name: str) -> str:
    if bar.value is None:
        return f"{name} none"
    return f"{name} {_percent(bar.value)} ({_percent(bar.low)} to {_percent(bar.high)})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share in (0, 1) else f"{100 * share:.1f} %"


def _short(value: float) -> str:
    """A tick's label: 12k, 0.5, 40."""
    if value >= 10_000:
        return f"{value / 1000:.4g}k"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
