"""What the moving things of level 3 share: faces, colours, and the walk of a point over frames.

Promises: colours of `tones` differ by the brightness asked for. Does not: draw.
"""

from random import Random

from r4agent.textworld.fonts import Face
from r4agent.textworld.stage import Loose
from r4agent.textworld.window import upright
from r4agent.textworld.world import Colour, Corners, luma


def tones(rng: Random, least: int, most: int) -> tuple[Colour, Colour]:
    """A ground and an ink on it whose brightness differs by `least` to `most` of 255."""
    while True:
        red, green, blue = (rng.randint(10, 245) for _ in range(3))
        shift = rng.randint(least, most) * (1 if luma((red, green, blue)) < 128 else -1)
        ink = red + shift, green + shift, blue + shift
        if all(0 <= tone <= 255 for tone in ink):
            return (red, green, blue), ink


def contrast(rng: Random) -> tuple[Colour, Colour]:
    """Ground and ink, in one case of three faint, but never illegible."""
    return tones(rng, 55, 75) if rng.random() < 0.35 else tones(rng, 110, 200)


def tiny(rng: Random, fill: Colour, view: Corners | None = None, least: int = 10, most: int = 14) -> Loose:
    """A style whose capitals are `least` to `most` pixels high."""
    face = rng.choice(upright())
    return Loose(face, sized(face, rng.randint(least, most)), fill, view=view)


def sized(face: Face, capital: int) -> int:
    """The pixels an em at which capitals are at least `capital` pixels high."""
    return next(size for size in range(capital, 10 * capital) if face.cap_height(size) >= capital)
