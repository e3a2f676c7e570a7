"""Level 1: documents and decks, as PDF files of 1 to 200 pages.

Promises: mostly 2 to 30 pages; reports and decks sometimes up to 200. About one short document in four is a
scan. About one item in twenty asks for what is not there.
Does not: ask what more than one place of one page must be read for.
"""

from collections.abc import Callable
from random import Random

from r4agent.textworld import deck, office, report
from r4agent.textworld.document import A4, LETTER, SLIDE, Document, Scan
from r4agent.textworld.stage import Stage

Writer = Callable[[Stage, Random, int], None]

KINDS: dict[str, tuple[Writer, Callable[[Stage, Random], None]]] = {
    "report": (report.report, report.ask_in_vain),
    "deck": (deck.deck, deck.ask_in_vain),
    "invoices": (office.invoices, office.ask_in_vain),
    "letters": (office.letters, office.ask_in_vain),
    "forms": (office.forms, office.ask_in_vain),
}
CHANCES = (4, 4, 2, 1, 1)
PER_KIND = 3
"""Questions of one kind in one document, at most."""

SCANNED = 12
"""Pages of a scan, at most: each is a picture of some hundred kilobytes."""


def level1(seed: int) -> Document:
    """The document of this seed."""
    rng = Random(f"text world 1 {seed}")
    name = rng.choices(list(KINDS), CHANCES)[0]
    pages = _pages(rng, name)
    paper = SLIDE if name == "deck" else rng.choice((A4, LETTER))
    stage = Stage(1, seed, paper.pixels, fps=0, frames=0)
    write, ask_in_vain = KINDS[name]
    write(stage, rng, pages)
    if rng.random() < 0.5:
        ask_in_vain(stage, rng)
    scan = _scan(rng) if stage.frames <= SCANNED and name != "deck" and rng.random() < 0.3 else None
    texts, items = stage.finish(PER_KIND)
    return Document(stage.name, 1, seed, paper, stage.frames, scan, stage.paints, texts, items)


def _pages(rng: Random, name: str) -> int:
    """One to 200, mostly few."""
    if name in ("report", "deck") and rng.random() < 0.1:
        return rng.randint(40, 195)
    return rng.choice((rng.randint(1, 8), rng.randint(2, 30))) + (name == "deck")


def _scan(rng: Random) -> Scan:
    noise, blur = rng.uniform(2, 8), rng.uniform(0.3, 0.9)
    return Scan(rng.randrange(2**32), rng.randint(232, 252), blur, noise, rng.randint(60, 90))
