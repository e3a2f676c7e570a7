"""A Scene: what a teacher knows of an item while it looks, and how it says what to do.

Promises: every box is written in the student's own space and holds the place it is meant to hold; margins
and wrong places follow from the scene's lot; an answer is given only once a picture shows it. What can't be
done on an item is `Unfit`, with the reason.
Does not: decide in which order to look; plans do.
"""

import json
from dataclasses import dataclass
from random import Random

from r4agent import protocol
from r4agent.errors import UsageError
from r4agent.evaluation.sight import during, shows
from r4agent.geometry import Box, ModelProfile, convert
from r4agent.item import Item, Span
from r4agent.media.view import Picture, View
from r4agent.policy.extract import understand
from r4agent.textworld import make_clip
from r4agent.textworld.level0 import Board, boards

TIGHT, WIDE = (0.1, 0.5), (2.0, 4.0)  # margins around a text, in heights and widths of what it stands on
NEAR = 0.75  # the margin of a box that can be foreseen, in heights of what stands in it
BESIDE = 1.0  # the same of a label's tab, too small to be seen in an overview
TRIES = 50  # lots for a wrong place


class Unfit(UsageError):
    """The plan can't be carried out on this item."""


@dataclass
class Scene:
    """What a plan goes by: the item, how the student writes boxes, chance, and the pictures so far."""

    item: Item
    profile: ModelProfile
    lot: Random
    pictures: tuple[Picture, ...] = ()

    @property
    def key(self) -> str:
        """What the question asks about, in a word or a phrase of its own."""
        asked = understand(self.item.question)
        words = sorted(asked.words, key=lambda word: -word[1])
        return protocol.plain(asked.colour or (words[0][0] if words else self.item.question))

    def span(self, view: View) -> Span | None:
        """Where the answer stands at the moment of a view, if it does."""
        return next((span for span in self.item.evidence if span.box and during(view, span)), None)

    def holding(self) -> Picture:
        """The latest picture in which the answer stands, legible or not."""
        for picture in reversed(self.pictures):
            if (span := self.span(picture.view)) and _holds(picture.view.region, self.place(span)):
                return picture
        raise Unfit("no picture so far is of the moment")

    def place(self, span: Span) -> Box:
        """What the text stands on, where the item knows it, as a sign's panel: small text can't be seen in
        an overview, its panel can."""
        box = span.source_box
        assert box is not None
        panel = self.item.meta.get("panel")
        return box if panel is None else box.hull(Box(*panel))

    def select(self, thought: str, moment: float) -> str:
        pages = self.item.evidence[0].unit == "page"
        return _call(thought, "select_frames", {"frames": [int(moment)]} if pages else {"times": [moment]})

    def zoom(self, thought: str, picture: Picture, box: Box) -> str:
        """box: in source pixels; the part inside the picture is asked for."""
        return _call(thought, "zoom", {"view": picture.name, "box": self.written(box, picture.view)})

    def again(self, thought: str, picture: Picture) -> str:
        return _call(thought, "re_encode", {"view": picture.name, "detail": "high"})

    def answer(self) -> str:
        """The answer, with its evidence. Unfit unless a picture shows it."""
        height = self.item.meta.get("text_height")
        for picture in reversed(self.pictures):
            span = self.span(picture.view)
            if span and span.source_box and shows(picture.view, span, height):
                text = protocol.plain(self.item.answers[0])
                cite = {"view": picture.name, "box": self.written(span.source_box, picture.view)}
                said = f"<evidence>{json.dumps(cite)}</evidence><answer>{text}</answer>"
                return f"<think>{picture.name} shows it: {text}.</think>\n{said}"
        raise Unfit("the text is too small in every picture")

    def written(self, box: Box, view: View) -> list[float]:
        """A source box as the student writes it over a picture of this view."""
        return written(box, view, self.profile)

    def around(self, picture: Picture, margin: tuple[float, float]) -> Box:
        """The place in a picture with a margin drawn by lot: a student's boxes will not be exact either."""
        span = self.span(picture.view)
        assert span is not None  # of `holding` alone
        place = self.place(span)
        left, top, right, foot = (self.lot.uniform(*margin) for _ in range(4))
        wide, high = place.width, place.height
        box = Box(
            place.x0 - left * wide, place.y0 - top * high, place.x1 + right * wide, place.y1 + foot * high
        )
        inside = box.overlap(picture.view.region)
        assert inside is not None
        return inside

    def text(self, picture: Picture) -> Box:
        """Where the answer itself stands in a picture that holds it."""
        span = self.span(picture.view)
        box = span.source_box if span else None
        assert box is not None  # of `holding` alone
        return box

    def board(self, picture: Picture) -> Box:
        """What the answer stands on. Unfit where the item does not know it."""
        if self.item.meta.get("panel") is None:
            raise Unfit("it is not known what the text stands on")
        return self.text(picture).hull(Box(*self.item.meta["panel"]))

    def of_board(self, board: Board) -> Picture:
        """The first picture in which a board of level 0 stands whole."""
        whole = Box(*board.shape.box)
        for picture in self.pictures:
            there = picture.view.frame in range(board.shape.first, board.shape.stop)
            if there and _holds(picture.view.region, whole):
                return picture
        raise Unfit("the overview does not show every board")

    def moment(self) -> float:
        """A moment, or a page, at which the answer stands there: that of a picture if there is one, since a
        student can know of no other."""
        seen = [picture for picture in self.pictures if self.span(picture.view)]
        if seen:
            return moment_of(self.lot.choice(seen).view)
        span = self.lot.choice([span for span in self.item.evidence if span.box])
        return round((span.start + span.end) / 2, 3)

    def other(self) -> Picture:
        """A picture of the overview in which the answer does not stand."""
        others = [picture for picture in self.pictures if self.span(picture.view) is None]
        if not others:
            raise Unfit("the answer stands in every picture of the overview")
        return self.lot.choice(others)

    def elsewhere(self, picture: Picture) -> Box:
        """A box of the right one's size that shares nothing with it."""
        right, region = self.around(picture, TIGHT), picture.view.region
        span = self.span(picture.view)
        assert span is not None
        for _ in range(TRIES):
            x0 = self.lot.uniform(region.x0, region.x1 - right.width)
            y0 = self.lot.uniform(region.y0, region.y1 - right.height)
            box = Box(x0, y0, x0 + right.width, y0 + right.height)
            if box.overlap(right) is None and box.overlap(self.place(span)) is None:
                return box
        raise Unfit("the answer fills the picture: there is no wrong place")


def roomy(box: Box, within: Box, near: float = NEAR) -> Box:
    """A source box with room on each side, `near` of its height, and no more than there is."""
    room = near * box.height
    inside = box.grown(room, room).overlap(within)
    if inside is None:
        raise Unfit("the picture holds nothing of the place")
    return inside


def written(box: Box, view: View, profile: ModelProfile) -> list[float]:
    """A source box over a picture of this view, in the profile's space: whole numbers, except where the
    space is fractions."""
    inside = box.overlap(view.region)
    if inside is None:
        raise Unfit("the picture holds nothing of the place")
    mine = convert(inside, profile.space, region=view.region, shown=view.size)
    if profile.space == "unit":
        return [round(v, 4) for v in mine.corners]
    x0, y0, x1, y1 = mine.corners
    return [int(x0), int(y0), -int(-x1 // 1), -int(-y1 // 1)]  # outward: no part of the text is lost


def boards_of(item: Item) -> list[Board]:
    """The boards of the clip that a question by label is about. Unfit where it is none of these."""
    if item.meta.get("kind") != "sign by label":
        raise Unfit("no sign is asked for by its label")
    found = list(boards(make_clip(item.meta["level"], item.meta["seed"])))
    asked = [board.ink.string for board in found if board.label and board.label.string == item.meta["label"]]
    if asked != list(item.answers):
        raise Unfit("this machine draws the clip otherwise: it has other typefaces")
    return found


def moment_of(view: View) -> float:
    """As `select_frames` is asked for it: a page, or a time to the millisecond."""
    return view.frame + 1 if view.time is None else round(view.time, 3)


def _holds(region: Box, place: Box) -> bool:
    shared = region.overlap(place)
    return shared is not None and shared.area >= 0.99 * place.area


def _call(thought: str, name: str, arguments: dict[str, object]) -> str:
    call = json.dumps({"name": name, "arguments": arguments})
    return f"<think>{thought}</think>\n<tool_call>{call}</tool_call>"
