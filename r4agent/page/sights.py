"""Sights: the pictures of a thread as a page shows them, each with the picture it was cut from.

Promises: a region's box stands in the widest picture of its frame that was seen before it, or else in an
outline of the source. Does not: load pixels (the album does).
"""

from dataclasses import dataclass
from typing import Any, Literal

from r4agent.geometry import Box, Size, convert
from r4agent.media.view import Picture
from r4agent.page.wording import moment

Kind = Literal["overview", "chosen", "region"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle on a picture, in percent of its width and height."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Sight:
    """A picture as the policy was shown it. anchor: its id in the page. parent: the picture of the same
    frame that shows more, where one was seen; mark: this one's region, in the parent or else in the source,
    whose size `outline` is."""

    anchor: str
    picture: Picture
    kind: Kind
    when: str
    parent: "Sight | None" = None
    mark: Mark | None = None
    outline: Size | None = None

    @property
    def region(self) -> str:
        return corners(self.picture.view.region)

    @property
    def words(self) -> str:
        """What the picture is, for those who can't see it."""
        what = {"overview": "overview frame", "chosen": "frame", "region": "region"}[self.kind]
        where = f", source pixels {self.region}" if self.kind == "region" else ""
        return f"{self.picture.name}: {what}, {self.when}{where}"


class Sights:
    """The pictures of one thread by name, numbered in the order in which they were shown. media: of the
    episode's header."""

    def __init__(self, media: dict[str, Any]) -> None:
        self.kind: str = media["kind"]
        width, height = media["size"]
        self.size = Size(width, height)
        self.by_name: dict[str, Sight] = {}

    def add(self, picture: Picture, *, overview: bool) -> Sight:
        """Take in a picture, as the next one that was shown."""
        view, parent = picture.view, self.widest(picture)
        paged = self.kind in ("pdf", "images")  # their sizes differ: what nothing shows more of is whole
        whole = parent is None if paged else view.region.corners == self.size.box.corners
        kind: Kind = "overview" if overview else "chosen" if whole else "region"
        if kind != "region":
            parent, mark = None, None
        elif parent:
            mark = mark_of(view.region, parent.picture)
        else:
            mark = _percent(convert(view.region, "unit", region=self.size.box, shown=self.size))
        sight = Sight(
            anchor=f"p{len(self.by_name) + 1}",
            picture=picture,
            kind=kind,
            when=self.when(view.time, view.frame + 1),
            parent=parent,
            mark=mark,
            outline=self.size if mark and not parent else None,
        )
        self.by_name[picture.name] = sight
        return sight

    def widest(self, picture: Picture) -> Sight | None:
        """The picture that shows most around this one, of those of its frame seen so far."""
        view = picture.view
        same = [s for s in self.by_name.values() if s.picture.view.frame == view.frame]
        wider = [s for s in same if _contains(s.picture.view.region, view.region)]
        return max(wider, key=_extent, default=None)

    def when(self, time: float | None, page: int | None) -> str:
        """Where in the media, in words."""
        if time is not None:
            return moment(time)
        match self.kind:
            case "pdf":
                return f"page {page}"
            case "images":
                return f"picture {page}"
            case _:
                return "the picture"


def _contains(outer: Box, inner: Box) -> bool:
    """Whether `outer` shows all of `inner`, and more."""
    return (
        outer.x0 <= inner.x0
        and outer.y0 <= inner.y0
        and outer.x1 >= inner.x1
        and outer.y1 >= inner.y1
        and outer.area > inner.area
    )


def _extent(sight: Sight) -> tuple[float, int]:
    """What decides which of two pictures shows more."""
    view = sight.picture.view
    return view.region.area, view.size.pixels


def mark_of(box: Box, picture: Picture) -> Mark:
    """A source box on a picture, what lies outside cut off."""
    view = picture.view
    inside = box.overlap(view.region) or view.region
    return _percent(convert(inside, "unit", region=view.region, shown=view.size))


def _percent(unit: Box) -> Mark:
    x0, y0, x1, y1 = (round(100 * v, 3) for v in unit.corners)
    return Mark(x0, y0, round(x1 - x0, 3), round(y1 - y0, 3))


def corners(box: Box) -> str:
    return ", ".join(f"{v:.0f}" for v in box.corners)
