"""Questions to teach on: those of a world whose answers are in typefaces that may be learnt.

    r4 textworld --level 0 --n 450 --seed 50 --out nano/world
    python -m r4agent.training.nano.questions nano/world

Writes WORLD/colour.jsonl and WORLD/label.jsonl, of the questions by colour and by label, and
WORLD/taught.jsonl, of both.
Does not: look at labels that are passed by in a search; they may be in any typeface.
"""

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path

from r4agent.item import Item, read_items, write_items
from r4agent.training.nano.signs import signs

HELD = ("Caladea", "Cantarell", "Fira", "Inter", "Roboto")
"""Families of typefaces that are never learnt from, nor any that was drawn after them."""


def known(font: str) -> bool:
    return not unknown(font)


def unknown(font: str) -> bool:
    return font.startswith(HELD)


def answered_in(item: Item, fits: Callable[[str], bool]) -> bool:
    """Whether the answer of a question of level 0 is in a typeface that fits."""
    return item.answers[0] in _strings(item.meta["seed"], fits)


@cache
def _strings(seed: int, fits: Callable[[str], bool]) -> frozenset[str]:
    return frozenset(sign.string for sign in signs([seed], fits))


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("world", type=Path, help="a folder that `r4 textworld --out` wrote")
    world = made.parse_args().world
    taught = [item for item in read_items(world / "items.jsonl") if answered_in(item, known)]
    for name, kind in (("colour", "sign by colour"), ("label", "sign by label")):
        write_items(world / f"{name}.jsonl", [item for item in taught if item.meta["kind"] == kind])
    write_items(world / "taught.jsonl", taught)
    print(f"{len(taught)} questions in {world / 'taught.jsonl'}")


if __name__ == "__main__":
    main()
