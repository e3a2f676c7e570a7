"""A ticker: symbols and prices that run through a band.

Promises: a symbol stands once; symbols and prices resemble their neighbours. Does not: wrap around.
"""

from random import Random

from r4agent.textworld.facts import twin
from r4agent.textworld.motion import contrast, tiny
from r4agent.textworld.stage import Frames, Loose, Stage
from r4agent.textworld.words import CODE_LETTERS
from r4agent.textworld.world import Corners


def ticker(stage: Stage, rng: Random, frames: Frames, band: Corners) -> None:
    """Run through `band` for all of `frames`."""
    ground, ink = contrast(rng)
    stage.shape(frames, band, ground)
    style = tiny(rng, ink, band, 12, 18)
    speed = rng.randint(80, 220) // stage.fps
    base = (band[1] + band[3] + style.face.cap_height(style.size)) // 2
    x = band[0] + rng.randint(0, 200)
    end = band[2] + speed * (frames[1] - frames[0])
    for symbol, price in _quotes(rng):
        if x > end:
            return
        after = x + style.width(f"{symbol} ")
        label = _run(stage, frames, (x, speed, base), style, symbol, "ticker symbol")
        number = _run(stage, frames, (after, speed, base), style, price, "ticker price")
        if label is not None and number is not None:
            stage.ask(f"What price does the ticker show for {symbol}?", "ticker", number, beside=(label,))
        x = after + style.width(f"{price}") + 3 * style.size


def _run(
    stage: Stage, frames: Frames, walk: tuple[int, int, int], style: Loose, string: str, kind: str
) -> int | None:
    """Draw a text that walks from x, by so many pixels a frame, on the baseline y; its number, if seen."""
    x, speed, y = walk
    assert style.view
    number = None
    for frame in range(*frames):
        at = x - speed * (frame - frames[0])
        if at > style.view[2] or at + style.width(string) < style.view[0]:
            continue
        if number is None:
            number = stage.text((frame, frame + 1), (at, y), string, style, kind, string, kind)
        else:
            stage.again(number, (frame, frame + 1), (at, y))
    return number


def _quotes(rng: Random) -> list[tuple[str, str]]:
    """Different symbols with different prices."""
    quotes: dict[str, str] = {}
    symbol, price = "", ""
    while len(quotes) < 60:
        near = quotes and rng.random() < 0.35
        symbol = twin(rng, symbol) if near else "".join(rng.choices(CODE_LETTERS, k=3))
        price = twin(rng, price) if near else f"{rng.randint(10, 989)}.{rng.randint(10, 99)}"
        if symbol not in quotes and price not in quotes.values():
            quotes[symbol] = price
    return list(quotes.items())
