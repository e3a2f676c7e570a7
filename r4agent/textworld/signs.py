"""Signs that pass: coloured boards that drive, climb, swell or stand askew, with a code on each.

Promises: no two signs of a clip have one colour. Codes resemble each other. Does not: turn while moving.
"""

from math import cos, radians, sin
from random import Random

from r4agent.textworld.facts import twin
from r4agent.textworld.level0 import COLOURS
from r4agent.textworld.motion import sized, tiny
from r4agent.textworld.stage import Frames, Loose, Stage
from r4agent.textworld.words import CODE_LETTERS
from r4agent.textworld.world import Colour, Corners, luma


def signs(stage: Stage, rng: Random, frames: Frames, area: Corners) -> None:
    """Three to six signs, each for a part of `frames`, in lanes of `area`."""
    colours = rng.sample(sorted(COLOURS), rng.randint(3, 6))
    lane = (area[3] - area[1]) // len(colours)
    codes = [_code(rng)]
    for i, colour in enumerate(colours):
        while (code := twin(rng, codes[-1]) if rng.random() < 0.5 else _code(rng)) in codes:
            pass
        codes.append(code)
        length = min(frames[1] - frames[0], rng.randint(stage.fps, 4 * stage.fps))
        first = rng.randint(frames[0], frames[1] - length)
        box = area[0], area[1] + i * lane, area[2], area[1] + (i + 1) * lane
        number = rng.choice((_driving, _driving, _swelling, _askew))(
            stage, rng, (first, first + length), box, COLOURS[colour], code
        )
        stage.ask(f"What does the {colour} sign say?", "moving sign", number, carrier=COLOURS[colour])


def _code(rng: Random) -> str:
    return "".join(rng.choices(CODE_LETTERS, k=3)) + str(rng.randint(100, 9999))


def _ink(ground: Colour) -> Colour:
    return (10, 10, 10) if luma(ground) > 120 else (250, 250, 250)


def _driving(stage: Stage, rng: Random, frames: Frames, box: Corners, ground: Colour, code: str) -> int:
    """Along its lane, from one edge towards the other."""
    style = tiny(rng, _ink(ground), box, 11, 18)
    wide, high = (side + 2 * style.size for side in style.ink(code))
    top = rng.randint(box[1], max(box[1], box[3] - high))
    ends = [box[0] - wide // 2, box[2] - wide // 2]
    rng.shuffle(ends)
    number = -1
    length = frames[1] - frames[0]
    for i in range(length):
        left = ends[0] + (ends[1] - ends[0]) * i // length
        number = _board(stage, (frames[0] + i, frames[0] + i + 1), (left, top, left + wide, top + high),
                        box, ground, code, style, number)  # fmt: skip
    return number


def _swelling(stage: Stage, rng: Random, frames: Frames, box: Corners, ground: Colour, code: str) -> int:
    """Where it is, larger and larger, as when it comes nearer."""
    face, number, length = tiny(rng, ground).face, -1, frames[1] - frames[0]
    most = rng.randint(18, 26)
    x, y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    for i in range(length):
        style = Loose(face, sized(face, 10 + (most - 10) * i // length), _ink(ground), view=box)
        wide, high = (side + 2 * style.size for side in style.ink(code))
        left, top = x - wide // 2, y - high // 2
        number = _board(stage, (frames[0] + i, frames[0] + i + 1), (left, top, left + wide, top + high),
                        box, ground, code, style, number)  # fmt: skip
    return number


def _board(
    stage: Stage,
    frames: Frames,
    board: Corners,
    view: Corners,
    ground: Colour,
    code: str,
    style: Loose,
    number: int,
) -> int:
    """A board with its code for one frame, cut where it leaves `view`; the number of the text."""
    shown = max(board[0], view[0]), max(board[1], view[1]), min(board[2], view[2]), min(board[3], view[3])
    if shown[0] < shown[2] and shown[1] < shown[3]:
        stage.shape(frames, shown, ground, _ink(ground))
    at = style.place(code, board[0] + style.size, board[1] + style.size)
    if number < 0:
        return stage.text(frames, at, code, style, "moving sign", code, "moving sign")
    stage.again(number, frames, at, style)
    return number


def _askew(stage: Stage, rng: Random, frames: Frames, box: Corners, ground: Colour, code: str) -> int:
    """Turned by up to 25 degrees, drifting."""
    angle = rng.uniform(4, 25) * rng.choice((-1, 1))
    style = tiny(rng, _ink(ground), None, 12, 18)
    style = Loose(style.face, style.size, style.fill, angle, box)
    wide, high = style.ink(code)
    number, length = -1, frames[1] - frames[0]
    x, y = (box[0] + box[2]) // 2 - wide // 2, (box[1] + box[3]) // 2
    drift = rng.randint(-2, 2)
    for i in range(length):
        span, at = (frames[0] + i, frames[0] + i + 1), (x + drift * i // 2, y)
        pad = style.size // 2
        edges = ((-pad, -high - pad), (wide + pad, -high - pad), (wide + pad, pad), (-pad, pad))
        stage.polygon(span, tuple(_turned(at, edge, angle) for edge in edges), ground, _ink(ground))
        if number < 0:
            number = stage.text(span, at, code, style, "moving sign", code, "moving sign")
        else:
            stage.again(number, span, at)
    return number


def _turned(at: tuple[int, int], point: tuple[int, int], angle: float) -> tuple[int, int]:
    """A point, given from `at`, after turning around `at` against the clock."""
    c, s = cos(radians(angle)), sin(radians(angle))
    return round(at[0] + point[0] * c + point[1] * s), round(at[1] - point[0] * s + point[1] * c)
