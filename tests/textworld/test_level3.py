"""Level 3: text that moves, is tiny, stands for a moment, or is one among many."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from PIL import Image, ImageChops, ImageDraw

from r4agent.reader import Reader
from r4agent.text import contains
from r4agent.textworld import Clip, Text, make_clip
from r4agent.textworld.world import Ink, Polygon, Shape, Sprite, luma

SEEDS = range(40)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [make_clip(3, seed) for seed in SEEDS]


def texts(clips: list[Clip], kind: str) -> list[Text]:
    return [text for clip in clips for text in clip.texts if text.kind == kind and text.shown]


def test_clips_are_as_long_and_large_as_promised(clips: list[Clip]) -> None:
    for clip in clips:
        assert 6 <= clip.seconds <= 10
        assert 12 <= clip.fps <= 20
        assert 1280 <= clip.size.width <= 1920
        assert clip.size.width % 2 == clip.size.height % 2 == 0
        assert all(text.height >= 10 for text in clip.texts)


def test_every_kind_is_asked_with_distractors_and_few_cannot_be_answered(clips: list[Clip]) -> None:
    items = [item for clip in clips for item in clip.items]
    kinds = Counter(item.meta["kind"] for item in items)
    assert set(kinds) == {"gauge", "credit", "flash", "ticker", "moving sign", "unanswerable"}
    assert max(kinds.values()) < len(items) / 2
    assert 0.02 < kinds["unanswerable"] / len(items) < 0.1
    assert sum("distractors" in item.meta for item in items) > 0.8 * len(items)


def test_a_distractor_is_shown_and_is_not_the_answer(clips: list[Clip]) -> None:
    for clip in clips:
        shown = {text.string for text in clip.texts if text.shown}
        for item in clip.items:
            for other in item.meta.get("distractors", []):
                assert other["text"] in shown - set(item.answers)
                x0, y0, x1, y1 = other["box"]
                assert 0 <= x0 < x1 <= clip.size.width
                assert 0 <= y0 < y1 <= clip.size.height
                assert 0 <= other["start"] < other["end"] <= clip.seconds


def test_credits_and_tickers_move_and_are_not_shown_where_an_edge_cuts_them(clips: list[Clip]) -> None:
    for kind, axis in (("credit name", 1), ("ticker price", 0)):
        moving = [text for text in texts(clips, kind) if len(text.shown) > 3]
        assert moving
        for text in moving:
            places = [run.box[axis] for run in text.shown]
            assert places == sorted(places, reverse=True)
            assert len(set(places)) == len(places)
    cut = [ink for clip in clips for ink in clip.paints if isinstance(ink, Sprite) and ink.view
           and not any(run.first <= ink.first < run.stop for run in clip.texts[ink.text].shown)]  # fmt: skip
    assert cut


def test_captions_flash_and_what_flashes_twice_is_asked_for_by_its_turn(clips: list[Clip]) -> None:
    assert all(0.2 <= text.seconds <= 0.7 for text in texts(clips, "caption code"))
    turns = 0
    for clip in clips:
        places = Counter(text.string for text in clip.texts if text.kind == "caption place")
        for item in clip.items:
            if item.meta["kind"] == "flash":
                twice = places[item.question.split("'")[1]] == 2
                assert twice == ("the first time" in item.question or "the second time" in item.question)
                turns += twice
    assert turns


def test_some_signs_stand_askew_and_some_swell(clips: list[Clip]) -> None:
    inks = [p for clip in clips for p in clip.paints if isinstance(p, Sprite)]
    assert any(ink.angle for ink in inks)
    sizes = Counter((ink.string, ink.size) for ink in inks)
    swelling = Counter(string for string, _ in sizes)
    assert max(swelling.values()) > 5


def test_what_stands_askew_stands_on_its_board(clips: list[Clip]) -> None:
    """No pixel of the text lies off the polygon drawn right before it, where both are whole."""
    seen = 0
    for clip in clips[:20]:
        for board, ink in pairwise(clip.paints):
            if isinstance(board, Polygon) and isinstance(ink, Sprite):
                size = clip.size.width, clip.size.height
                text, ground = Image.new("RGB", size), Image.new("RGB", size)
                replace(ink, fill=(255, 255, 255), view=None).draw(text, ImageDraw.Draw(text))
                replace(board, fill=(255, 255, 255), outline=None).draw(ground, ImageDraw.Draw(ground))
                assert ImageChops.subtract(text, ground).getbbox() is None, ink.string
                seen += 1
                break
    assert seen > 3


def test_every_role_of_the_credits_fits_its_panel(clips: list[Clip]) -> None:
    roles = [ink for clip in clips for ink in clip.paints if isinstance(ink, Sprite)
             and clip.texts[ink.text].kind in ("credit role", "credit name")]  # fmt: skip
    assert roles
    for ink in roles:
        assert ink.view is not None
        assert ink.view[0] < ink.box[0]
        assert ink.box[2] < ink.view[2]


def test_a_gauge_is_asked_for_only_where_its_label_can_be_read_too(clips: list[Clip]) -> None:
    for clip in clips:
        labels = {text.role: text for text in clip.texts if text.kind == "gauge label"}
        for item in clip.items:
            if item.meta["kind"] == "gauge":
                label, hall = item.question.split("'")[1::2]
                shown = labels[f"{label} in {hall}"].shown
                both = sum(
                    max(0, min(a.end, b.end) - max(a.start, b.start)) for a in shown for b in item.evidence
                )
                assert both > 0.19, item.question


def test_faint_text_differs_from_its_board(clips: list[Clip]) -> None:
    """The shape that lies right under a gauge or credit differs from it in brightness by 50 at least."""
    for clip in clips[:10]:
        for depth, ink in enumerate(clip.paints):
            if isinstance(ink, Ink):
                before = (p for p in clip.paints[:depth] if isinstance(p, Shape))
                drawn = [p for p in before if p.first <= ink.first < p.stop]
                x0, y0, x1, y1 = (isinstance(ink, Sprite) and ink.view) or (
                    0,
                    0,
                    clip.size.width,
                    clip.size.height,
                )
                x, y = min(max(ink.x, x0), x1 - 1), min(max(ink.y, y0), y1 - 1)  # where it is seen
                under = [p for p in drawn if p.box[0] <= x <= p.box[2] and p.box[1] <= y <= p.box[3]]
                if under:
                    assert abs(luma(under[-1].fill) - luma(ink.fill)) >= 50


@pytest.mark.slow
def test_a_reader_finds_the_answers(clips: list[Clip]) -> None:
    reader, found = Reader(), []
    for clip in clips[:16]:
        item = next(item for item in clip.items[clip.seed % 5 :] if item.evidence)
        span = item.evidence[len(item.evidence) // 2]
        assert span.box is not None
        frame = clip.render(int((span.start + span.end) / 2 * clip.fps))
        high = span.box[3] - span.box[1]
        x0, y0, x1, y1 = (round(v + d * high) for v, d in zip(span.box, (-1, -1, 1, 1), strict=True))
        found.append(contains(reader.read(frame.crop((x0, y0, x1, y1))), item.answers[0]).score == 1)
    assert sum(found) >= 14
