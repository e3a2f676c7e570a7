"""Lessons point at what their replies are read from, and lend their beginnings."""

import re
from pathlib import Path

import pytest

from r4agent.engines import Checkpoint
from r4agent.evaluation import Questions
from r4agent.geometry import Box, convert
from r4agent.textworld import make_clip
from r4agent.textworld.level0 import boards
from r4agent.training.nano.labels import covered
from r4agent.training.nano.lessons import Lesson, lessons
from r4agent.training.nano.script import EDGES
from r4agent.training.store import EpisodeStore, Stored
from r4agent.training.trajectories import trajectories

NAME = re.compile(r"v\d+")


@pytest.fixture
def found(taught: Path, student: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Stored, Lesson]]:
    monkeypatch.setenv("R4_HOME", str(taught))
    return list(lessons(taught / "data", student))


def says(lesson: Lesson, at: int) -> str:
    return str(lesson.script.checkpoint.tokenizer.id_to_token(lesson.script.ids[at]))


def test_what_is_said_is_read_where_it_stands(found: list[tuple[Stored, Lesson]]) -> None:
    """Every token that is looked at is of a picture that shows what is said there."""
    for stored, lesson in found:
        script, item = lesson.script, stored.item
        assert item is not None
        assert len(lesson.pictures) == len(script.grids) == 10
        board, text = Box(*item.meta["panel"]), item.evidence[0].source_box
        assert text is not None
        said = [(at, what, says(lesson, at + 1)) for at, (what, _) in script.looks.items()]
        letters = "".join(word for _, what, word in said if what == "letter")
        assert letters == item.answers[0]
        names = [word for _, what, word in said if what == "name"]
        [name] = set(names)
        assert len(names) == 2
        assert len([what for _, what, _ in said if what in EDGES]) == 12
        for number, (at, (what, tokens)) in enumerate(script.looks.items()):
            picture = int(name[1:]) - 1 if number < 6 else 8 if number < 10 else 9
            view = stored.episode.pictures[picture].view
            rows, columns = script.grids[picture]
            place = convert(board if number < 6 else text, "shown", region=view.region, shown=view.size)
            for token in tokens:
                down, right = divmod(token - script.starts[picture], columns)
                assert 0 <= down < rows
                cell = Box(28 * right, 28 * down, 28 * right + 28, 28 * down + 28, "shown")
                assert cell.overlap(place) is not None, (at, what, token)


def test_a_board_is_sought_by_its_colour_and_the_answer_is_copied(found: list[tuple[Stored, Lesson]]) -> None:
    for stored, lesson in found:
        assert stored.item is not None
        script = lesson.script
        sought, copied = dict(list(script.recalls.items())[:6]), dict(list(script.recalls.items())[6:])
        [word] = set(sought.values())
        assert says(lesson, word) == stored.item.meta["colour"]
        assert list(sought) == list(script.looks)[:6]
        *letters, end = copied.items()
        assert "".join(says(lesson, at + 1) for at, _ in letters) == stored.item.answers[0]
        assert "".join(says(lesson, place) for _, place in letters) == stored.item.answers[0]
        assert (says(lesson, end[0] + 1), says(lesson, end[1])[:3]) == ("</answer>", ".</")


def test_beginnings(found: list[tuple[Stored, Lesson]]) -> None:
    for _, lesson in found[:3]:
        script, mark = lesson.script, lesson.script.checkpoint.token("<|vision_start|>")
        assert lesson.overview == 8
        for number in (8, 9):
            before, since = lesson.until(number), lesson.since(number)
            assert before.learnt == []
            assert script.ids[len(before.ids)] == mark
            rows, columns = script.grids[number]
            picture = script.ids[len(before.ids) : len(before.ids) + rows * columns + 2]
            assert before.ids + picture + since == script.ids[: len(before.ids + picture + since)]
            assert len(before.grids) == number
            assert len(before.ids + picture + since) - 1 in script.looks
        opening = lesson.opening()
        assert opening.ids.count(mark) == 8
        assert says(lesson, len(opening.ids)) == "Question: "


def test_a_search_is_read_where_it_stands(
    searched: Path, student: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels on zooms of them, each board in its frame, the text on its board; and each label is compared
    with the one that is wanted, where that was said last."""
    monkeypatch.setenv("R4_HOME", str(searched))
    found = list(lessons(searched / "data", student))
    assert len(found) > 1
    for stored, lesson in found:
        script, item, pictures = lesson.script, stored.item, stored.episode.pictures
        assert item is not None
        assert lesson.search
        drawn = list(boards(make_clip(0, item.meta["seed"])))
        many = len(pictures) - 10  # labels that were looked at
        labels = [board.label.string for board in drawn[:many] if board.label]
        assert labels[-1] == item.meta["label"]
        read = [at for at, (what, _) in script.looks.items() if what == "letter"]
        said = "".join(says(lesson, at + 1) for at in sorted(read))
        assert said == "".join(labels) + item.answers[0]
        zooms = [(at, tokens) for at, (what, tokens) in sorted(script.looks.items()) if what == "other"]
        assert len(zooms) == 4 * many
        for number, (at, tokens) in enumerate(zooms):
            picture = number // 4
            view, (rows, columns) = pictures[picture].view, script.grids[picture]
            box = convert(Box(*drawn[picture].shape.box), "shown", region=view.region, shown=view.size)
            assert tokens == covered((rows, columns), box, script.starts[picture])
            assert says(lesson, script.recalls[at]) == f"v{picture + 1}"
        answer = max(at for at in read) + 1  # from there on it is copied
        compared = [at for at in script.recalls if at not in script.looks and at < answer]
        assert [says(lesson, at) for at in compared if at - 1 in read] == labels
        copied = [at for at in compared if at - 1 not in read]
        assert len(copied) == len(labels)  # "Wanted: M", and "not M" of each but the last
        assert {says(lesson, at + 1) for at in copied} == {item.meta["label"]}
        assert {says(lesson, script.recalls[at]) for at in compared} == {item.meta["label"]}
        assert all(script.recalls[at] < at for at in compared)
        edges = [what for what, _ in script.looks.values() if what in EDGES]
        assert len(edges) == 12  # the board, the text, and the evidence


def test_of_replies_that_went_wrong_nothing_is_learnt(
    slipped: Path, student: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is that of the same search without them: other numbers of pictures, and nothing else."""
    monkeypatch.setenv("R4_HOME", str(slipped))
    found = list(lessons(slipped / "data", student))
    assert {lesson.slipped for _, lesson in found} == {True, False}
    items = Questions("signs", tuple(stored.item for stored, _ in found if stored.item), 0)
    trajectories(items, student.name, EpisodeStore(tmp_path / "data"), "search")
    plain = {stored.item and stored.item.id: one for stored, one in lessons(tmp_path / "data", student)}
    for stored, lesson in found:
        assert stored.item is not None
        same = plain[stored.item.id]
        assert not same.slipped
        assert lesson.search
        said = ["".join(says(one, at) for at in one.script.learnt) for one in (lesson, same)]
        assert NAME.sub("v", said[0]) == NAME.sub("v", said[1])
        reads = [
            [(what, says(one, at + 1)) for at, (what, _) in one.script.looks.items() if what == "letter"]
            for one in (lesson, same)
        ]
        assert reads[0] == reads[1]
        seen = [[(what, len(at)) for what, at in one.script.looks.values()] for one in (lesson, same)]
        assert seen[0] == seen[1]
