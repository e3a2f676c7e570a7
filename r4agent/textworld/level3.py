"""Level 3: text that moves, is tiny, stands for a moment, or is one among many.

Promises: 6–10 s at 12–20 frames a second in frames of 1280x720 to 1920x1080, a busy backdrop, two or three
of: rolling credits, a ticker, signs that pass, a board of gauges; and captions that flash up for 0.2–0.6 s.
Capitals are 10 pixels or more. About one item in twenty asks for what is not there.
Does not: blur what moves.
"""

from collections.abc import Callable
from random import Random

from r4agent.geometry import Size
from r4agent.textworld.credits import credits
from r4agent.textworld.flash import flashes
from r4agent.textworld.gauges import gauges
from r4agent.textworld.signs import signs
from r4agent.textworld.stage import Frames, Stage
from r4agent.textworld.ticker import ticker
from r4agent.textworld.world import Clip, Colour, Corners

Act = Callable[[Stage, Random, Frames, Corners], None]

SIZES = (Size(1280, 720), Size(1600, 900), Size(1920, 1080))
PER_KIND = 3
"""Questions of one kind in one clip, at most."""


def level3(seed: int) -> Clip:
    """The clip of this seed."""
    rng = Random(f"text world 3 {seed}")
    fps = rng.choice((12, 15, 20))
    stage = Stage(3, seed, rng.choice(SIZES), fps, frames=fps * rng.randint(6, 10))
    whole = 0, stage.frames
    stage.backdrop(whole, rng.choice(("busy", "busy", "cloud", "blocks")), _tone(rng), _tone(rng))
    wide, high = stage.size.width, stage.size.height
    band = rng.randint(44, 64)
    sides = [(0, 0, wide // 2, high - band), (wide // 2, 0, wide, high - band)]
    rng.shuffle(sides)
    first, second = rng.sample((credits, gauges, signs), 2)
    first(stage, rng, whole, sides[0])
    second(stage, rng, whole, sides[1])
    flashes(stage, rng, whole, (0, 0, wide, high - band))
    if rng.random() < 0.6:
        ticker(stage, rng, whole, (0, high - band, wide, high))
    if rng.random() < 0.5:
        _ask_in_vain(stage, rng)
    return stage.clip(PER_KIND)


def _tone(rng: Random) -> Colour:
    """Any subdued colour."""
    red, green, blue = (rng.randint(30, 190) for _ in range(3))
    return red, green, blue


def _ask_in_vain(stage: Stage, rng: Random) -> None:
    """Ask for what no clip of this level shows."""
    words = (
        "According to the credits, who is the 'Animal trainer'?",
        "What price does the ticker show for OIL?",
        "What does the gauge 'T-00' read?",
    )
    stage.ask(rng.choice(words), "unanswerable", None)
