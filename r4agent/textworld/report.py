"""A report: numbered sections on sites, each with paragraphs, a table and key figures.

Promises: each section says the same things of another site, so that what is asked of one stands, with
another value, in each other. Does not: draw figures.
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
    phone,
    room,
    sites,
)
from r4agent.textworld.paper import GREY, Sentence, Sheets, look
from r4agent.textworld.stage import Stage
from r4agent.textworld.words import GOODS

STATED: dict[str, tuple[str, Value, str, str]] = {
    "people": ("At the end of the year, ", count, " people worked there.",
               "According to the report, how many people worked at {}?"),
    "repairs": ("Repairs cost ", money, ", most of it for the roof and the drains.",
                "What did the repairs at {} cost?"),
    "inspected": ("The last inspection took place on ", day, " and raised no objections.",
                  "On which date did the last inspection of {} take place?"),
    "council": ("The staff council is led by ", person, ", who was elected again.",
                "Who leads the staff council of {}?"),
    "line": ("The supply line was extended to ", measure, " in the course of the work.",
             "To what length or amount was the supply line of {} extended?"),
    "visitors": ("Over the year the site received ", count, " visitors, fewer than planned.",
                 "How many visitors did {} receive over the year?"),
    "opening": ("The new hall is to be opened on ", day, ", weather permitting.",
                "On which date is the new hall of {} to be opened?"),
    "loan": ("A loan of ", money, " was taken up to pay for new lifts.",
             "What loan was taken up for new lifts at {}?"),
}  # fmt: skip
FIGURES: dict[str, Value] = {
    "Permit no.": code,
    "Site manager": person,
    "Telephone": phone,
    "Floor space (sq m)": count,
    "Annual budget": money,
    "Safety talk held in": room,
    "Gates close at": hour,
    "Insured since": day,
}
COLUMNS: dict[str, Value] = {"Units": count, "Price": cents, "Batch": code, "Returned": count}
FILLER = (
    "The plan for the coming year was agreed with the neighbours.",
    "Deliveries were late in spring, when the bridge was closed to heavy traffic.",
    "A second entrance would shorten the way for most of the staff.",
    "The old boiler runs without trouble but uses too much fuel.",
    "Training was offered to everyone who handles goods.",
    "Most complaints concerned noise in the evening and were settled by telephone.",
    "The heating was adjusted after the first cold week.",
    "Rain came through the skylights twice, and both were sealed.",
    "The canteen now opens earlier, which the night shift had asked for.",
    "Waste is sorted at the place where it arises.",
    "The yard was paved anew, and its drains were cleaned.",
    "Shelves were labelled again so that goods are found faster.",
    "No accident led to a day of absence.",
    "The fire brigade held an exercise in the loading bay.",
    "Part of the roof carries panels that feed the lighting.",
    "The lease has been extended on the same terms.",
)


def report(stage: Stage, rng: Random, pages: int) -> None:
    """About `pages` pages; the last section ends on the last one."""
    year = rng.randint(2009, 2025)
    firm = f"{rng.choice(sites(rng)).split()[0]} Storage Group"
    title = rng.choice(("Annual report", "Site survey", "Progress report", "Review of operations"))

    def head(sheets: Sheets) -> None:
        small = sheets.look.text(0.75, GREY)
        base = stage.size.height - sheets.look.margin // 2
        number = f"Page {sheets.page + 1}"
        sheets.put(sheets.left, base, f"{firm}, {title.lower()} {year}", small, "footer")
        sheets.put(sheets.right - small.width(number), base, number, small, "footer")

    sheets = Sheets(stage, look(rng, 25, 31, rng.randint(150, 220)), head)
    _title(sheets, f"{title} {year}", firm)
    values = Values(rng)
    for number, site in enumerate(sites(rng), start=1):
        _section(sheets, rng, values, number, site)
        if sheets.page + 1 >= pages:
            return


def _title(sheets: Sheets, title: str, firm: str) -> None:
    sheets.y += 20
    sheets.heading(title, scale=2.2)
    style = sheets.look.text(1.2, GREY)
    sheets.y += style.line
    sheets.put(sheets.left, sheets.y, firm, style, "firm")
    sheets.y += style.line
    sheets.paragraph([[line] for line in FILLER[:3]])


def _section(sheets: Sheets, rng: Random, values: Values, number: int, site: str) -> None:
    """What is said of one site."""
    sheets.heading(f"{number} {site}")
    told = rng.sample(sorted(STATED), rng.randint(2, 4))
    blocks = [[_stated(values, site, label)] for label in told]
    for block in blocks:
        for line in rng.sample(FILLER, rng.randint(1, 4)):
            block.insert(rng.randint(0, len(block)), [line])
        sheets.paragraph(block)
    if rng.random() < 0.7:
        _output(sheets, rng, values, number, site)
    if rng.random() < 0.7:
        sheets.heading(f"{number}.1 Key figures of {site}", scale=1.15, keep=8)
        labels = rng.sample(sorted(FIGURES), rng.randint(3, 6))
        sheets.pairs([(label, _figure(values, site, label)) for label in labels])


def _stated(values: Values, site: str, label: str) -> Sentence:
    before, value, after, question = STATED[label]
    fact = Fact(values.make(label, value), question.format(site), "report text", label)
    return before, fact, after


def _figure(values: Values, site: str, label: str) -> Fact:
    question = f"What is the '{label}' in the key figures of {site}?"
    return Fact(values.make(label, FIGURES[label]), question, "report figure", label)


def _output(sheets: Sheets, rng: Random, values: Values, number: int, site: str) -> None:
    """A table of goods."""
    columns = rng.sample(sorted(COLUMNS), rng.randint(2, 4))
    rows = []
    for name in rng.sample(GOODS, rng.randint(3, 9)):
        words = f"In Table {number} of the report, what stands under '{{}}' for {name}?"
        facts = [
            Fact(values.make(f"{column} in {number}", COLUMNS[column]), words.format(column),
                 "report table", f"{column} in table {number}")
            for column in columns
        ]  # fmt: skip
        rows.append((name, facts))
    style = sheets.look.text(0.9, GREY)
    sheets.room((len(rows) + 3) * round(1.7 * sheets.look.text().line))
    sheets.y += style.line
    sheets.put(sheets.left, sheets.y, f"Table {number}: Goods handled at {site}", style, "caption")
    sheets.table(["Article", *columns], rows)


def ask_in_vain(stage: Stage, rng: Random) -> None:
    """Ask for what no report says."""
    words = ("How many bicycles were stolen at {}?", "Which bank holds the account of {}?",
             "What does a parking ticket cost at {}?")  # fmt: skip
    stage.ask(rng.choice(words).format(rng.choice(sites(rng))), "unanswerable", None)
