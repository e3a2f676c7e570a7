"""A Script: a row as it is written. A Batch: rows side by side.

Promises: a row is written in the words that an episode has, and says which tokens are learnt and, for losses
on inner layers, which image tokens each of them is read from.
Does not: know what is asked; tasks do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from r4agent.engines import Checkpoint
from r4agent.engines.chatml import END, START
from r4agent.training.nano.forward import places
from r4agent.training.nano.student import NUMBERS

What = Literal["letter", "name", "left", "top", "right", "foot", "other"]
"""What a token says: a character, a picture's name, an edge of the box of what the image tokens show, or of
another's."""
EDGES: tuple[What, ...] = ("left", "top", "right", "foot")


@dataclass
class Script:
    """ids: image tokens spelt out. after: how many tokens come before them, in a row that goes on from
    another. grids, starts: of its pictures, rows and columns of tokens, and where the first of them stands.
    learnt: places of tokens to be learnt. looks: of places, what the next token says and the image tokens it
    is read from. recalls: of places, where the word stands that says what is sought there, or the token that
    is to be copied. learnt, looks and recalls are of places in `ids`; the tokens they point at, and starts,
    count those before too."""

    checkpoint: Checkpoint
    after: int = 0
    ids: list[int] = field(default_factory=list)
    grids: list[tuple[int, int]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    learnt: list[int] = field(default_factory=list)
    looks: dict[int, tuple[What, list[int]]] = field(default_factory=dict)
    recalls: dict[int, int] = field(default_factory=dict)
    wanted: int | None = None

    def copied(self, ids: Sequence[int]) -> "Script":
        """What the policy is told, from another row."""
        self.ids += ids
        return self

    def given(self, text: str) -> "Script":
        self.ids += self.checkpoint.tokenizer.encode(text, add_special_tokens=False).ids
        return self

    def said(self, text: str) -> "Script":
        first = len(self.ids)
        self.given(text).learnt.extend(range(first, len(self.ids)))
        return self

    def special(self, name: str) -> "Script":
        self.ids.append(self.checkpoint.token(name))
        return self

    def picture(self, grid: tuple[int, int]) -> "Script":
        self.special("<|vision_start|>").grids.append(grid)
        self.starts.append(self.after + len(self.ids))
        self.ids += [self.checkpoint.image_token] * (grid[0] * grid[1])
        return self.special("<|vision_end|>")

    def look(self, what: What, tokens: Sequence[int]) -> "Script":
        """The next token says this, read from these image tokens, as what `want` said is sought."""
        self.looks[len(self.ids) - 1] = what, list(tokens)
        if self.wanted is not None:
            self.recalls[len(self.ids) - 1] = self.wanted
        return self

    def want(self, word: str) -> "Script":
        """Say what is sought, in a word that is one token."""
        self.wanted = self.after + len(self.ids)
        return self.said(word)

    def reply(self) -> "Script":
        """The end of what the policy is told, and the beginning of what it says."""
        return self.special(END).given("\n").special(START).given("assistant\n")

    def box(self, box: Sequence[float], tokens: Sequence[int], *, other: bool = False) -> "Script":
        """Four edges in whole pixels, each of which is one token. other: it is not the box of what these
        image tokens show, only to be found from them."""
        for number, (edge, value) in enumerate(zip(EDGES, box, strict=True)):
            if not 0 <= value < NUMBERS:
                raise ValueError(f"edge {value}: no token below {NUMBERS}; ask with smaller pictures")
            self.look("other" if other else edge, tokens).said(f"{', ' if number else '['}{value:.0f}")
        return self.said("]")


@dataclass(frozen=True)
class Batch:
    """ids, learnt: (B, T). places: (3, B, T). pictures: a tensor for each size, in the order of the rows.
    looks: (row, place, what, image tokens). recalls: (row, place, word). before: what the rows go on from, as
    many of them from each of its rows. letters: of the patches of `pictures`, which character they show.
    hues: of the tokens of the pictures before, which colour; 0 is none in both."""

    ids: Tensor
    learnt: Tensor
    places: Tensor
    pictures: list[Tensor]
    looks: list[tuple[int, int, What, list[int]]]
    recalls: list[tuple[int, int, int]]
    before: "Batch | None" = None
    letters: list[Tensor] = field(default_factory=list)
    hues: Tensor | None = None


def batch(
    rows: Sequence[Script],
    pictures: list[Tensor],
    *,
    before: Batch | None = None,
    letters: Sequence[Tensor] = (),
    hues: Tensor | None = None,
) -> Batch:
    """Rows padded on the right."""
    checkpoint = rows[0].checkpoint
    start = 0 if before is None else int(before.places.max()) + 1
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), checkpoint.token("<|endoftext|>"))
    learnt = torch.zeros(ids.shape, dtype=torch.bool)
    where = torch.zeros(3, *ids.shape, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        learnt[number, row.learnt] = True
        where[:, number, : len(row.ids)] = places(row.ids, row.grids, checkpoint.image_token, start)
    looks = [(number, at, *look) for number, row in enumerate(rows) for at, look in row.looks.items()]
    recalls = [(number, at, word) for number, row in enumerate(rows) for at, word in row.recalls.items()]
    return Batch(ids, learnt, where, pictures, looks, recalls, before, list(letters), hues)


def groups(pictures: Sequence[np.ndarray]) -> list[Tensor]:
    """Pictures that are of like size where they stand side by side, a tensor for each size."""
    out: list[list[np.ndarray]] = []
    for picture in pictures:
        if not out or out[-1][0].shape != picture.shape:
            out.append([])
        out[-1].append(picture)
    return [torch.from_numpy(np.stack(group)) for group in out]
