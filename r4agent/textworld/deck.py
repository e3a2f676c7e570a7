"""A deck of slides: titles, bullets, tables, bars with their values, one number large.

Promises: a slide's title stands on no other slide, but the deck's contents name some. Does not: animate.
"""

from random import Random

from r4agent.textworld.facts import (
    Fact,
    Value,
    Values,
    cents,
    code,
    count,
    day,
    hour,
    measure,
    money,
    person,
    sites,
)
from r4agent.textworld.paper import GREY, Sheets, look
from r4agent.textworld.stage import Stage
from r4agent.textworld.words import CITIES, GOODS

THEMES = ("staff", "traffic", "energy", "sales", "repairs", "orders", "safety", "training", "stock", "plans")
BULLETS: dict[str, tuple[str, Value, str, str]] = {
    "cost": ("Costs rose to ", money, " in the last quarter", "to what sum did costs rise"),
    "launch": ("Start moved to ", day, " at the latest", "to which date was the start moved"),
    "owner": ("Decision rests with ", person, " until autumn", "with whom does the decision rest"),
    "units": ("Stock reduced to ", count, " pallets", "to how many pallets was the stock reduced"),
    "length": ("Capacity now at ", measure, " with two shifts", "what is the capacity now"),
    "talk": ("Daily meeting at ", hour, " in the lobby", "at what time is the daily meeting"),
    "ticket": ("Open issue filed as ", code, " last week", "under which number was the open issue filed"),
}
PLAIN = (
    "Suppliers agreed to the new terms",
    "No change to the lease",
    "Feedback from the pilot is good",
    "Hiring is on hold for now",
    "Next review in the spring",
    "Two risks remain open",
)
COLUMNS: dict[str, Value] = {"Volume": count, "Margin": cents, "Lot": code, "Value": money}


def deck(stage: Stage, rng: Random, pages: int) -> None:
    """A title slide and then a slide for each further page."""
    places, name = sites(rng), f"Review {rng.randint(2009, 2025)}"
    titles = [f"{place}: {rng.choice(THEMES)}" for place in places][: pages - 1]

    def head(sheets: Sheets) -> None:
        small = sheets.look.text(0.55, GREY)
        base, number = stage.size.height - 40, str(sheets.page + 1)
        sheets.fill((0, stage.size.height - 14, stage.size.width, stage.size.height), sheets.look.accent)
        sheets.put(sheets.left, base, f"{name}, internal", small, "footer")
        sheets.put(sheets.right - small.width(number), base, number, small, "footer")

    sheets = Sheets(stage, look(rng, 56, 70, 150), head)
    _opening(sheets, name, titles[:5])
    values = Values(rng)
    for title in titles:
        sheets.turn()
        sheets.heading(title, scale=1.35, keep=1)
        sheets.y += sheets.look.size // 2
        rng.choice((_bullets, _bullets, _table, _bars, _large))(sheets, rng, values, title)


def _opening(sheets: Sheets, name: str, titles: list[str]) -> None:
    sheets.y += 120
    sheets.heading(name, scale=1.8, keep=1)
    sheets.y += sheets.look.size
    for title in titles:
        sheets.y += sheets.look.text(0.8).line
        sheets.put(sheets.left, sheets.y, title, sheets.look.text(0.8, GREY), "contents")


def _bullets(sheets: Sheets, rng: Random, values: Values, title: str) -> None:
    told = rng.sample(sorted(BULLETS), rng.randint(2, 4))
    lines = [_bullet(values, title, label) for label in told] + [[rng.choice(PLAIN)]]
    rng.shuffle(lines)
    left, size = sheets.left, sheets.look.size
    sheets.left += size
    for line in lines:
        top = sheets.y + sheets.look.text().line - size // 2
        sheets.fill((left, top, left + size // 3, top + size // 3), sheets.look.accent)
        sheets.paragraph([line])
    sheets.left = left


def _bullet(values: Values, title: str, label: str) -> list[str | Fact]:
    before, value, after, question = BULLETS[label]
    words = f"According to the slide titled '{title}', {question}?"
    return [before, Fact(values.make(label, value), words, "slide bullet", label), after]


def _table(sheets: Sheets, rng: Random, values: Values, title: str) -> None:
    columns = rng.sample(sorted(COLUMNS), rng.randint(2, 3))
    rows = []
    for name in rng.sample(GOODS, rng.randint(3, 6)):
        words = f"In the table on the slide titled '{title}', what stands under '{{}}' for {name}?"
        facts = []
        for column in columns:
            cell = values.make(column, COLUMNS[column])
            facts.append(Fact(cell, words.format(column), "slide table", f"{column} {title}"))
        rows.append((name, facts))
    sheets.table(["Article", *columns], rows)


def _bars(sheets: Sheets, rng: Random, values: Values, title: str) -> None:
    """Bars that stand on a line, their values above and their names below."""
    names = rng.sample(CITIES, rng.randint(3, 6))
    amounts = [rng.randint(1001, 9899) for _ in names]
    style = sheets.look.text(0.7)
    base, top = sheets.foot - 2 * style.line, sheets.y + 2 * style.line
    step = (sheets.right - sheets.left) // len(names)
    for i, (name, amount) in enumerate(zip(names, amounts, strict=True)):
        x = sheets.left + i * step + step // 5
        roof = base - round((base - top) * amount / max(amounts))
        sheets.fill((x, roof, x + step * 3 // 5, base), sheets.look.accent)
        words = f"In the chart on the slide titled '{title}', what is the value of {name}?"
        fact = Fact(f"{amount:,}", words, "slide chart", f"bar of {title}")
        middle = x + step * 3 // 10
        sheets.fact(middle - style.width(fact.string) // 2, roof - style.size // 3, fact, style, "bar value")
        sheets.put(middle - style.width(name) // 2, base + style.line, name, style, "bar name")
    sheets.fill((sheets.left, base, sheets.right, base + 4), GREY)


def _large(sheets: Sheets, rng: Random, values: Values, title: str) -> None:
    """One number that fills the slide, and what it counts."""
    label, value = rng.choice((("visitors", count), ("turnover", money), ("output", measure)))
    style = sheets.look.strong(2.6, sheets.look.accent)
    words = f"Which figure for {label} does the slide titled '{title}' show?"
    sheets.y += round(1.6 * style.line)
    sheets.fact(
        sheets.left, sheets.y, Fact(values.make(label, value), words, "slide number", label), style, "figure"
    )
    sheets.y += style.line // 2
    sheets.put(sheets.left, sheets.y, f"{label} over the year", sheets.look.text(), "caption")


def ask_in_vain(stage: Stage, rng: Random) -> None:
    """Ask for a slide that the deck does not have."""
    title = f"{rng.choice(CITIES)} Airport: {rng.choice(THEMES)}"
    stage.ask(f"Which figure does the slide titled '{title}' show?", "unanswerable", None)
