"""Boards crowded with tiny gauges: a label and a reading on each, two boards with the same labels.

Promises: a board's label stands once on it; the boards are told apart by their titles. Small notes drift
over them and cover some. Does not: change a reading.
"""

from random import Random

from r4agent.textworld.facts import twin
from r4agent.textworld.motion import contrast, tiny
from r4agent.textworld.stage import Frames, Loose, Stage
from r4agent.textworld.world import Corners

HALLS = ("North hall", "South hall", "Upper deck", "Lower deck", "Old wing", "New wing")
UNITS = ("kPa", "rpm", "mV", "l/s", "ppm")


def gauges(stage: Stage, rng: Random, frames: Frames, area: Corners) -> None:
    """Two boards, one above the other, in `area`."""
    middle = (area[1] + area[3]) // 2
    labels = [f"{rng.choice('PTVK')}-{number}" for number in rng.sample(range(10, 99), 60)]
    readings: dict[str, str] = {}
    taken: set[str] = set()
    for hall, top, foot in zip(rng.sample(HALLS, 2), (area[1], middle), (middle, area[3]), strict=True):
        box = area[0] + rng.randint(8, 30), top + rng.randint(8, 20), area[2] - rng.randint(8, 30), foot - 8
        _board(stage, rng, frames, box, hall, rng.sample(labels, len(labels)), readings, taken)
    _notes(stage, rng, frames, area)


def _board(
    stage: Stage,
    rng: Random,
    frames: Frames,
    box: Corners,
    hall: str,
    labels: list[str],
    readings: dict[str, str],
    taken: set[str],
) -> None:
    """Gauges in rows; `readings` holds what the other board shows at a label."""
    ground, ink = contrast(rng)
    style = tiny(rng, ink, None, 10, 13)
    wide = style.width("P-00  99999 kPa") + 2 * style.size
    step = round(style.line * rng.uniform(1.15, 1.5))
    columns = max(1, (box[2] - box[0] - 16) // wide)
    rows = min((box[3] - box[1]) // step - 2, -(-len(labels) // columns))
    box = box[0], box[1], box[2], box[1] + step * (rows + 1) + style.line
    stage.shape(frames, box, ground, ink)
    title = box[0] + 12, box[1] + style.line
    known = stage.text(frames, title, hall, style, "board title", hall)
    for i, label in enumerate(labels[: columns * rows]):
        x = box[0] + 12 + (i % columns) * wide + rng.randint(0, style.size // 2)
        y = box[1] + style.line + step * (i // columns + 1)
        reading = _reading(rng, readings.get(label), taken)
        readings[label] = reading
        named = stage.text(frames, (x, y), label, style, "gauge label", f"{label} in {hall}")
        at = x + style.width(f"{label}  "), y
        number = stage.text(frames, at, reading, style, "gauge", f"reading of {label} in {hall}", label)
        words = f"What does the gauge '{label}' on the board '{hall}' read?"
        stage.ask(words, "gauge", number, beside=(named, known))


def _reading(rng: Random, other: str | None, taken: set[str]) -> str:
    """A number with its unit that no gauge shows, often close to what the other board shows there."""
    while True:
        fresh = f"{rng.randint(100, 9899)} {rng.choice(UNITS)}"
        reading = twin(rng, other) if other and rng.random() < 0.5 else fresh
        if reading not in taken:
            taken.add(reading)
            return reading


def _notes(stage: Stage, rng: Random, frames: Frames, area: Corners) -> None:
    """Two to five small windows that drift over the boards, empty but for a word."""
    for word in rng.sample(("Muted", "Paused", "Live", "Zoom", "Draft", "Alarm off"), rng.randint(2, 5)):
        ground, ink = contrast(rng)
        style = tiny(rng, ink, area, 11, 14)
        wide, high = style.width(word) + 60, 2 * style.line
        x, y = rng.randint(area[0], area[2] - wide), rng.randint(area[1], area[3] - high)
        pace = rng.choice((0, 1, 2))
        _drift(stage, frames, (x, y, wide, high), pace, word, style, ground)


def _drift(
    stage: Stage,
    frames: Frames,
    place: tuple[int, int, int, int],
    pace: int,
    word: str,
    style: Loose,
    ground: tuple[int, int, int],
) -> None:
    """A window that moves downward by `pace` pixels every second frame until its area ends."""
    x, y, wide, high = place
    assert style.view
    number = -1
    last = (style.view[3] - high - y) // pace if pace else 0
    first = frames[0]
    for i in range((frames[1] - frames[0] + 1) // 2 if pace else 1):
        span = (first + 2 * i, min(first + 2 * i + 2, frames[1])) if pace else frames
        top = y + pace * min(i, last)
        stage.shape(span, (x, top, x + wide, top + high), ground, style.fill)
        at = x + 30, top + style.line + style.size // 3
        if number < 0:
            number = stage.text(span, at, word, style, "note", word)
        else:
            stage.again(number, span, at)
