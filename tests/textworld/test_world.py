"""Every clip of every level but documents (test_document): boxes, spans, answers agree with the pixels."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw

from r4agent.errors import UsageError
from r4agent.item import Item
from r4agent.textworld import Clip, make_clip
from r4agent.textworld.levels import LEVELS
from r4agent.textworld.stage import holds
from r4agent.textworld.world import Ink, Sprite

CLIPS = [(level, seed) for level in LEVELS if level != 1 for seed in range(4)]


@pytest.fixture(scope="module", params=CLIPS, ids=lambda pair: f"level{pair[0]}-seed{pair[1]}")
def clip(request: pytest.FixtureRequest) -> Clip:
    return make_clip(*request.param)


def test_the_box_is_the_ink_of_the_text_drawn_alone(clip: Clip) -> None:
    for ink in (paint for paint in clip.paints if isinstance(paint, Ink)):
        for shown in clip.texts[ink.text].shown:
            if ink.first <= shown.first < ink.stop:
                left, top = shown.box[0] - 40, shown.box[1] - 40
                page = Image.new("RGB", (shown.box[2] - left + 40, shown.box[3] - top + 40))
                alone = replace(ink, x=ink.x - left, y=ink.y - top, fill=(255, 255, 255))
                if isinstance(ink, Sprite):
                    alone = replace(alone, view=None)
                alone.draw(page, ImageDraw.Draw(page))
                drawn = page.convert("L").point(lambda value: 255 * (value > 32)).getbbox()
                assert drawn is not None
                assert np.abs(np.subtract(drawn, np.subtract(shown.box, (left, top) * 2))).max() <= 1


def without(clip: Clip, number: int) -> Clip:
    """The clip with one text left out."""
    paints = tuple(p for p in clip.paints if not (isinstance(p, Ink) and p.text == number))
    return replace(clip, paints=paints, _last={})


def difference(one: Clip, other: Clip, index: int) -> tuple[int, int, int, int] | None:
    return ImageChops.difference(one.render(index), other.render(index)).getbbox()


def test_a_text_changes_pixels_in_its_box_within_its_span_and_nowhere_else(clip: Clip) -> None:
    for number in range(0, len(clip.texts), max(1, len(clip.texts) // 12)):
        text, bare = clip.texts[number], without(clip, number)
        drawn = [p for p in clip.paints if isinstance(p, Ink) and p.text == number]
        for shown in text.shown[:: max(1, len(text.shown) // 3)]:
            for index in {shown.first, shown.stop - 1}:
                changed = difference(clip, bare, index)
                assert changed is not None, f"{text.string} is not in frame {index}"
                assert np.abs(np.subtract(changed, shown.box)).max() <= 1
            for index in {shown.first - 1, shown.stop} & set(range(clip.frames)):
                if not any(p.first <= index < p.stop for p in drawn):
                    assert difference(clip, bare, index) is None, f"{text.string} is in frame {index}"


def test_no_text_is_written_over_another(clip: Clip) -> None:
    """Neighbouring runs of one line may touch: two pixels are let pass."""
    for index in range(0, clip.frames, max(1, clip.frames // 8)):
        boxes = [(text.string, box) for text in clip.texts if (box := text.box_at(index))]
        for (one, a), (two, b) in combinations(boxes, 2):
            wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            assert min(wide, high) <= 2, f"{one!r} and {two!r} in frame {index}"


def test_times_boxes_and_spans_lie_in_the_clip(clip: Clip) -> None:
    assert clip.times[0] == 0
    assert len(clip.times) == clip.frames
    frame = (0, 0, clip.size.width, clip.size.height)
    assert clip.render(0).size == frame[2:]
    for text in clip.texts:
        for shown in text.shown:
            x0, y0, x1, y1 = shown.box
            assert 0 <= x0 < x1 <= frame[2]
            assert 0 <= y0 < y1 <= frame[3]
            assert 0 <= shown.first < shown.stop <= clip.frames
            assert shown.start == clip.times[shown.first]
            assert shown.end == shown.stop / clip.fps
            assert text.box_at(shown.first) == shown.box
        for one, two in zip(text.shown, text.shown[1:], strict=False):
            assert one.stop <= two.first, f"{text.string} stands in two places at once"


def test_one_text_answers_each_question(clip: Clip) -> None:
    assert clip.items
    assert len({item.question for item in clip.items}) == len(clip.items)
    for item in clip.items:
        assert Item.model_validate_json(item.model_dump_json()) == item
        if item.meta.get("unanswerable"):
            assert not item.answers
            assert not item.evidence
            continue
        (answer,) = item.answers
        holding = [text for text in clip.texts if holds(text.string, answer)]
        assert [text.string for text in holding] == [answer]
        spans = [(s.start, s.end, s.box) for s in item.evidence]
        assert spans == [(s.start, s.end, s.box) for s in holding[0].shown]
        assert spans
        assert item.meta["visible_seconds"] == holding[0].seconds
        assert item.meta["text_height"] == holding[0].height


@pytest.mark.parametrize("level", LEVELS)
def test_a_seed_gives_the_same_clip_and_another_seed_another(level: int) -> None:
    one, again, other = make_clip(level, 7), make_clip(level, 7), make_clip(level, 8)
    assert one == again
    assert one.items != other.items
    for index in (0, one.frames // 2, one.frames - 1):
        assert one.render(index).tobytes() == again.render(index).tobytes()


def test_a_rendered_frame_is_the_callers_own() -> None:
    clip = make_clip(0, 1)
    before = clip.render(0).tobytes()
    clip.render(0).paste((1, 2, 3), (0, 0, 50, 50))
    assert clip.render(0).tobytes() == before


def test_frames_can_be_drawn_in_any_order() -> None:
    clip, other = make_clip(0, 1), make_clip(0, 1)
    forward = [clip.render(i).tobytes() for i in range(0, clip.frames, 5)]
    backward = [other.render(i).tobytes() for i in reversed(range(0, clip.frames, 5))]
    assert forward == backward[::-1]


def test_a_frame_outside_the_clip_is_refused() -> None:
    clip = make_clip(0, 1)
    for index in (-1, clip.frames):
        with pytest.raises(IndexError, match=f"frame {index}"):
            clip.render(index)


def test_bad_arguments_say_what_exists() -> None:
    with pytest.raises(UsageError, match=r"level 9: the text world has levels 0"):
        make_clip(9, 0)
    with pytest.raises(UsageError, match=r"seed -1: must be 0 or more"):
        make_clip(0, -1)
