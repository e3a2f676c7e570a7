"""Crops are what a zoom into the clip's own frame shows."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from r4agent.geometry import QWEN2_5_VL, convert
from r4agent.textworld.level0 import COLOURS, level0
from r4agent.training.nano.pool import HUES, Pool, draw
from r4agent.training.nano.signs import Crop, crop, signs
from r4agent.training.nano.student import BUDGET
from r4agent.training.nano.tasks import CLOSE, LOOSE


@pytest.fixture(scope="module")
def found() -> list[Crop]:
    lot = Random(1)
    made = []
    for sign in signs(range(4)):
        made += [crop(sign, sign.box, CLOSE, BUDGET, lot), crop(sign, sign.panel, LOOSE, BUDGET, lot)]
    return made


def test_the_signs_are_those_that_are_asked_about(found: list[Crop]) -> None:
    for seed in range(4):
        asked = {i.meta["colour"]: i for i in level0(seed).items if "colour" in i.meta}
        mine = {sign.colour: sign for sign in signs([seed])}
        assert mine.keys() == asked.keys()
        for colour, sign in mine.items():
            assert (sign.string,) == asked[colour].answers
            assert list(sign.panel.corners) == asked[colour].meta["panel"]
            assert sign.box.corners == asked[colour].evidence[0].box


def test_a_crop_shows_its_sign_as_the_frame_does(found: list[Crop]) -> None:
    """But for the backdrop: well inside the board each pixel is that of a zoom of the whole frame."""
    for one in found:
        sign, size = one.sign, one.view.size
        true = np.asarray(one.view.cut(sign.clip.render(sign.frame)))
        x0, y0, x1, y1 = (
            round(v) for v in convert(sign.panel, "shown", region=one.view.region, shown=size).corners
        )
        rows, columns = slice(max(0, y0 + 6), y1 - 6), slice(max(0, x0 + 6), x1 - 6)
        assert (one.pixels[rows, columns] == true[rows, columns]).all()
        x0, y0, x1, y1 = (round(v) for v in one.text.corners)
        assert one.pixels[y0:y1, x0:x1].std() > 10  # ink, and what it stands on
        assert QWEN2_5_VL.tokens(size) <= BUDGET.picture_tokens


def test_a_pool_has_each_frame_with_its_sign(pool: Pool) -> None:
    """Its board is in the frame where it is said to be, in its colour."""
    assert pool.frames.shape == (160, 84, 140, 3)
    clear = 0
    for number, (frame, hue) in enumerate(zip(pool.frames, pool.hues, strict=True)):
        board, view = pool.board(number)
        x0, y0, _, y1 = convert(board, "shown", region=view.region, shown=view.size).corners
        beside = frame[int((y0 + y1) / 2), int(x0) + 2]  # of the text, on the board
        clear += np.abs(beside.astype(int) - COLOURS[HUES[hue]]).max() < 40
    assert clear >= 150


def test_a_pool_is_of_the_clips_that_are_asked_for(tmp_path: Path) -> None:
    """And of no others, whatever lies beside them; what is there is not drawn again."""
    for seeds in (range(0, 2), range(2, 3), range(0, 3)):
        list(draw(tmp_path, seeds, BUDGET))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert list(draw(tmp_path, range(0, 2), BUDGET)) == [2]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    one, both = Pool.load(tmp_path, range(0, 2)), Pool.load(tmp_path, range(0, 3))
    assert (len(one.frames), len(both.frames)) == (16, 24)
    assert (both.frames[:16] == one.frames).all()
