"""Values that documents state: amounts, dates, codes, people; and values that look much like another.

Promises: each is long enough that it rarely stands elsewhere by chance. Does not: ask anything.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from r4agent.textworld.words import CITIES, CODE_LETTERS, NAMES, SHORT_WORDS

Value = Callable[[Random], str]

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
          "October", "November", "December")  # fmt: skip
PARTS = ("North", "South", "Harbour", "Works", "Central", "East", "West", "Mill", "Junction", "Park")
SURNAMES = tuple(name.split()[1] for name in NAMES)


@dataclass(frozen=True, slots=True)
class Fact:
    """A value, the question that it answers and the kind of that question. alike: see Stage.text."""

    string: str
    question: str
    kind: str
    alike: str


def count(rng: Random) -> str:
    return f"{rng.randint(1001, 98_999):,}"


def money(rng: Random) -> str:
    return f"${rng.randint(1001, 989_999):,}"


def cents(rng: Random) -> str:
    return f"{rng.randint(101, 9_899):,}.{rng.randint(0, 99):02d}"


def measure(rng: Random) -> str:
    return f"{rng.randint(101, 989)}.{rng.randint(1, 9)} {rng.choice(('km', 'tons', 'MWh', 'ha'))}"


def day(rng: Random) -> str:
    return f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(2009, 2025)}"


def code(rng: Random) -> str:
    return f"{''.join(rng.choices(CODE_LETTERS, k=2))}-{rng.randint(1000, 9999)}"


def phone(rng: Random) -> str:
    return f"555-{rng.randint(1000, 9999)}"


def person(rng: Random) -> str:
    return f"{rng.choice(CODE_LETTERS)}. {rng.choice(SURNAMES)}"


def hour(rng: Random) -> str:
    return f"{rng.randint(7, 18)}:{rng.randint(1, 59):02d}"


def room(rng: Random) -> str:
    return f"{rng.choice(SHORT_WORDS).capitalize()} room {rng.randint(101, 989)}"


def sites(rng: Random) -> list[str]:
    """Two hundred places, each once."""
    names = [f"{city} {part}" for city in CITIES for part in PARTS]
    return rng.sample(names, len(names))


def twin(rng: Random, value: str) -> str:
    """`value` with one digit, or else one capital that begins no word, replaced by another."""
    places = [i for i, char in enumerate(value) if char.isdigit() and i and value[i - 1].isdigit()]
    capitals = [i for i, char in enumerate(value) if char.isupper() and not value[i + 1 : i + 2].islower()]
    places = places or capitals or [len(value) - 1]
    at = rng.choice(places)
    pool = string.digits if value[at].isdigit() else CODE_LETTERS
    return value[:at] + rng.choice([char for char in pool if char != value[at]]) + value[at + 1 :]


class Values:
    """Makes values by label, now and then, by a chance of `near`, one that differs from the label's last in
    one character."""

    def __init__(self, rng: Random, near: float = 0.25) -> None:
        self._rng, self._near, self._last = rng, near, dict[str, str]()

    def make(self, label: str, value: Value) -> str:
        rng, last = self._rng, self._last
        made = twin(rng, last[label]) if label in last and rng.random() < self._near else value(rng)
        last[label] = made
        return made
