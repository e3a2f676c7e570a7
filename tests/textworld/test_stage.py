"""A Stage: which questions it keeps."""

import pytest

from r4agent.geometry import Size
from r4agent.textworld.fonts import built_in
from r4agent.textworld.stage import Stage, Style, holds

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
