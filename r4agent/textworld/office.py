"""Papers of an office, one to a page: invoices, letters and filled-in forms.

Promises: an invoice's sums are right; each paper has a number or a person of its own, by which it is asked
for. Does not: run over a page.
"""

from datetime import date, timedelta
from random import Random

from r4agent.textworld.facts import (
    MONTHS,
    Fact,
    Value,
    Values,
    code,
    count,
    day,
    hour,
    money,
    person,
    phone,
    room,
    sites,
    twin,
)  # fmt: skip
from r4agent.textworld.paper import BLACK, GREY, PALE, Sheets, look
from r4agent.textworld.report import FILLER
from r4agent.textworld.stage import Stage
from r4agent.textworld.words import GOODS, SHOPS


def invoices(stage: Stage, rng: Random, pages: int) -> None:
    """A file of invoices."""
    sheets = Sheets(stage, look(rng, 25, 30, rng.randint(150, 210)))
    values, number, seen = Values(rng), str(rng.randint(10_000, 98_999)), set[str]()
    for page in range(pages):
        if page:
            sheets.turn()
        seen.add(number)
        _invoice(sheets, rng, values, f"INV-{number}")
        while number in seen:  # often one that differs from the last in a digit
            number = twin(rng, number) if rng.random() < 0.5 else str(rng.randint(10_000, 98_999))


def _invoice(sheets: Sheets, rng: Random, values: Values, number: str) -> None:
    def fact(label: str, string: str, question: str) -> Fact:
        return Fact(string, question.format(number), f"invoice {label}", f"{label} on an invoice")

    _letterhead(sheets, rng)
    sheets.heading(f"Invoice {number}", scale=1.7)
    customer, written = values.make("customer", person), date(2009, 1, 1) + timedelta(rng.randrange(6000))
    dates = _long(written), _long(written + timedelta(rng.randint(10, 60)))
    for line in (customer, f"{rng.randint(2, 99)} {rng.choice(sites(rng))}"):
        sheets.y += sheets.look.text().line
        sheets.put(sheets.left, sheets.y, line, sheets.look.text(), "address")
    sheets.y += sheets.look.text().line // 2
    number_of = "What is the {} number on invoice {{}}?"
    sheets.pairs([
        ("Date", fact("date", dates[0], "What is the date of invoice {}?")),
        ("Due on", fact("due", dates[1], "When is invoice {} due?")),
        ("Customer no.", fact("customer", values.make("no.", code), number_of.format("customer"))),
        ("Your order", fact("order", values.make("order", code), number_of.format("order"))),
        ("Handled by", fact("clerk", values.make("clerk", person), "Who handled invoice {}?")),
    ])  # fmt: skip
    net, rows = 0, []
    for name in rng.sample(GOODS, rng.randint(2, 12)):
        amount, each = rng.randint(11, 480), rng.randint(45, 9999)
        net += amount * each
        words = f"What is the {{}} of '{name}' on invoice {number}?"
        rows.append((name, [
            Fact(str(amount), words.format("quantity"), "invoice quantity", f"quantity on {number}"),
            Fact(_money(each), words.format("unit price"), "invoice price", f"price on {number}"),
            Fact(_money(amount * each), words.format("amount"), "invoice amount", f"amount on {number}"),
        ]))  # fmt: skip
    sheets.table(["Article", "Quantity", "Unit price", "Amount"], rows)
    tax = round(net * rng.choice((0.07, 0.1, 0.19, 0.2)))
    sheets.pairs([
        ("Subtotal", fact("sum", _money(net), "What is the subtotal of invoice {}?")),
        ("VAT", fact("sum", _money(tax), "How much VAT is on invoice {}?")),
        ("Total", fact("sum", _money(net + tax), "What is the total of invoice {}?")),
    ], share=0.6)  # fmt: skip
    reference = values.make("reference", code)
    question = "Which reference is to be stated when paying invoice {}?"
    sheets.paragraph([("Please pay by the day named above into our account, stating the reference ",
                       fact("reference", reference, question), "."),
                      ["Goods remain ours until they are paid for.", ],
                      ["Complaints can be accepted within a week of delivery only."]])  # fmt: skip


def _long(when: date) -> str:
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}"


def _money(amount: int) -> str:
    return f"{amount // 100:,}.{amount % 100:02d}"


def _letterhead(sheets: Sheets, rng: Random) -> None:
    """The sender at the top, over a rule."""
    style = sheets.look.strong(1.3, sheets.look.accent)
    sheets.y += style.line
    sheets.put(sheets.left, sheets.y, rng.choice(SHOPS), style, "sender")
    small = sheets.look.text(0.75, GREY)
    place = f"{rng.randint(2, 99)} {rng.choice(sites(rng))}, telephone {phone(rng)}"
    sheets.put(sheets.right - small.width(place), sheets.y, place, small, "address")
    sheets.y += style.line // 2
    sheets.fill((sheets.left, sheets.y, sheets.right, sheets.y + 3), sheets.look.accent)
    sheets.y += style.line


LETTER: dict[str, tuple[str, Value, str, str]] = {
    "time": ("We look forward to seeing you at ", hour, " in our office.",
             "At what time is the addressee of the letter to {} expected?"),
    "day": ("The matter will be decided on ", day, ", and we shall write again then.",
            "On which date will the matter in the letter to {} be decided?"),
    "sum": ("We have credited you with ", money, " for the inconvenience.",
            "What sum is credited in the letter to {}?"),
    "person": ("Should you have questions, ask for ", person, " at the counter.",
               "For whom is one to ask at the counter, according to the letter to {}?"),
    "phone": ("You can reach us on ", phone, " every morning.",
              "On which telephone number can the sender of the letter to {} be reached in the morning?"),
    "room": ("Please bring the signed copy to the ", room, " in person.",
             "To which room is the signed copy to be brought, according to the letter to {}?"),
}  # fmt: skip


def letters(stage: Stage, rng: Random, pages: int) -> None:
    """A file of letters, each to another person."""
    sheets = Sheets(stage, look(rng, 27, 33, rng.randint(190, 260)))
    values = Values(rng)
    for page, name in enumerate(_people(rng, pages)):
        if page:
            sheets.turn()
        _letterhead(sheets, rng)
        for line in (f"To {name}", f"{rng.randint(2, 99)} {rng.choice(sites(rng))}"):
            sheets.y += sheets.look.text().line
            sheets.put(sheets.left, sheets.y, line, sheets.look.text(), "address")
        sheets.y += sheets.look.text().line
        _pair(sheets, "Our reference", values, code, f"What is our reference in the letter to {name}?")
        sheets.y += sheets.look.text().line
        sheets.paragraph([[f"Dear {name},"]])
        for label in rng.sample(sorted(LETTER), rng.randint(2, 4)):
            before, value, after, question = LETTER[label]
            fact = Fact(
                values.make(label, value), question.format(name), "letter text", f"{label} in a letter"
            )
            filler = [[line] for line in rng.sample(FILLER, rng.randint(1, 3))]
            sheets.paragraph([*filler, (before, fact, after)])
        for _ in range(rng.randint(0, 3)):
            sheets.paragraph([[line] for line in rng.sample(FILLER, rng.randint(2, 5))])
        sheets.paragraph([["Yours sincerely,"]])


def _people(rng: Random, count: int) -> list[str]:
    """As many different names."""
    names: dict[str, None] = {}
    while len(names) < count:
        names[person(rng)] = None
    return list(names)


def _pair(sheets: Sheets, label: str, values: Values, value: Value, question: str) -> None:
    sheets.pairs([(label, Fact(values.make(label, value), question, "letter reference", label))])


BOXES: dict[str, Value] = {
    "Policy number": code,
    "Date of birth": day,
    "Telephone": phone,
    "Date of the damage": day,
    "Sum claimed": money,
    "Witness": person,
    "Mileage": count,
    "Claim number": code,
    "Handled by": person,
    "Place": room,
}


def forms(stage: Stage, rng: Random, pages: int) -> None:
    """Claim forms, each filled in for another person."""
    sheets = Sheets(stage, look(rng, 26, 31, rng.randint(140, 190)))
    values = Values(rng)
    for page, name in enumerate(_people(rng, pages)):
        if page:
            sheets.turn()
        sheets.heading("Notice of damage", scale=1.8)
        sheets.paragraph([["Please fill in this form in block letters and sign it overleaf."]])
        _box(sheets, (sheets.left, sheets.right), "Name of the insured", name)
        labels = rng.sample(sorted(BOXES), rng.randint(5, len(BOXES)))
        middle = (sheets.left + sheets.right) // 2
        spans = (sheets.left, middle - 10), (middle + 10, sheets.right)
        for i in range(0, len(labels), 2):
            top = sheets.y
            for label, span in zip(labels[i : i + 2], spans, strict=False):
                sheets.y = top
                words = f"What is entered under '{label}' on the form of {name}?"
                _box(sheets, span, label, Fact(values.make(label, BOXES[label]), words, "form box", label))
        _ticks(sheets, rng)
        sheets.heading("What happened", scale=1.15)
        for _ in range(rng.randint(1, 3)):
            sheets.paragraph([[line] for line in rng.sample(FILLER, rng.randint(2, 5))])


def _box(sheets: Sheets, span: tuple[int, int], label: str, value: str | Fact) -> None:
    """A framed field: its label small at the top, what was entered below."""
    small, filled = sheets.look.text(0.75, GREY), sheets.look.text(1.1, (20, 40, 110))
    high = 2 * filled.line + small.line // 2
    sheets.fill((span[0], sheets.y, span[1], sheets.y + high), (255, 255, 255), GREY)
    sheets.put(span[0] + 14, sheets.y + small.line, label, small, "label")
    at = span[0] + 24, sheets.y + high - filled.size // 2
    if isinstance(value, Fact):
        sheets.fact(*at, value, filled, "value")
    else:
        sheets.put(*at, value, filled, "insured")
    sheets.y += high + 14


def _ticks(sheets: Sheets, rng: Random) -> None:
    """Boxes to tick that nothing is asked about."""
    style = sheets.look.text()
    for label in ("Third party involved", "Police informed", "Photographs enclosed"):
        sheets.y += style.line
        side = sheets.look.size
        box = (sheets.left, sheets.y - side, sheets.left + side, sheets.y)
        sheets.fill(box, PALE, BLACK)
        if rng.random() < 0.5:
            sheets.fill((box[0] + 6, box[1] + 6, box[2] - 6, box[3] - 6), BLACK)
        sheets.put(sheets.left + 2 * side, sheets.y - 4, label, style, "label")


def ask_in_vain(stage: Stage, rng: Random) -> None:
    """Ask for a paper that is not in the file."""
    absent = f"{rng.choice('XYZ')}. Absent"
    words = (
        f"What is the total of invoice INV-{rng.randint(100_000, 999_999)}?",
        f"What is our reference in the letter to {absent}?",
        f"What is entered under 'Policy number' on the form of {absent}?",
    )
    stage.ask(rng.choice(words), "unanswerable", None)
