"""Level 2: terminals, receipts, tables, settings and short pop-ups."""

import math
from collections import Counter
from itertools import combinations, pairwise
from random import Random

import pytest

from r4agent.geometry import Size
from r4agent.textworld import Clip, make_clip
from r4agent.textworld.fonts import built_in
from r4agent.textworld.level2 import SCENES
from r4agent.textworld.session import COMMANDS, typed
from r4agent.textworld.stage import Stage, Style
from r4agent.textworld.table import table
from r4agent.textworld.terminal import COLUMNS, terminal
from r4agent.textworld.window import THEMES
from r4agent.textworld.world import Ink, Shape, luma

SEEDS = range(60)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [make_clip(2, seed) for seed in SEEDS]


def test_clips_are_as_long_and_large_as_promised(clips: list[Clip]) -> None:
    for clip in clips:
        assert 8 <= clip.seconds <= 20
        assert 10 <= clip.fps <= 25
        assert 1280 <= clip.size.width <= 1920
        assert clip.size.width % 2 == clip.size.height % 2 == 0
        sizes = {paint.size for paint in clip.paints if isinstance(paint, Ink)}
        assert min(sizes) >= 12
        assert max(sizes) <= 22


def test_every_clip_has_a_pop_up_shorter_than_a_second(clips: list[Clip]) -> None:
    kinds = {"pop-up", "pop-up number", "tooltip"}
    for clip in clips:
        seconds = [text.seconds for text in clip.texts if text.kind in kinds]
        assert 2 <= len(seconds) <= 5
        assert min(seconds) < 1
        assert all(0.2 <= each <= 1.5 + 1 / clip.fps for each in seconds)


def test_every_kind_of_question_is_asked_and_few_cannot_be_answered(clips: list[Clip]) -> None:
    items = [item for clip in clips for item in clip.items]
    kinds = Counter(item.meta["kind"] for item in items)
    scenes = {"terminal", "receipt", "table", "form", "pop-up", "tooltip", "unanswerable"}
    assert {kind.split()[0] for kind in kinds} == scenes
    assert max(kinds.values()) < len(items) / 3
    vain = [item for item in items if item.meta.get("unanswerable")]
    assert 0.01 < len(vain) / len(items) < 0.1


def test_what_cannot_be_answered_is_not_there(clips: list[Clip]) -> None:
    for clip in clips:
        roles = {text.role for text in clip.texts}
        for item in clip.items:
            if item.meta.get("unanswerable"):
                assert item.question.count("'") == 2 or "receipt" in item.question
                subject = item.question.split("'")[1] if "'" in item.question else "shop"
                assert subject not in roles


def test_what_a_form_says_stands_in_its_window(clips: list[Clip]) -> None:
    forms = 0
    for clip in clips:
        for text in clip.texts:
            if text.kind in ("form label", "form value", "section"):
                forms += 1
                ink = next(p for p in clip.paints if isinstance(p, Ink) and clip.texts[p.text] == text)
                below = clip.paints[: clip.paints.index(ink)]
                panes = [p.box for p in below if isinstance(p, Shape) and p.first <= ink.first < p.stop]
                assert any(x0 < ink.box[0] and y0 < ink.box[1] and ink.box[2] < x1 and ink.box[3] < y1
                           for x0, y0, x1, y1 in panes), text  # fmt: skip
    assert forms > 100


def test_a_receipt_adds_up(clips: list[Clip]) -> None:
    receipts = 0
    for clip in clips:
        value = {t.role: t.string.strip("$") for t in clip.texts if t.kind == "receipt value"}
        if value:
            receipts += 1
            cents = {name[9:]: round(float(v) * 100) for name, v in value.items() if v.count(".") == 1}
            goods = sum(v for name, v in cents.items() if name not in TOTALS)
            assert goods == cents["Subtotal"]
            assert cents["Subtotal"] + cents["Tax"] == cents["TOTAL"]
            assert cents["Cash"] - cents["TOTAL"] == cents["Change"]
    assert receipts > len(clips) / 10


TOTALS = {"Subtotal", "Tax", "TOTAL", "Cash", "Change"}


def test_a_pop_up_hides_what_it_covers() -> None:
    """A text under a shape is not shown while any pixel of it is covered, and is again after."""
    stage = Stage(2, 0, Size(200, 100), fps=10, frames=30)
    stage.shape((0, 30), (0, 0, 200, 100), (255, 255, 255))
    style = Style(built_in(), 16, (0, 0, 0))
    number = stage.text((0, 30), style.place("hello", 20, 50), "hello", style, "cell", "cell")
    x0, x1, y1 = 20, 20 + style.ink("hello")[0], 50 + style.ink("hello")[1]
    stage.shape((10, 14), (x1 - 1, y1 - 1, x1 + 20, y1 + 20), (9, 9, 9))
    stage.shape((20, 24), (x1, y1, x1 + 20, y1 + 20), (9, 9, 9))  # beside it: covers nothing
    stage.shape((28, 30), (x0 - 5, 0, x1, 100), (9, 9, 9))
    text = stage.clip().texts[number]
    assert [(run.first, run.stop) for run in text.shown] == [(0, 10), (14, 28)]
    assert text.seconds == pytest.approx(2.4)


def test_a_terminal_scrolls_and_its_lines_keep_their_track() -> None:
    stage = Stage(2, 0, Size(1280, 720), fps=10, frames=200)
    terminal(stage, Random(3), (0, 200), (20, 20, 1260, 400))
    clip = stage.clip()
    moved = [text for text in clip.texts if len(text.shown) > 3]
    assert moved, "nothing scrolled"
    for text in moved:
        for one, two in pairwise(text.shown):
            assert one.stop <= two.first
            assert two.box[1] < one.box[1]
            assert one.box[0] == two.box[0]


def collisions(clip: Clip, index: int) -> list[tuple[str, str]]:
    """Pairs of texts of which one is written over the other by more than two pixels."""
    found = []
    standing = [(text.string, box) for text in clip.texts if (box := text.box_at(index))]
    for (one, a), (two, b) in combinations(standing, 2):
        if min(a[2], b[2]) - max(a[0], b[0]) > 2 and min(a[3], b[3]) - max(a[1], b[1]) > 2:
            found.append((one, two))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_status_line_is_gone_when_the_next_line_takes_its_row(seed: int) -> None:
    stage = Stage(2, 0, Size(1280, 720), fps=10, frames=200)
    terminal(stage, Random(seed), (0, 200), (20, 20, 1260, 700))
    clip = stage.clip()
    assert any("packing" in text.string for text in clip.texts)
    assert all(not collisions(clip, index) for index in range(0, 200, 7))


@pytest.mark.parametrize("seed", range(20))
def test_a_tables_cells_fit_their_columns(seed: int) -> None:
    stage = Stage(2, 0, Size(1280, 720), fps=10, frames=100)
    table(stage, Random(seed), (0, 100), (20, 20, 600, 700))
    assert not collisions(stage.clip(), 0)


def test_a_subject_that_pops_up_twice_is_asked_for_by_its_turn(clips: list[Clip]) -> None:
    turns = Counter[str]()
    for clip in clips:
        titles = Counter(text.role for text in clip.texts if text.kind in ("pop-up title", "tooltip label"))
        assert sum(count - 1 for count in titles.values()) <= 1
        for item in clip.items:
            if item.meta["kind"] in ("pop-up text", "pop-up number"):
                subject = item.question.split("'")[1].removesuffix(" ticket").lower()
                when = sorted(text.shown[0].start for text in clip.texts
                              if text.kind == "pop-up title" and text.role == subject)  # fmt: skip
                turn = next((turn for turn in ("first", "second") if f" {turn} " in item.question), "")
                assert bool(turn) == (titles[subject] == 2), item.question
                assert item.evidence[0].start == when[turn == "second"]
                turns[turn] += 1
    assert min(turns[turn] for turn in ("", "first", "second")) > 3


def test_a_session_fits_its_columns() -> None:
    for seed in range(200):
        rng = Random(seed)
        for make in COMMANDS:
            command, output = make(rng)
            for line in (typed(command), *output):
                assert sum(len(run.string) for run in line.runs) <= COLUMNS
                assert all(run.string.strip() for run in line.runs)


def test_text_can_be_told_from_its_ground() -> None:
    for theme in THEMES:
        for ink in (theme.ink, theme.dim, theme.accent):
            for ground in (theme.ground, theme.bar):
                assert abs(luma(ink) - luma(ground)) >= 80


def test_scenes_take_turns(clips: list[Clip]) -> None:
    """Some clip shows each scene, and a scene's window is gone when the next one stands."""
    kinds = {"command": "terminal", "receipt value": "receipt", "cell": "table", "form value": "form"}
    seen = set()
    for clip in clips:
        spans: dict[str, list[float]] = {}
        for text in clip.texts:
            if text.kind in kinds and text.shown:
                start, end = spans.setdefault(kinds[text.kind], [math.inf, 0])
                ends = text.shown[0].start, text.shown[-1].end
                spans[kinds[text.kind]] = [min(start, ends[0]), max(end, ends[1])]
        seen |= set(spans)
        for one, two in pairwise(sorted(spans.values())):
            assert one[1] <= two[0]
    assert seen == set(SCENES)
