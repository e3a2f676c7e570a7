"""Rows of the tasks are what episodes say, and point at what they say it of."""

from pathlib import Path
from random import Random

import pytest

from r4agent.engines import Checkpoint
from r4agent.geometry import Box
from r4agent.training.nano import tasks
from r4agent.training.nano.pool import NAMES, Pool
from r4agent.training.nano.signs import signs
from r4agent.training.nano.student import BUDGET, CHARACTERS


@pytest.fixture(scope="module")
def crops() -> tasks.Crops:
    return tasks.Crops(signs(range(9)), BUDGET, Random(1), reuse=1)


def learnt(batch: tasks.Batch, row: int, checkpoint: Checkpoint) -> str:
    ids = batch.ids[row][batch.learnt[row]].tolist()
    return checkpoint.tokenizer.decode(ids, skip_special_tokens=False)


def test_a_reader_says_what_is_written(student: Checkpoint, crops: tasks.Crops) -> None:
    batch = tasks.read(student, crops, 8)
    said = [learnt(batch, row, student) for row in range(8)]
    assert all(text.endswith('.</think>\n<evidence>{"view": "') for text in said)
    strings = {sign.string for sign in signs(range(2))}
    assert {text.split(".")[0] for text in said} <= strings
    for row, at, what, tokens in batch.looks:
        assert what == "letter"
        assert batch.learnt[row, at + 1]
        assert (batch.ids[row, tokens] == student.image_token).all()


def test_letters_are_where_they_are_drawn(crops: tasks.Crops) -> None:
    for one in crops.take(8, "text"):
        labels = tasks.letters(one)
        seen = [CHARACTERS[n - 1] for n in labels[:, labels.any(0)].max(0) if n]
        rest = iter(one.sign.string)
        assert all(char in rest for char in dict.fromkeys(seen)), (seen, one.sign.string)  # in this order
        assert len(set(seen)) >= len(set(one.sign.string)) / 2
        for row, column in zip(*labels.nonzero(), strict=True):
            assert one.text.grown(7, 10).overlap(
                Box(column * 14, row * 14, column * 14 + 14, row * 14 + 14, "shown")
            )


def test_a_zoom_on_writing_holds_it(student: Checkpoint, crops: tasks.Crops) -> None:
    batch = tasks.locate(student, crops, 8)
    for row in range(8):
        text = learnt(batch, row, student)
        x0, y0, x1, y1 = map(int, text.strip("[]").split(", "))
        assert 0 <= x0 < x1 <= 224
        assert 0 <= y0 < y1 <= 168


def test_each_colour_is_bound_to_its_frame(student: Checkpoint, frames: Path) -> None:
    videos = tasks.Frames(Pool.load(frames), Random(1))
    batch = tasks.bind(student, videos, 16)
    assert batch.before is not None
    assert batch.hues is not None
    for row in range(16):
        text = learnt(batch, row, student)
        colour, rest = text.split(". It is in this part of ")
        name = int(rest.split(".")[0].removeprefix("v"))
        assert f'"view": "v{name}", "box": [' in rest
        shown = batch.hues[row // 8, name - 1]
        assert set(shown[shown > 0].tolist()) == {1 + NAMES.index(colour)}
        at = batch.wanted[row]
        assert at is not None
        assert student.tokenizer.id_to_token(int(batch.ids[row, at])) == colour
        assert student.token(colour) in batch.ids[row, :at]  # it was asked for
        where = {tuple(tokens) for r, _, _, tokens in batch.looks if r == row}
        assert len(where) == 1
        [tokens] = where
        assert (batch.before.ids[row // 8, list(tokens)] == student.image_token).all()
        start = int((batch.before.ids[row // 8] == student.token(f"v{name}")).nonzero()[0])
        assert start < tokens[0] < start + 20


def test_frames_for_scores_are_others(frames: Path) -> None:
    pool = Pool.load(frames)
    videos = tasks.Frames(pool, Random(1))
    mine, others = ({int(n) for of in v.of for n in of} for v in (videos, videos.others()))
    assert not mine & others
    assert len(mine | others) == len(pool.frames)
