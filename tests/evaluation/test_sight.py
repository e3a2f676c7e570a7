"""What counts as seen: the right place, at the right moment, large enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4agent.errors import UsageError
from r4agent.evaluation.sight import score_sight, shows
from r4agent.evidence import Evidence
from r4agent.geometry import Box, Size
from r4agent.item import Item, Span
from r4agent.media.view import View

SPAN = Span(start=2.0, end=3.0, box=(100, 100, 200, 120))  # text 20 pixels high
WHOLE, SOURCE = Box(0, 0, 1920, 1080), Size(1920, 1080)


def view(time: float | None = 2.5, region: Box = WHOLE, size: Size = SOURCE, frame: int = 7) -> View:
    return View(frame, time, region, size)


def item(*spans: Span, **meta: object) -> Item:
    return Item(id="q", media="a.mp4", question="?", answers=("x",), evidence=spans, meta=meta)


def place(
    time: float | None = 2.5, box: tuple[float, ...] = (100, 100, 200, 120), page: int | None = None
) -> Evidence:
    return Evidence(time=time, page=page, box=box, text="x", image="img:", view="v1")  # type: ignore[arg-type]


def scores(
    *places: Evidence, spans: tuple[Span, ...] = (SPAN,), answered: bool = True
) -> dict[str, float | None]:
    seen = view(None if spans[0].unit == "page" else 2.5)
    return score_sight(item(*spans), [seen], places, answered)


@pytest.mark.parametrize(("time", "seen"), [(1.99, False), (2.0, True), (2.99, True), (3.0, False)])
def test_a_frame_counts_from_the_start_of_the_span_until_before_its_end(time: float, seen: bool) -> None:
    assert shows(view(time), SPAN) is seen


@given(st.integers(1, 120), st.integers(0, 5000), st.integers(1, 500), st.integers(0, 6000))
def test_no_frame_is_lost_or_won_by_rounding(fps: int, first: int, length: int, frame: int) -> None:
    """Times of frames are kept to the microsecond, spans are not."""
    span = Span(start=first / fps, end=(first + length) / fps, box=SPAN.box)
    assert shows(view(round(frame / fps, 6)), span) is (first <= frame < first + length)


def test_seconds_are_not_taken_for_pages_nor_pages_for_seconds() -> None:
    page = Span(start=2, end=3, box=SPAN.box, unit="page")
    for span, seen in ((SPAN, view(None)), (page, view(2.5))):
        with pytest.raises(
            UsageError, match=r"item q: the unit of where its answer stands must be '(page|seconds)'"
        ):
            score_sight(item(span), [seen], [], answered=False)


def test_a_span_of_one_moment_holds_that_moment() -> None:
    assert shows(view(2.0), Span(start=2.0, end=2.0, box=SPAN.box))


@pytest.mark.parametrize(("x0", "seen"), [(100, True), (120, True), (121, False), (300, False)])
def test_four_fifths_of_the_box_must_be_in_the_picture(x0: int, seen: bool) -> None:
    region = Box(x0, 0, x0 + 400, 400)
    assert shows(view(region=region, size=Size(400, 400)), SPAN) is seen


@pytest.mark.parametrize(
    ("width", "height", "seen"), [(960, 540, True), (959, 539, False), (960, 530, False)]
)
def test_text_must_be_ten_pixels_high_as_shown(width: int, height: int, seen: bool) -> None:
    assert shows(view(size=Size(width, height)), SPAN) is seen


def test_magnifying_does_not_make_small_text_legible() -> None:
    tiny = Span(start=2, end=3, box=(100, 100, 200, 109))
    enlarged = view(region=Box(100, 100, 200, 110), size=Size(400, 40))
    assert not shows(enlarged, tiny)
    assert shows(enlarged, Span(start=2, end=3, box=(100, 100, 200, 110)))


def test_the_height_of_the_text_goes_before_that_of_its_box() -> None:
    seen = score_sight(item(SPAN, text_height=9), [view()], [], answered=False)
    assert seen["evidence_recall"] == 0
    assert score_sight(item(SPAN), [view()], [], answered=False)["evidence_recall"] == 1


def test_pages_are_counted_from_one_and_with_the_last() -> None:
    span = Span(start=2, end=3, box=SPAN.box, unit="page")
    assert [shows(view(None, frame=frame), span) for frame in range(4)] == [False, True, True, False]


def test_any_span_will_do_and_unknown_evidence_has_no_figure() -> None:
    late = Span(start=8, end=9, box=SPAN.box)
    assert score_sight(item(late, SPAN), [view()], [], False)["evidence_recall"] == 1
    assert set(score_sight(item(), [view()], [place()], True).values()) == {None}
    no_box = score_sight(item(Span(start=2, end=3)), [view()], [place()], True)
    assert (no_box["evidence_recall"], no_box["evidence_hit"], no_box["box_iou"]) == (None, 1, None)


def test_a_hit_is_at_the_right_moment_and_half_in_the_right_place() -> None:
    assert scores(place())["evidence_hit"] == 1
    assert scores(place(time=4.0))["evidence_hit"] == 0
    assert scores(place(box=(150, 100, 250, 120)))["evidence_hit"] == 1  # half of it
    assert scores(place(box=(151, 100, 251, 120)))["evidence_hit"] == 0
    assert scores(place(box=(140, 105, 150, 115)))["evidence_hit"] == 1  # the word within the line
    assert scores(place(box=(100, 100, 1100, 140)))["evidence_hit"] == 1  # its line, 20 times as large
    assert scores(place(box=(0, 0, 1920, 1080)))["evidence_hit"] == 0  # the whole frame says nothing
    assert scores(place(time=4.0), place())["evidence_hit"] == 1
    assert scores(place(), answered=False)["evidence_hit"] == 0
    assert scores()["evidence_hit"] == 0


def test_box_iou_is_of_the_best_evidence_at_the_right_moment() -> None:
    assert scores(place())["box_iou"] == 1
    assert scores(place(time=9.0))["box_iou"] == 0
    assert scores(place(box=(100, 100, 150, 120)), place(box=(0, 0, 10, 10)))["box_iou"] == 0.5


def test_time_iou_needs_two_moments() -> None:
    assert scores(place())["time_iou"] is None
    assert scores(place(2.0), place(3.0))["time_iou"] == 1
    assert scores(place(2.5), place(3.5))["time_iou"] == pytest.approx(0.5 / 1.5)
    assert scores(place(7.0), place(8.0))["time_iou"] == 0


def test_page_is_of_the_first_evidence() -> None:
    span = Span(start=2, end=2, box=SPAN.box, unit="page")
    right, wrong = place(None, page=2), place(None, page=5)
    assert scores(right, wrong, spans=(span,))["page"] == 1
    assert scores(wrong, right, spans=(span,))["page"] == 0
    assert scores(spans=(span,))["page"] == 0
    assert scores(place())["page"] is None


boxes = st.tuples(st.integers(0, 900), st.integers(0, 900), st.integers(1, 900), st.integers(1, 900)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
times = st.floats(0, 10)


@given(st.lists(st.tuples(times, boxes), max_size=4), boxes, times, st.floats(0.1, 5))
def test_every_score_is_between_0_and_1(
    found: list[tuple[float, tuple[int, int, int, int]]],
    box: tuple[int, int, int, int],
    start: float,
    length: float,
) -> None:
    span = Span(start=start, end=start + length, box=box)
    places = [place(time, at) for time, at in found]
    for value in score_sight(item(span), [view()], places, True).values():
        assert value is None or 0 <= value <= 1


@given(boxes, st.integers(0, 400), st.integers(0, 400))
def test_a_picture_that_shows_it_still_does_when_it_shows_more(
    box: tuple[int, int, int, int], dx: int, dy: int
) -> None:
    span = Span(start=0, end=9, box=box)
    near = Box(*box).pixels(SOURCE)
    wide = near.grown(dx, dy).pixels(SOURCE)
    if shows(view(region=near, size=Size(round(near.width), round(near.height))), span):
        assert shows(view(region=wide, size=Size(round(wide.width), round(wide.height))), span)
