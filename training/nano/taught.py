"""Taught episodes as scripts: whole conversations, with the looks that their replies are read by.

    for script in (taught(stored, checkpoint) for stored in EpisodeStore("data").select(stage=["closer"])): ...

Promises: the ids are the episode's own; what is learnt is every token of its replies. Looks follow from where the
item says that the answer stands and from the pictures that the episode has: a name and the edges of a board are
read in the overview, those of a text on its board, characters where the text stands.
Does not: know typefaces: the characters of a text are taken to be of one width.
"""

from r4agent.engines import Checkpoint
from r4agent.errors import UsageError
from r4agent.geometry import Box, convert
from r4agent.media.view import Picture
from r4agent.training.collator import expanded
from r4agent.training.nano.labels import covered
from r4agent.training.nano.script import EDGES, Script
from r4agent.training.rows import Row
from r4agent.training.store import Stored

BOX, SHOWN, SAID, ENDS = '", "box": ', " shows it: ", "}</evidence><answer>", (".</think>", "</answer>")


def taught(stored: Stored, checkpoint: Checkpoint) -> Script:
    """One episode of the kind `closer`. Raises UsageError for one of which it is not known where its answer
    stands."""
    item = stored.item
    if item is None or "panel" not in item.meta or not item.evidence[0].box:
        raise UsageError(f"episode {stored.episode.id}: was not taught on a sign; leave it out")
    row = Row.of(stored.episode)
    whole = expanded(row, checkpoint)
    script = Script(checkpoint, list(whole.ids), [(g[1] // 2, g[2] // 2) for g in row.grids])
    script.learnt = [at for at, turn in enumerate(whole.turns) if turn]
    places = [at for at, ident in enumerate(whole.ids) if ident == checkpoint.token("<|vision_start|>")]
    script.starts = [at + 1 for at in places]
    board, text = Box(*item.meta["panel"]), item.evidence[0].source_box
    assert text is not None
    _look(script, list(stored.episode.pictures), board, text)
    return script


def _look(script: Script, pictures: list[Picture], board: Box, text: Box) -> None:
    """Walk over the replies. The first box is of the board, the second and the cited one of the text."""
    named = {picture.name: number for number, picture in enumerate(pictures)}
    token = script.checkpoint.tokenizer.id_to_token
    boxes, seen = 0, list[int]()
    at = 0
    while at < len(script.learnt):
        place = script.learnt[at]
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
            last = next(number for number, one in reversed(list(enumerate(pictures))))
            at += _letters(script, place, last, pictures[last], text)
        at += 1


def _letters(script: Script, place: int, number: int, picture: Picture, text: Box) -> int:
    """Looks for the characters that follow; returns how many there are."""
    token = script.checkpoint.tokenizer.id_to_token
    stop = place + 1
    while not token(script.ids[stop]).startswith(ENDS):
        stop += 1
    many = stop - place - 1
    for n in range(many):
        left = text.x0 + n * text.width / many
        part = Box(left, text.y0, left + text.width / many, text.y1)
        script.looks[place + n] = "letter", _cells(script, number, picture, part)
    return many


def _cells(script: Script, number: int, picture: Picture, box: Box) -> list[int]:
    """The image tokens of a picture that show a place of the source; none where it does not."""
    inside = box.overlap(picture.view.region)
    if inside is None:
        return []
    here = convert(inside, "shown", region=picture.view.region, shown=picture.view.size)
    return covered(script.grids[number], here, script.starts[number])
