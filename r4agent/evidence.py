"""Evidence: where an answer was read, and whether a reader finds it there.

Promises: times are presentation times, boxes are in source pixels, and `supported` says only what was
checked: `yes`, `no`, or `unchecked` when there was no reader.
Does not: say that the answer is right; only that it stands there.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from r4agent.errors import UsageError
from r4agent.geometry import Box, ModelProfile, convert
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture
from r4agent.protocol import Answer, Cite
from r4agent.reader import Reader
from r4agent.text import Line, Match, contains

Supported = Literal["yes", "no", "unchecked"]
ENOUGH = 0.9  # similarity at which a reader's text counts as the answer: one slip in ten characters
SEARCH = 12  # an answer that cites nothing is looked for in so many of the latest pictures


class Evidence(BaseModel):
    """One place where the answer was read.

    time: presentation time in seconds, None for pages. page: from 1, None for video. box: x0, y0, x1, y1
    in source pixels. text: what the reader reads there, "" when unread. image, view: the picture it was
    read in.
    """

    model_config = ConfigDict(frozen=True)

    time: float | None
    page: int | None
    box: tuple[float, float, float, float]
    text: str
    image: str
    view: str


def check_cites(answer: Answer, pictures: Mapping[str, Picture], profile: ModelProfile) -> str | None:
    """What is wrong with the pictures and boxes that an answer cites, if anything."""
    problems = (_problem(cite, pictures, profile) for cite in answer.cites)
    return next((problem for problem in problems if problem), None)


def _problem(cite: Cite, pictures: Mapping[str, Picture], profile: ModelProfile) -> str | None:
    if cite.view not in pictures:
        return f"<evidence> names {cite.view!r}; the pictures are {', '.join(pictures)}"
    try:
        _cited_box(cite, pictures[cite.view], profile)
    except UsageError as error:
        return f"<evidence>: {error}"
    return None


def gather(
    answer: Answer,
    pictures: Mapping[str, Picture],
    *,
    profile: ModelProfile,
    store: MediaStore,
    reader: Reader | None,
) -> tuple[list[Evidence], Supported]:
    """The answer's evidence: what it cites, or else the latest picture in which a reader finds it. Cites
    that name nothing that was seen (an answer on the last turn may have some) are left out."""
    cites = tuple(cite for cite in answer.cites if _problem(cite, pictures, profile) is None)
    answer = Answer(answer.text, cites)
    if reader is None:
        return [_unread(cite, pictures, profile) for cite in answer.cites], "unchecked"
    if answer.cites:
        found = [_read_cite(answer, c, pictures[c.view], profile, store, reader) for c in answer.cites]
        return [evidence for evidence, _ in found], "yes" if any(hit for _, hit in found) else "no"
    for picture in list(pictures.values())[: -SEARCH - 1 : -1]:
        match = contains(reader.read(store.get(picture.ref), ref=picture.ref), answer.text)
        if holds(match, answer.text):
            return [_evidence(picture, _hull(match.lines, picture), _text(match.lines))], "yes"
    return [], "no"


def holds(match: Match, answer: str) -> bool:
    """Whether the lines hold the answer: nearly letter for letter, and digit for digit, since a reader's
    slip in a word is no other word, but another digit is another number."""
    there = re.findall(r"\d+", _text(match.lines))
    return match.score >= ENOUGH and all(number in there for number in re.findall(r"\d+", answer))


def _unread(cite: Cite, pictures: Mapping[str, Picture], profile: ModelProfile) -> Evidence:
    picture = pictures[cite.view]
    return _evidence(picture, _cited_box(cite, picture, profile), "")


def _read_cite(
    answer: Answer, cite: Cite, picture: Picture, profile: ModelProfile, store: MediaStore, reader: Reader
) -> tuple[Evidence, bool]:
    """The cited place, narrowed to the lines that hold the answer where the reader finds it there."""
    box = _cited_box(cite, picture, profile)
    lines = [
        line
        for line in reader.read(store.get(picture.ref), ref=picture.ref)
        if _source_box(line, picture).overlap(box)
    ]
    match = contains(lines, answer.text)
    if holds(match, answer.text):
        return _evidence(picture, _hull(match.lines, picture), _text(match.lines)), True
    return _evidence(picture, box, _text(lines)), False


def _cited_box(cite: Cite, picture: Picture, profile: ModelProfile) -> Box:
    region = picture.view.region
    if cite.box is None:
        return region
    asked = convert(Box(*cite.box, space=profile.space), "source", region=region, shown=picture.view.size)
    inside = asked.overlap(region)
    if inside is None:
        raise UsageError(f"box {list(cite.box)}: outside {cite.view}")
    return inside


def _source_box(line: Line, picture: Picture) -> Box:
    return convert(line.box, "source", region=picture.view.region, shown=picture.view.size)


def _hull(lines: Sequence[Line], picture: Picture) -> Box:
    hull = _source_box(lines[0], picture)
    for line in lines[1:]:
        hull = hull.hull(_source_box(line, picture))
    return hull


def _text(lines: Sequence[Line]) -> str:
    return " ".join(line.text for line in lines)


def _evidence(picture: Picture, box: Box, text: str) -> Evidence:
    x0, y0, x1, y1 = (round(v, 1) for v in box.corners)
    time = picture.view.time
    page = picture.view.frame + 1 if time is None else None
    return Evidence(
        time=time, page=page, box=(x0, y0, x1, y1), text=text, image=picture.ref, view=picture.name
    )
