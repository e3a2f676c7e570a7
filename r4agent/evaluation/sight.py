"""Sight: did the policy see what answers the question, and does its evidence say so?

Promises: figures in 0–1, or None where the question can't have one (its evidence isn't known).
Does not: read pictures. What counts is where a picture's pixels come from and how large text stands in it.

The first figure needs no reader, so it separates looking from reading: a picture *shows* the answer when it
holds at least 80 % of the answer's box, at a moment when the answer stands there, and the text is at least 10
pixels high, in the source and as shown. Both numbers are ours: below 10 pixels readers of screen text fail.
"""

from collections.abc import Iterable, Sequence

from r4agent.errors import UsageError
from r4agent.evidence import Evidence
from r4agent.geometry import Box
from r4agent.item import Item, Span
from r4agent.media.view import View

COVERED = 0.8
LEGIBLE = 10.0
FAR_LARGER = 20  # a line of text holds its word; the whole frame holds everything, and says nothing
SAME_PLACE = 0.5  # share of the smaller of two boxes that lies in the other, for evidence to be a hit


def score_sight(
    item: Item, views: Iterable[View], evidence: Sequence[Evidence], answered: bool
) -> dict[str, float | None]:
    """What the pictures given to a policy and the evidence of its answer are worth.

    evidence_recall: a picture given shows the answer. evidence_hit: a place of the answer's evidence is the
    right one: at the right moment, or page, at least half of the smaller box in the other, and not far larger
    than the answer's. time_iou: of the time from the first to the last moment of the evidence with the span
    it fits best; None where that is one moment, which has no length. box_iou: of the best evidence at the
    right moment. page: the answer's first evidence is on a right page; None for video. No answer, no
    evidence: hit, box_iou and page are 0.
    """
    spans, places, views = item.evidence, evidence if answered else (), tuple(views)
    _check_units(item.id, spans, views)
    if not spans:
        return dict.fromkeys(("evidence_recall", "evidence_hit", "time_iou", "box_iou", "page"))
    boxed = any(span.box for span in spans)
    height = item.meta.get("text_height")
    shown = any(shows(view, span, height) for view in views for span in spans) if boxed else None
    at = [(place, span) for place in places for span in spans if _during(_moment(place), span)]
    overlaps = [_iou(Box(*place.box), box) for place, span in at if (box := span.source_box)]
    return {
        "evidence_recall": None if shown is None else float(shown),
        "evidence_hit": float(any(_same_place(Box(*place.box), span.source_box) for place, span in at)),
        "time_iou": _time_iou(places, spans),
        "box_iou": max(overlaps, default=0.0) if boxed else None,
        "page": _page(places, spans),
    }


def shows(view: View, span: Span, height: float | None = None) -> bool:
    """Whether a picture of this view shows what stands in the span. height: of its text in source pixels,
    by default that of its box. A span without a box can't be shown."""
    box = span.source_box
    if box is None or not during(view, span):
        return False
    held = box.overlap(view.region)
    if held is None or held.area < COVERED * box.area:
        return False
    scale = min(view.size.width / view.region.width, view.size.height / view.region.height)
    return (height or box.height) * min(1.0, scale) >= LEGIBLE


def during(view: View, span: Span) -> bool:
    """Whether the span's text stands there at the view's moment, wherever in the frame."""
    return _during(view.frame + 1 if view.time is None else view.time, span)


def _check_units(name: str, spans: Iterable[Span], views: Iterable[View]) -> None:
    for view in views:
        unit = "page" if view.time is None else "seconds"
        if any(span.unit != unit for span in spans):
            raise UsageError(
                f"item {name}: the unit of where its answer stands must be {unit!r}, as of its media; mend it"
            )


def _moment(place: Evidence) -> float:
    moment = place.page if place.time is None else place.time
    assert moment is not None
    return moment


def _during(moment: float, span: Span) -> bool:
    """Pages are counted with the last; a second is before the span's end, since what ends then is gone.
    Times of frames are kept to the microsecond, so the span's are too, or a first frame would be early."""
    start, end = round(span.start, 6), round(span.end, 6)
    return start <= moment <= end if span.unit == "page" else start <= moment < end or moment == start


def _same_place(box: Box, truth: Box | None) -> bool:
    if truth is None:
        return True
    shared = box.overlap(truth)
    return (
        shared is not None
        and shared.area >= SAME_PLACE * min(box.area, truth.area)
        and box.area <= FAR_LARGER * truth.area
    )


def _iou(one: Box, other: Box) -> float:
    shared = one.overlap(other)
    return shared.area / (one.area + other.area - shared.area) if shared else 0.0


def _time_iou(places: Sequence[Evidence], spans: Sequence[Span]) -> float | None:
    times = [place.time for place in places if place.time is not None]
    if not times or min(times) == max(times):
        return None
    start, end = min(times), max(times)
    shared = [max(0.0, min(end, span.end) - max(start, span.start)) for span in spans]
    whole = [max(end, span.end) - min(start, span.start) for span in spans]
    return max(part / all_ for part, all_ in zip(shared, whole, strict=True))


def _page(places: Sequence[Evidence], spans: Sequence[Span]) -> float | None:
    if spans[0].unit != "page":
        return None
    return float(bool(places) and any(_during(_moment(places[0]), span) for span in spans))
