"""Plans: where they look, what they say, and what they don't say too early."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4agent import Budget, create_rumination_graph
from r4agent.engines import Checkpoint
from r4agent.episode import Episode
from r4agent.evaluation.sight import shows
from r4agent.geometry import QWEN2_5_VL, QWEN3_VL, Box, ModelProfile, Size, convert
from r4agent.item import Item, Span
from r4agent.media.view import Picture, View
from r4agent.textworld import make_clip
from r4agent.textworld.level0 import boards
from r4agent.textworld.writer import clip_file
from r4agent.training import plans
from r4agent.training.looks import Look, looks
from r4agent.training.plans import PLANS, Dictation, Plan
from r4agent.training.rows import replies
from r4agent.training.scene import TIGHT, Scene, Unfit
from r4agent.training.teacher import Teacher

from .needle import Needle

ROOMY = Budget(
    turns=10, images=20, overview_tokens=330
)  # so that a selected frame is shown whole, and legible
UNIT = ModelProfile("fractions", "unit", grid=28, min_pixels=3136, max_pixels=10**7)


def run(plan: Plan, needle: Needle, student: Checkpoint, seed: int = 0) -> Episode:
    teacher = Teacher(
        model=student.name, plan=Dictation(plan, Scene(needle.item, student.profile, Random(seed)))
    )
    graph = create_rumination_graph(
        teacher, budget=ROOMY, store=needle.store, episodes=needle.folder / "taught"
    )
    asked = {"media": str(needle.clip), "question": needle.item.question}
    return Episode.read(graph.invoke(asked)["episode"])


@pytest.mark.parametrize("plan", [plan for kind in PLANS if kind != "search" for plan in PLANS[kind]])
def test_every_plan_ends_with_the_answer_seen(plan: Plan, needle: Needle, student: Checkpoint) -> None:
    episode = run(plan, needle, student)
    made, text = looks(episode), needle.item.answers[0]
    assert text not in needle.item.question
    assert all(look.done for look in made)
    assert episode.status == "answered"
    assert episode.end is not None
    assert episode.end["answer"] == text
    said = [str(reply["content"]) for reply in replies(episode)]
    seen = [any(shown(needle, p) for p in look.pictures) for look in made]
    for before, reply in zip([False, *seen], said, strict=True):
        assert before or text not in reply
    assert text in said[-1]
    (cited,) = episode.end["evidence"]
    box = needle.item.evidence[0].source_box
    assert box is not None
    assert Box(*cited["box"]).overlap(box) == box
    tools = {look.tool for look in made}
    assert (len(tools) == 1 and len(made) == 1) is (plan in PLANS["deliberate"])


def shown(needle: Needle, picture: Picture) -> bool:
    return shows(picture.view, needle.item.evidence[0], needle.item.meta["text_height"])


def test_a_zoom_of_a_zoom(needle: Needle, student: Checkpoint) -> None:
    first, second = calls(run(plans.zoom_of_zoom, needle, student))
    assert second["args"]["view"] == "v9"
    assert first["args"]["view"] == needle.right.name


def test_a_board_then_its_text(needle: Needle, student: Checkpoint) -> None:
    """With margins that are always the same, so that they can be learnt."""
    board, text = (look.pictures[0].view.region for look in made(run(plans.board_then_text, needle, student)))
    assert [board, text] == [
        look.pictures[0].view.region for look in made(run(plans.board_then_text, needle, student, seed=1))
    ]
    inner = needle.item.evidence[0].source_box
    outer = Box(*needle.item.meta["panel"])
    assert inner is not None
    assert board.overlap(outer) == outer
    assert text.overlap(inner) == inner
    assert board.overlap(text) == text
    assert inner.height < text.height < board.height


def test_a_board_must_be_known(needle: Needle, student: Checkpoint) -> None:
    bare = replace(needle, item=needle.item.model_copy(update={"meta": {}}))
    with pytest.raises(Unfit, match="stands on"):
        run(plans.board_then_text, bare, student)


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Item]]:
    """A clip with several labelled signs, and the questions about them by label."""
    seed = next(seed for seed in range(99) if len(by_label(make_clip(0, seed).items)) > 2)
    path, found = clip_file(0, seed, tmp_path_factory.mktemp("signs"))
    return path, {item.meta["label"]: item for item in by_label(found)}


def by_label(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.meta["kind"] == "sign by label"]


@pytest.mark.parametrize("last", [False, True])
def test_label_after_label_until_it_is_found(
    signs: tuple[Path, dict[str, Item]], needle: Needle, student: Checkpoint, last: bool
) -> None:
    path, items = signs
    order = sorted(items, key=lambda label: items[label].evidence[0].start)
    wanted = order[-1] if last else order[0]
    episode = run(plans.label_by_label, replace(needle, clip=path, item=items[wanted]), student)
    *looked, part, text = (look.pictures[0].view for look in made(episode))
    found = list(boards(make_clip(0, items[wanted].meta["seed"])))[: len(looked)]
    labels = [board.label.string if board.label else None for board in found]
    assert [label for label in labels if label] == order[: 1 + order.index(wanted)]
    assert labels[-1] == wanted
    said = [str(reply["content"]) for reply in replies(episode)]
    for number, (board, view) in enumerate(zip(found, looked, strict=True)):
        tab = Box(*board.tab)
        assert view.frame in range(board.shape.first, board.shape.stop)
        assert view.region.overlap(tab) == tab
        assert view.region.area < 16 * tab.area
        told = f": {labels[number]}" if labels[number] else ": no label."
        assert re.match(rf"<think>v\d+{re.escape(told)}", said[number + 1])
    whole = Box(*found[-1].shape.box)
    assert part.region.overlap(whole) == whole
    assert part.region.overlap(text.region) == text.region
    assert text.region.area < whole.area
    assert episode.end is not None
    assert episode.end["answer"] == items[wanted].answers[0]


def test_a_label_is_not_foreseen(
    signs: tuple[Path, dict[str, Item]], needle: Needle, student: Checkpoint
) -> None:
    item = next(iter(signs[1].values()))
    with pytest.raises(Unfit, match="can't be foreseen"):
        run(plans.board_then_text, replace(needle, clip=signs[0], item=item), student)


def test_a_search_is_for_a_label_of_a_clip_that_is_drawn_here(
    signs: tuple[Path, dict[str, Item]], needle: Needle, student: Checkpoint
) -> None:
    with pytest.raises(Unfit, match="no sign is asked for by its label"):
        run(plans.label_by_label, needle, student)
    item = next(iter(signs[1].values())).model_copy(update={"answers": ("elsewhere",)})
    with pytest.raises(Unfit, match="it has other typefaces"):
        run(plans.label_by_label, replace(needle, clip=signs[0], item=item), student)


def test_a_wrong_frame_is_left(needle: Needle, student: Checkpoint) -> None:
    wrong, right, closer = made(run(plans.wrong_frame, needle, student))
    assert (wrong.tool, right.tool, closer.tool) == ("select_frames", "select_frames", "zoom")
    assert not shown(needle, wrong.pictures[0])
    assert wrong.pictures[0].view.frame != right.pictures[0].view.frame == needle.right.view.frame


def test_a_wrong_place_is_left(needle: Needle, student: Checkpoint) -> None:
    wrong, right = made(run(plans.wrong_place, needle, student))
    box = needle.item.evidence[0].source_box
    assert box is not None
    assert wrong.pictures[0].view.frame == right.pictures[0].view.frame
    assert wrong.pictures[0].view.region.overlap(box) is None


def test_a_plan_says_what_is_in_its_way(needle: Needle, student: Checkpoint) -> None:
    def asked(*spans: Span) -> Scene:
        item = needle.item.model_copy(update={"evidence": spans})
        return Scene(item, QWEN2_5_VL, Random(0), needle.pictures)

    late, always = span(90, 91), span(0, 100)
    with pytest.raises(Unfit, match="no picture so far is of the moment"):
        next(plans.zoom(asked(late)))
    with pytest.raises(Unfit, match="stands in every picture of the overview"):
        next(plans.wrong_frame(asked(always)))
    with pytest.raises(Unfit, match="too small in every picture"):
        asked(always).answer()
    whole = Span(start=0, end=100, box=needle.right.view.region.corners)
    with pytest.raises(Unfit, match="there is no wrong place"):
        asked(whole).elsewhere(needle.right)


def span(start: float, end: float) -> Span:
    return Span(start=start, end=end, box=(100, 100, 140, 110))


@given(
    st.sampled_from([QWEN2_5_VL, QWEN3_VL, UNIT]),
    st.tuples(st.integers(0, 900), st.integers(0, 500), st.integers(1, 300), st.integers(1, 200)),
    st.integers(0, 10**6),
)
def test_a_box_as_written_holds_the_place(
    profile: ModelProfile, place: tuple[int, int, int, int], seed: int
) -> None:
    """With a margin, on any place of a frame; and a wrong place shares nothing with the right one."""
    left, top, wide, high = place
    box = Box(left, top, min(left + wide, 1280), min(top + high, 720))
    frame = Box(0, 0, 1280, 720)
    view = View(3, 1.0, frame, profile.fit(Size(1280, 720), 144))
    item = Item(id="q", media="a.mp4", question="?", answers=("x",), evidence=(during(box),))
    scene = Scene(item, profile, Random(seed))
    picture = Picture("v1", view, "img:")
    around = scene.around(picture, TIGHT)
    assert around.overlap(box) == box
    written = scene.written(around, view)
    if profile.space != "unit":
        assert all(isinstance(value, int) for value in written)
    back = convert(Box(*written, space=profile.space), "source", region=frame, shown=view.size)
    assert back.grown(0.1, 0.1).overlap(box) == box
    try:
        assert scene.elsewhere(picture).overlap(box) is None
    except Unfit:
        assert around.width > 300 or around.height > 150  # only where there is little room


def during(box: Box) -> Span:
    return Span(start=0, end=2, box=box.corners)


def calls(episode: Episode) -> list[dict[str, Any]]:
    return [call for reply in replies(episode) for call in reply["tool_calls"]]


def made(episode: Episode) -> list[Look]:
    return looks(episode)


def test_the_students_own_boxes(needle: Needle, student: Checkpoint) -> None:
    (call,) = calls(run(plans.zoom, needle, student))
    box, view = call["args"]["box"], needle.right.view
    most = 1000 if student.profile.space == "thousand" else view.size.width
    assert max(box) <= most
    assert json.loads(json.dumps(box)) == [int(value) for value in box]
