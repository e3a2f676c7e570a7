"""Lessons: taught episodes as scripts, with the looks that their replies are read by.

    for stored, lesson in lessons("data", checkpoint): ...

Promises: the ids are the episode's own; what is learnt is every token of its replies. Looks follow from where
the item says that the answer stands and from the pictures that the episode has: a name and the edges of a
board are read in the overview, those of a text on its board, characters where the text stands. Other rows may
go on from the beginning of a lesson.
Does not: know typefaces: the characters of a text are taken to be of one width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from r4agent.engines import Checkpoint
from r4agent.errors import UsageError
from r4agent.geometry import Box, convert
from r4agent.item import Item
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture
from r4agent.textworld.writer import SEEDS_A_WORLD
from r4agent.training.collator import expanded
from r4agent.training.nano.labels import covered
from r4agent.training.nano.script import EDGES, Script
from r4agent.training.nano.student import BUDGET
from r4agent.training.rows import Row
from r4agent.training.store import EpisodeStore, Stored

WORLDS = range(50, 60)
"""Worlds of level 0 whose clips may be taught on: `r4 trajectories --seed 50` to 59. Others evaluate."""

BOX, SHOWN, SAID, ENDS = '", "box": ', " shows it: ", "}</evidence><answer>", (".</think>", "</answer>")


@dataclass(frozen=True)
class Lesson:
    """A taught episode. refs: of its pictures."""

    script: Script
    refs: tuple[str, ...]
    store: MediaStore

    @cached_property
    def pictures(self) -> list[np.ndarray]:
        """(height, width, 3), uint8, in the order shown."""
        return [np.asarray(self.store.get(ref).convert("RGB")) for ref in self.refs]

    def until(self, number: int) -> Script:
        """What comes before picture `number`, none of which is learnt."""
        return self._cut(self.script.starts[number] - 1, number)

    @property
    def overview(self) -> int:
        """How many pictures it has."""
        assert self.script.wanted is not None
        return sum(start < self.script.wanted for start in self.script.starts)

    def opening(self) -> Script:
        """All up to the end of the overview."""
        return self._cut(self._end(self.overview - 1), self.overview)

    def since(self, number: int) -> list[int]:
        """The ids after picture `number`, up to where the next token is first read from a picture."""
        first = self._end(number)
        return self.script.ids[first : 1 + min(at for at in self.script.looks if at >= first)]

    def after(self, number: int) -> list[int]:
        """The ids after picture `number`, up to where the policy speaks."""
        first = self._end(number)
        return self.script.ids[first : min(at for at in self.script.learnt if at >= first)]

    def _end(self, number: int) -> int:
        """The place after picture `number` and the token that closes it."""
        rows, columns = self.script.grids[number]
        return self.script.starts[number] + rows * columns + 1

    def _cut(self, stop: int, pictures: int) -> Script:
        whole = self.script
        return Script(
            whole.checkpoint,
            ids=whole.ids[:stop],
            grids=whole.grids[:pictures],
            starts=whole.starts[:pictures],
        )


def lessons(folder: str | Path, checkpoint: Checkpoint) -> Iterator[tuple[Stored, Lesson]]:
    """Those of the kind `closer` in a store of trajectories that ask for a sign by its colour. Raises
    UsageError for one of another world, or of pictures of other sizes than the nano policy's."""
    pictures = MediaStore()
    for stored in EpisodeStore(folder).select(stage=["closer"]):
        if stored.item is not None and stored.item.meta.get("kind") == "sign by colour":
            _check(stored, stored.item)
            refs = tuple(picture.ref for picture in stored.episode.pictures)
            yield stored, Lesson(taught(stored, stored.item, checkpoint), refs, pictures)


def _check(stored: Stored, item: Item) -> None:
    of, budget = f"{stored.episode.path}: episode {stored.episode.id}", stored.episode.header["budget"]
    if item.meta["seed"] // SEEDS_A_WORLD not in WORLDS:
        raise UsageError(
            f"{of}: its clip is for evaluation; make some with --seed {WORLDS[0]} to {WORLDS[-1]}"
        )
    for key in ("turns", "images", "overview_images", "overview_tokens", "picture_tokens"):
        if budget[key] != getattr(BUDGET, key):
            raise UsageError(f"{of}: was made with {key}={budget[key]}, not {getattr(BUDGET, key)}")


def taught(stored: Stored, item: Item, checkpoint: Checkpoint) -> Script:
    """One such episode."""
    row = Row.of(stored.episode)
    whole = expanded(row, checkpoint)
    script = Script(checkpoint, ids=list(whole.ids), grids=[(g[1] // 2, g[2] // 2) for g in row.grids])
    script.learnt = [at for at, turn in enumerate(whole.turns) if turn]
    places = [at for at, ident in enumerate(whole.ids) if ident == checkpoint.token("<|vision_start|>")]
    script.starts = [at + 1 for at in places]
    colour = checkpoint.token(item.meta["colour"])
    script.wanted = next(at for at in script.learnt if script.ids[at] == colour)
    board, text = Box(*item.meta["panel"]), item.evidence[0].source_box
    assert text is not None
    _look(script, list(stored.episode.pictures), board, text)
    script.looks = {at: look for at, look in script.looks.items() if look[1]}  # without what shows nothing
    zoomed = next(start for start in script.starts if start > script.wanted)
    script.recalls = {at: script.wanted for at in script.looks if at < zoomed}
    return script


def _look(script: Script, pictures: list[Picture], board: Box, text: Box) -> None:
    """Walk over the replies. The first box is of the board; the second and the cited one are of the text."""
    named = {picture.name: number for number, picture in enumerate(pictures)}
    token = script.checkpoint.tokenizer.id_to_token
    boxes, seen = 0, list[int]()
    for place in script.learnt:
        said = token(script.ids[place])
        if said in named:
            seen = _cells(script, named[said], pictures[named[said]], board if boxes == 0 else text)
            if boxes == 0:
                script.looks[place - 1] = "name", seen
        elif said == BOX:
            for number, edge in enumerate(EDGES):
                script.looks[place + number] = edge, seen
            boxes += 1
        elif said in (SHOWN, SAID):
            _letters(script, place, len(pictures) - 1, pictures[-1], text)


def _letters(script: Script, place: int, number: int, picture: Picture, text: Box) -> None:
    """Looks for the characters that follow."""
    token = script.checkpoint.tokenizer.id_to_token
    stop = place + 1
    while not str(token(script.ids[stop])).startswith(ENDS):
        stop += 1
    many = stop - place - 1
    for n in range(many):
        left = text.x0 + n * text.width / many
        part = Box(left, text.y0, left + text.width / many, text.y1)
        script.looks[place + n] = "letter", _cells(script, number, picture, part)


def _cells(script: Script, number: int, picture: Picture, box: Box) -> list[int]:
    """The image tokens of a picture that show a place of the source; none where it does not."""
    inside = box.overlap(picture.view.region)
    if inside is None:
        return []
    here = convert(inside, "shown", region=picture.view.region, shown=picture.view.size)
    return covered(script.grids[number], here, script.starts[number])
