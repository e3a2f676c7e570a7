"""A paper receipt lying on the screen: shop, date, items with prices, tax, total.

Promises: the sums are right. Does not: crease, tilt or fade.
"""

from random import Random

from r4agent.textworld.fonts import mono_fonts, plain_fonts
from r4agent.textworld.stage import Frames, Stage, Style
from r4agent.textworld.window import settle
from r4agent.textworld.words import GOODS, SHOPS
from r4agent.textworld.world import Corners

Row = tuple[str, str, str]
"""What stands left, what stands right, and the question that the right side answers; all empty: a rule."""

SUMS = ("Subtotal", "Tax", "TOTAL", "Cash", "Change")
INK, PAPER, EDGE = (40, 40, 44), (250, 249, 243), (190, 188, 180)


def receipt(stage: Stage, rng: Random, frames: Frames, area: Corners) -> None:
    """A receipt that stands in all of `frames`, somewhere in `area`."""
    face = rng.choice(mono_fonts() if rng.random() < 0.6 else plain_fonts())
    shop = rng.choice(SHOPS)
    rows = _rows(rng)
    style = Style(face, rng.randint(13, 20), INK)
    while style.line * (len(rows) + 5) > area[3] - area[1]:
        style = Style(face, style.size - 1, INK)
    width = max(style.width(f"{left}      {right}") for left, right, _ in rows) + 4 * style.size
    height = style.line * (len(rows) + 5)
    left, top, right, bottom = settle(rng, area, width, height)
    stage.shape(frames, (left, top, right, bottom), PAPER, EDGE)
    y = top + 2 * style.line
    heading = stage.text(frames, (left + (width - style.width(shop)) // 2, y), shop, style, "shop", "shop")
    stage.ask("Which shop is the receipt from?", "receipt shop", heading)
    y += 2 * style.line
    inner = left + style.size, right - style.size
    for name, value, question in rows:
        if name:
            named = stage.text(frames, (inner[0], y), name, style, "receipt label", name)
            at = (inner[1] - style.width(value), y)
            kind = "receipt price" if name in GOODS else "receipt value"
            alike = kind if name in (*GOODS, *SUMS) else ""
            number = stage.text(frames, at, value, style, "receipt value", f"value of {name}", alike)
            stage.ask(question, kind, number, beside=(named,))
        else:
            rule = y - style.size // 2
            stage.shape(frames, (inner[0], rule, inner[1], rule + 1), EDGE)
        y += style.line


def _rows(rng: Random) -> list[Row]:
    goods = {name: rng.randint(45, 2999) for name in rng.sample(GOODS, rng.randint(4, 10))}
    net = sum(goods.values())
    tax = round(net * rng.choice((0.05, 0.07, 0.1, 0.19)))
    paid = (net + tax + 999) // 1000 * 1000
    date = f"{rng.randint(2019, 2025)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    money = rng.choice(("{}.{:02d}", "${}.{:02d}"))

    def amount(cents: int) -> str:
        return money.format(*divmod(cents, 100))

    return [
        ("Date", date, "What is the date on the receipt?"),
        (
            "Time",
            f"{rng.randint(7, 22):02d}:{rng.randint(0, 59):02d}",
            "At what time was the receipt printed?",
        ),
        ("Receipt no.", str(rng.randint(10_000, 99_999)), "What is the number of the receipt?"),
        ("", "", ""),
        *(
            (name, amount(cents), f"What is the price of '{name}' on the receipt?")
            for name, cents in goods.items()
        ),
        ("", "", ""),
        ("Subtotal", amount(net), "What is the subtotal on the receipt?"),
        ("Tax", amount(tax), "How much tax is on the receipt?"),
        ("TOTAL", amount(net + tax), "What is the total on the receipt?"),
        ("Cash", amount(paid), "How much cash was given according to the receipt?"),
        ("Change", amount(paid - net - tax), "How much change is on the receipt?"),
    ]
