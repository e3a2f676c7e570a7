"""Level 0: eight signs, each of its own colour, that an overview of eight frames shows but can't read."""

import re
from collections import Counter

import numpy as np
import pytest

from r4agent.geometry import Box
from r4agent.textworld import Clip, level0, make_clip
from r4agent.textworld.fonts import BUILT_IN, Face, built_in
from r4agent.textworld.level0 import COLOURS, SIGNS, boards, panel
from r4agent.textworld.world import overlap

SEEDS = range(12)


@pytest.fixture(scope="module", params=SEEDS)
def clip(request: pytest.FixtureRequest) -> Clip:
    return make_clip(0, request.param)


def test_each_colour_and_each_label_is_asked_for_once(clip: Clip) -> None:
    signs = [text for text in clip.texts if text.kind == "sign"]
    assert len(signs) == SIGNS
    assert len({text.role for text in signs}) == SIGNS
    asked = [item.meta["colour"] for item in clip.items if item.meta["kind"] == "sign by colour"]
    assert sorted(asked) == sorted(text.role for text in signs)
    labels = [text.string for text in clip.texts if text.kind == "label"]
    assert len(set(labels)) == len(labels)
    asked = [item.meta["label"] for item in clip.items if item.meta["kind"] == "sign by label"]
    assert sorted(asked) == sorted(labels)


def test_strings_are_short_and_differ(clip: Clip) -> None:
    strings = [text.string for text in clip.texts if text.kind == "sign"]
    assert all(re.fullmatch(r"[A-Za-z0-9]{1,8}", string) for string in strings)
    assert len({string.lower() for string in strings}) == SIGNS


def test_the_middle_of_each_eighth_shows_a_sign_of_its_own(clip: Clip) -> None:
    signs = [text for text in clip.texts if text.kind == "sign"]
    for slot, sign in enumerate(signs):
        middle = int((slot + 0.5) * clip.frames / SIGNS)
        assert sign.box_at(middle) is not None
    assert len({clip.state(index) for index in range(clip.frames)}) >= SIGNS
    assert 4 <= clip.seconds <= 8


def test_text_is_too_small_for_a_thumbnail_and_large_enough_in_the_source(clip: Clip) -> None:
    for text in clip.texts:
        assert text.height >= 10
        assert text.height * 448 / clip.size.width <= 3.6


def test_a_face_that_has_no_fitting_size_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Roboto's capitals, hinted, are 9 pixels high or 11, and at 1280 pixels across they must be 10."""

    class Odd(Face):
        def cap_height(self, size: int) -> int:
            return 9 if size < 14 else 12

    monkeypatch.setattr(level0, "plain_fonts", lambda: (Odd("Odd", None, mono=False), built_in()))
    assert {text.font for text in make_clip(0, 0).texts} == {BUILT_IN}


def test_the_sign_lies_around_its_text_in_its_colour(clip: Clip) -> None:
    for item in clip.items:
        sign, (span,) = Box(*panel(item)), item.evidence
        assert span.box is not None
        assert sign.overlap(Box(*span.box)) == Box(*span.box)
        if item.meta["kind"] == "sign by colour":
            x0, y0, x1, _ = panel(item)
            frame = clip.render(round(span.start * clip.fps))
            assert frame.getpixel(((x0 + x1) // 2, y0 + 3)) == COLOURS[item.meta["colour"]]


def test_colours_can_be_told_apart_in_a_thumbnail(clip: Clip) -> None:
    """The sign's colour, as a 448-pixel overview shows it, is nearer to its own than to any other."""
    scale = 448 / clip.size.width
    for item in clip.items:
        if item.meta["kind"] != "sign by colour":
            continue
        frame = clip.render(round(item.evidence[0].start * clip.fps))
        small = frame.resize((448, round(clip.size.height * scale)))
        x0, y0, x1, y1 = panel(item)
        left, top, right, foot = (round(v * scale) for v in (x0 + 6, y0 + 6, x1 - 6, y1 - 6))
        tones = Counter(map(tuple, np.asarray(small)[top:foot, left:right].reshape(-1, 3).tolist()))
        seen = tones.most_common(1)[0][0]
        nearest = min(COLOURS, key=lambda n: sum((a - b) ** 2 for a, b in zip(COLOURS[n], seen, strict=True)))
        assert nearest == item.meta["colour"]


def test_boards_are_the_signs_with_their_labels(clip: Clip) -> None:
    found = list(boards(clip))
    assert len(found) == 8
    assert found == sorted(found, key=lambda board: board.shape.first)
    labels = {item.meta["label"]: item for item in clip.items if item.meta["kind"] == "sign by label"}
    assert labels.keys() <= {board.label.string for board in found if board.label}
    for board in found:
        assert overlap(board.shape.box, board.ink.box)
        if board.label and board.label.string in labels:
            item = labels[board.label.string]
            assert item.answers == (board.ink.string,)
            assert item.meta["panel"] == list(board.shape.box)
        assert {p.first for p in board.paints} == {board.shape.first}
        assert len(board.paints) == (4 if board.label else 2)
