"""Captions that flash up: a place and a code, for 0.2 to 0.6 seconds.

Promises: each code flashes once. Where a place flashes twice, the question says which time
is meant. They do not overlap in time. Does not: fade.
"""

from random import Random

from r4agent.textworld.facts import twin
from r4agent.textworld.motion import contrast, tiny
from r4agent.textworld.stage import Frames, Stage
from r4agent.textworld.words import CODE_LETTERS
from r4agent.textworld.world import Corners

PLACES = ("Gate", "Dock", "Lane", "Bay", "Pier", "Track")


def flashes(stage: Stage, rng: Random, frames: Frames, area: Corners) -> None:
    """Three to six captions, one after another, anywhere in `area`."""
    count = rng.randint(3, 6)
    share = (frames[1] - frames[0]) // count
    places = [f"{rng.choice(PLACES)} {number}" for number in rng.sample(range(2, 40), count)]
    twice = rng.random() < 0.6
    if twice:  # the first place comes again
        places[rng.randint(1, count - 1)] = places[0]
    codes, seen = [_code(rng)], list[str]()
    for i, place in enumerate(places):
        while (code := twin(rng, codes[-1]) if rng.random() < 0.5 else _code(rng)) in codes:
            pass
        codes.append(code)
        length = max(round(rng.uniform(0.2, 0.6) * stage.fps), -(-stage.fps // 5))
        first = frames[0] + i * share + rng.randint(0, max(0, share - length - 1))
        which = ""
        if places.count(place) > 1:
            which = " the second time" if place in seen else " the first time"
        seen.append(place)
        named, number = _caption(stage, rng, (first, first + length), area, place, code)
        stage.ask(f"Which code flashes up beside '{place}'{which}?", "flash", number, beside=(named,))


def _code(rng: Random) -> str:
    return f"{rng.choice(CODE_LETTERS)}{rng.randint(1000, 9999)}{rng.choice(CODE_LETTERS)}"


def _caption(
    stage: Stage, rng: Random, frames: Frames, area: Corners, place: str, code: str
) -> tuple[int, int]:
    """Draw it; the numbers of the place and of the code."""
    ground, ink = contrast(rng)
    style = tiny(rng, ink, None, 12, 20)
    wide, high = style.width(f"{place}  {code}") + 2 * style.size, 2 * style.line
    x, y = rng.randint(area[0], area[2] - wide), rng.randint(area[1], area[3] - high)
    stage.shape(frames, (x, y, x + wide, y + high), ground)
    base = y + style.line + style.size // 3
    named = stage.text(frames, (x + style.size, base), place, style, "caption place", place)
    at = x + style.size + style.width(f"{place}  "), base
    return named, stage.text(frames, at, code, style, "caption code", f"code of {place}", "flash")
