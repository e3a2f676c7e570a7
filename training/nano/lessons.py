"""Lessons: taught episodes as scripts, with the looks that their replies are read by.

    for stored, lesson in lessons("data", checkpoint): ...

Promises: the ids are the episode's own; what is learnt is every token of its replies. Looks follow from where
the item says that the answer stands and from the pictures that the episode has: a name and the edges of a
board are read in the overview, those of a text on its board, characters where the text stands, and copied
for the answer; in a search each label where it stands. Other rows may go on from the beginning of a lesson.
Does not: know typefaces: the characters of a text are taken to be of one width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from r4agent.engines import Checkpoint
from r4agent.episode import Episode
from r4agent.errors import UsageError
from r4agent.geometry import Box, convert
from r4agent.item import Item
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture
from r4agent.textworld.level0 import Board
from r4agent.textworld.writer import SEEDS_A_WORLD
from r4agent.training.checks import check_tokenizer
from r4agent.training.collator import expanded
from r4agent.training.nano.labels import covered
from r4agent.training.nano.script import EDGES, Script, What
from r4agent.training.nano.student import BUDGET
from r4agent.training.rows import Row, brought, slipped
from r4agent.training.scene import boards_of
from r4agent.training.store import EpisodeStore, Stored

WORLDS = range(50, 60)
"""Worlds of level 0 whose clips may be taught on: `r4 trajectories --seed 50` to 59. Others evaluate."""

LETTER, NOT = 4, 9
"""Of a reply in a search, as `<think>v9: K, not M.`: tokens before the label, and to the end of the other."""
BOX, SHOWN, SAID, ENDS = '", "box": ', " shows it: ", "}</evidence><answer>", "</answer>"


@dataclass(frozen=True)
class Lesson:
    """A taught episode. refs: of its pictures. search: whether labels were looked at, before the board and
    the text. slipped: whether replies went wrong in it; it then lends no beginnings."""

    script: Script
    refs: tuple[str, ...]
    store: MediaStore
    search: bool
    slipped: bool

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
    """Those of the kinds `closer` and `search` in a store of trajectories. Raises UsageError for one of
    another world, or of another budget than the nano policy's."""
    pictures = MediaStore()
    for stored in EpisodeStore(folder).select(stage=["closer", "search"]):
        if stored.item is not None and stored.item.meta.get("kind") in ("sign by colour", "sign by label"):
            _check(stored, stored.item)
            refs = tuple(picture.ref for picture in stored.episode.pictures)
            script, search = taught(stored, stored.item, checkpoint), stored.stage == "search"
            yield stored, Lesson(script, refs, pictures, search, bool(slipped(stored.episode)))


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
    check_tokenizer(row, checkpoint)
    whole = expanded(row, checkpoint)
    script = Script(checkpoint, ids=list(whole.ids), grids=[(g[1] // 2, g[2] // 2) for g in row.grids])
    wrong = slipped(stored.episode)
    script.learnt = [at for at, turn in enumerate(whole.turns) if turn and turn not in wrong]
    places = [at for at, ident in enumerate(whole.ids) if ident == checkpoint.token("<|vision_start|>")]
    script.starts = [at + 1 for at in places]
    wanted = checkpoint.token(item.meta.get("colour") or item.meta["label"])
    script.wanted = next(at for at in script.learnt if script.ids[at] == wanted)
    drawn = boards_of(item) if item.meta["kind"] == "sign by label" else []
    pictures, asked = list(stored.episode.pictures), _asked(stored.episode, wrong)
    targets = _targets(asked, item, drawn)
    boxes = [at for at in script.learnt if checkpoint.tokenizer.id_to_token(script.ids[at]) == BOX]
    if len(boxes) != len(targets):
        raise UsageError(
            f"{stored.episode.path}: a zoom of episode {stored.episode.id} was refused; make it anew"
        )
    for at, target in zip(boxes, targets, strict=True):
        seen = _cells(script, target.picture, pictures[target.picture], target.box)
        for number, edge in enumerate(EDGES):
            script.looks[at + number] = target.what or edge, seen
            script.recalls[at + number] = at - 1  # the name of the picture that is zoomed into
    if drawn:
        _labels(script, pictures, drawn, [look.brought for look in asked[:-2]])
    else:
        _name(script, pictures, targets[0], boxes[0])
    closer = script.starts[targets[-2].picture]  # from here on there is one sign to look at
    script.recalls = {at: word for at, word in sorted(script.recalls.items()) if at < closer}
    _letters(script, pictures, targets[-1])
    script.looks = {at: look for at, look in sorted(script.looks.items()) if look[1]}  # what shows something
    return script


class _Asked(NamedTuple):
    """A zoom, by the numbers of pictures: of which one, and what it brought."""

    of: int
    brought: int


def _asked(episode: Episode, wrong: set[int]) -> list[_Asked]:
    """The zooms of an episode, in order, but for those of replies with these numbers."""
    named = {picture.name: number for number, picture in enumerate(episode.pictures)}
    return [
        _Asked(named[view], named[name])
        for name, (number, view) in brought(episode).items()
        if view and number not in wrong
    ]


class _Target(NamedTuple):
    """What a box is found from: a picture, and what it shows there. what: as `Script.looks` has it, where it
    is not the box of that."""

    picture: int
    box: Box
    what: What | None = None


def _targets(asked: list[_Asked], item: Item, drawn: list[Board]) -> list[_Target]:
    """Of each box that is said: of labels, the board, the text, and the text again, as evidence. drawn: the
    boards of the clip, where labels are looked at."""
    *labels, board, text = asked
    panel, place = Box(*item.meta["panel"]), item.evidence[0].source_box
    assert place is not None
    found = [_Target(look.of, Box(*one.shape.box), "other") for look, one in zip(labels, drawn, strict=False)]
    return [*found, _Target(board.of, panel), _Target(text.of, place), _Target(text.brought, place)]


def _name(script: Script, pictures: list[Picture], board: _Target, before: int) -> None:
    """A question by colour: the picture is named, twice, and its board found, by the word for the colour."""
    assert script.wanted is not None
    seen, name = (
        _cells(script, board.picture, pictures[board.picture], board.box),
        pictures[board.picture].name,
    )
    for at in script.learnt:
        if at < before and script.ids[at] == script.checkpoint.token(name):
            script.looks[at - 1] = "name", seen
            script.recalls[at - 1] = script.wanted
    script.recalls |= dict.fromkeys(range(before, before + len(EDGES)), script.wanted)


def _labels(script: Script, pictures: list[Picture], of: list[Board], looked: list[int]) -> None:
    """A search: each label is read from its picture, and compared with the one that is wanted, which is said
    again each time: a copy. looked: numbers of the pictures."""
    assert script.wanted is not None
    wanted, own = script.wanted, script.ids[script.wanted]
    script.recalls[wanted - 1] = max(at for at in range(wanted) if script.ids[at] == own)
    for picture, board in zip(looked, of, strict=False):
        if board.label is None:
            continue
        reply = next(at for at in script.learnt if at > script.starts[picture])
        at = reply + LETTER
        script.looks[at - 1] = "letter", _cells(script, picture, pictures[picture], Box(*board.label.box))
        script.recalls[at] = wanted
        if again := next((n for n in range(at + 1, at + NOT) if script.ids[n] == own), None):
            script.recalls[again - 1] = wanted
            wanted = again


def _letters(script: Script, pictures: list[Picture], at_last: _Target) -> None:
    """The characters of the text: read from the last picture for the thought, and copied from there for the
    answer. Read twice, they are at times read differently."""
    text, number = at_last.box, at_last.picture
    token = script.checkpoint.tokenizer.id_to_token
    [thought] = [at for at in script.learnt if token(script.ids[at]) == SHOWN]
    [answer] = [at for at in script.learnt if token(script.ids[at]) == SAID]
    many = next(at for at in script.learnt if token(script.ids[at]) == ENDS) - answer - 1
    for n in range(many):
        left = text.x0 + n * text.width / many
        part = Box(left, text.y0, left + text.width / many, text.y1)
        script.looks[thought + n] = "letter", _cells(script, number, pictures[number], part)
    script.recalls |= {answer + n: thought + 1 + n for n in range(many + 1)}


def _cells(script: Script, number: int, picture: Picture, box: Box) -> list[int]:
    """The image tokens of a picture that show a place of the source; none where it does not."""
    inside = box.overlap(picture.view.region)
    if inside is None:
        return []
    here = convert(inside, "shown", region=picture.view.region, shown=picture.view.size)
    return covered(script.grids[number], here, script.starts[number])
