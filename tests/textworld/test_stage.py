"""A Stage: which questions it keeps."""

import pytest

from r4agent.geometry import Size
from r4agent.textworld.fonts import built_in
from r4agent.textworld.stage import Loose, Stage, Style, holds

STYLE = Style(built_in(), 16, (0, 0, 0))


def stage_with(*strings: str, frames: tuple[int, int] = (0, 30)) -> Stage:
    """A stage on which each string stands in a row of its own."""
    stage = Stage(2, 0, Size(200, 200), fps=10, frames=30)
    stage.shape((0, 30), (0, 0, 200, 200), (255, 255, 255))
    for row, string in enumerate(strings):
        stage.text(frames, (20, 30 + 30 * row), string, STYLE, "cell", string)
    return stage


def questions(stage: Stage) -> list[str]:
    return [item.question for item in stage.clip().items]


def test_two_questions_of_the_same_words_are_both_dropped() -> None:
    stage = stage_with("one", "two", "three")
    stage.ask("Which?", "cell", 0)
    stage.ask("Which?", "cell", 1)
    stage.ask("Which third?", "cell", 2)
    assert questions(stage) == ["Which third?"]


def test_an_answer_that_stands_elsewhere_too_is_dropped() -> None:
    stage = stage_with("7.20", "Total 7.20 today", "17.20")
    stage.ask("First?", "cell", 0)
    stage.ask("Third?", "cell", 2)
    assert questions(stage) == ["Third?"]


@pytest.mark.parametrize(("stop", "kept"), [(1, []), (2, ["Long enough?"])])
def test_an_answer_that_is_gone_at_once_is_dropped(stop: int, kept: list[str]) -> None:
    stage = stage_with("one", frames=(0, stop))
    stage.ask("Long enough?", "cell", 0)
    assert questions(stage) == kept


def test_a_kind_is_asked_at_most_so_often() -> None:
    stage = stage_with("one", "two", "three", "four")
    for number in range(4):
        stage.ask(f"Number {number}?", "cell" if number else "other", number)
    assert sorted(item.meta["kind"] for item in stage.clip(per_kind=2).items) == ["cell", "cell", "other"]


def test_text_that_leaves_the_frame_is_refused() -> None:
    stage = stage_with("a line that is far too long for this frame")
    with pytest.raises(ValueError, match="leaves the frame, which is 200x200"):
        stage.clip()


@pytest.mark.parametrize(
    ("text", "answer", "held"),
    [("port 80", "80", True), ("port 8080", "80", False), ("PORT", "port", True), ("-3 dBm", "-3 dBm", True),
     ("a.b", "ab", False), ("lumen-1.2.3", "1.2.3", True)],
)  # fmt: skip
def test_an_answer_is_held_as_whole_words(text: str, answer: str, held: bool) -> None:
    assert holds(text, answer) is held


def test_an_answer_is_dropped_where_its_label_is_never_seen_with_it() -> None:
    stage = stage_with("Gate", "1234")
    stage.ask("What is at the gate?", "cell", 1, beside=(0,))
    assert questions(stage) == ["What is at the gate?"]
    stage.shape((0, 29), (0, 0, 200, 40), (0, 0, 0))  # leaves the label one frame
    assert questions(stage) == []


@pytest.mark.parametrize(("tone", "kept"), [(60, ["Which?"]), (40, []), (1, [])])
def test_a_question_that_names_a_colour_is_dropped_where_something_else_has_nearly_that_colour(
    tone: int, kept: list[str]
) -> None:
    stage = stage_with("answer")
    stage.shape((0, 10), (0, 60, 40, 80), (200, 30, 35))
    stage.shape((20, 30), (60, 60, 90, 80), (200, 30, 35 + tone))
    stage.ask("Which?", "cell", 0, carrier=(200, 30, 35))
    assert [item.question for item in stage.clip().items] == kept


def test_texts_said_to_be_alike_and_twins_of_a_kind_are_distractors() -> None:
    stage = Stage(2, 0, Size(200, 200), fps=10, frames=30)
    rows = [("A1234", "code", "x"), ("B77", "other", "x"), ("A1334", "code", ""), ("A9934", "code", "")]
    for row, (string, kind, alike) in enumerate(rows):
        stage.text((10 * (row == 1), 30), (20, 30 + 30 * row), string, STYLE, kind, "", alike)
    stage.ask("Which?", "cell", 0)
    (item,) = stage.clip().items
    assert [other["text"] for other in item.meta["distractors"]] == ["B77", "A1334"]
    first = item.meta["distractors"][0]
    assert (first["start"], first["end"]) == (1, 3)
    assert tuple(first["box"]) == stage.clip().texts[1].shown[0].box


def test_text_that_an_edge_of_its_view_cuts_is_not_shown() -> None:
    stage = Stage(3, 0, Size(200, 200), fps=10, frames=30)
    style = Loose(built_in(), 16, (255, 255, 255), view=(50, 0, 150, 200))
    number = stage.text((0, 1), (20, 100), "moving", style, "cell", "")
    for frame in range(1, 30):
        stage.again(number, (frame, frame + 1), (20 + 5 * frame, 100))
    clip = stage.clip()
    (text,) = clip.texts
    assert 0 < len(text.shown) < 20
    assert all(run.box[0] >= 50 and run.box[2] <= 150 for run in text.shown)
    for index in range(30):  # and nothing is drawn outside the view
        left, right = clip.render(index).crop((0, 0, 50, 200)), clip.render(index).crop((150, 0, 200, 200))
        assert left.getbbox() is None
        assert right.getbbox() is None
    cut = clip.render(0).getbbox()
    assert cut is not None
    assert cut[0] == 50


@pytest.mark.parametrize("angle", [-20.0, 7.5, 90.0])
def test_the_box_of_turned_text_is_its_ink(angle: float) -> None:
    stage = Stage(3, 0, Size(300, 300), fps=10, frames=1)
    stage.text((0, 1), (150, 150), "turned 12", Loose(built_in(), 20, (255, 255, 255), angle), "cell", "")
    clip = stage.clip()
    assert clip.texts[0].shown[0].box == clip.render(0).getbbox()
    wide, high = (clip.texts[0].shown[0].box[i + 2] - clip.texts[0].shown[0].box[i] for i in (0, 1))
    assert (high > wide) == (angle == 90)


def test_runs_in_one_place_that_follow_each_other_are_one() -> None:
    stage = stage_with("one", frames=(0, 10))
    stage.again(0, (10, 20), (20, 30))
    stage.again(0, (25, 30), (20, 30))
    assert [(run.first, run.stop) for run in stage.clip().texts[0].shown] == [(0, 20), (25, 30)]
