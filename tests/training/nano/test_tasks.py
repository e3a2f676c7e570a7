"""Rows of the tasks are what episodes say, and point at what they say it of."""

import re
from pathlib import Path
from random import Random

import numpy as np
import pytest

from r4agent.engines import Checkpoint
from r4agent.engines.tiny import SPECIALS
from r4agent.errors import UsageError
from r4agent.geometry import Box
from r4agent.textworld.level0 import COLOURS
from r4agent.training.nano import tasks
from r4agent.training.nano.forward import ordered
from r4agent.training.nano.labels import covered, label, letter, letters
from r4agent.training.nano.lessons import Lesson
from r4agent.training.nano.pool import HUES, Pool
from r4agent.training.nano.script import EDGES, Batch, Script
from r4agent.training.nano.signs import Crop, signs
from r4agent.training.nano.student import BUDGET, CHARACTERS
from r4agent.training.rows import replies
from r4agent.training.store import EpisodeStore


def crops() -> tasks.Crops:
    return tasks.Crops(signs(range(9)), BUDGET, Random(1), reuse=1)


def learnt(batch: Batch, row: int, checkpoint: Checkpoint) -> str:
    ids = batch.ids[row][batch.learnt[row]].tolist()
    return checkpoint.tokenizer.decode(ids, skip_special_tokens=False)


def boxed(text: str) -> Box:
    x0, y0, x1, y1 = map(int, text[text.index("[") + 1 : text.index("]")].split(", "))
    return Box(x0, y0, x1, y1, "shown")


def before(batch: Batch) -> Batch:
    assert batch.before is not None
    return batch.before


def test_a_reader_says_what_is_written(student: Checkpoint, lesson: Lesson) -> None:
    shown, batch = crops().take(8, "text"), tasks.read(crops(), lesson, 8)
    length = before(batch).ids.shape[1]
    for row, one in enumerate(shown):
        said = learnt(batch, row, student)
        assert said == one.sign.string + '.</think>\n<evidence>{"view": "'
        looks = [(at, tokens) for r, at, what, tokens in batch.looks if (r, what) == (row, "letter")]
        chars = [student.tokenizer.id_to_token(int(batch.ids[row, at + 1])) for at, _ in looks]
        assert "".join(chars) == one.sign.string
        start = length + int((batch.ids[row] == student.image_token).nonzero()[0])
        for number, (_, tokens) in enumerate(looks):
            assert tokens == covered(one.grid, letter(one, number), start)


def test_an_answer_is_a_copy_of_the_thought(student: Checkpoint, lesson: Lesson) -> None:
    shown, batch = crops().take(32, "text"), tasks.read(crops(), lesson, 32, answered=True)
    length, misread = before(batch).ids.shape[1], 0
    for row, one in enumerate(shown):
        ids = batch.ids[row].tolist()
        said = student.tokenizer.decode(ids, skip_special_tokens=False)
        thought = said.split(" shows it: ")[1].split(".</think>")[0]
        assert said.split("<answer>")[1].startswith(f"{thought}</answer>")
        view = f'"view": "v{len(lesson.refs)}"'
        assert view in said  # the picture that the row shows
        x0, y0, x1, y1 = boxed(said[said.index(view) :]).corners
        assert x0 <= one.text.x0 <= one.text.x1 <= x1
        assert y0 <= one.text.y0 <= one.text.y1 <= y1
        recalls = {at: word - length for r, at, word in batch.recalls if r == row}
        assert len(recalls) == len(thought) + 1
        assert all(ids[at + 1] == ids[word] for at, word in list(recalls.items())[:-1])
        wrong = thought != one.sign.string
        assert len(thought) == len(one.sign.string)
        letters = [at for r, at, what, _ in batch.looks if (r, what) == (row, "letter")]
        assert len(letters) == (0 if wrong else len(thought))
        assert learnt(batch, row, student).startswith(".</think>" if wrong else f"{thought}.</think>")
        misread += wrong
    assert 2 <= misread <= 16  # of 32, a quarter


def test_letters_stand_where_their_ink_is() -> None:
    """A patch that is said to show a character holds ink of it: the ink's columns are those of the label."""
    for one in crops().take(16, "text"):
        labels = letters(one)
        columns = [set(labels[:, n]) - {0} for n in range(labels.shape[1])]
        assert all(len(found) <= 1 for found in columns)
        for number, char in enumerate(one.sign.string):
            box = letter(one, number)
            mine = [n for n in range(labels.shape[1]) if box.x0 <= 14 * n + 7 < box.x1]
            assert all(columns[n] <= {1 + CHARACTERS.index(char)} for n in mine)
        first, last = letter(one, 0), letter(one, len(one.sign.string) - 1)
        assert (first.x0, last.x1) == pytest.approx((one.text.x0, one.text.x1))
        assert inked(one, one.text)


def test_a_letter_is_where_its_own_ink_is() -> None:
    """In signs whose letters do not touch: as many runs of ink as letters, each amid its own box."""
    found = 0
    for one in crops().take(40, "text"):
        around, canvas = one.sign.around
        box = one.sign.box
        places = (box.x0 - around.x0, box.y0 - around.y0, box.x1 - around.x0, box.y1 - around.y0)
        x0, y0, x1, y1 = map(round, places)
        pixels = np.asarray(canvas).astype(int)[y0:y1, x0:x1]
        ink = (np.abs(pixels - COLOURS[one.sign.colour]).max(-1) > 60).any(0)
        runs = np.flatnonzero(np.diff(np.r_[False, ink, False].astype(int))).reshape(-1, 2)
        if len(runs) != len(one.sign.string):
            continue
        found += 1
        scale = one.text.width / len(ink)
        for number, (first, stop) in enumerate(runs):
            mine = letter(one, number)
            assert mine.x0 < one.text.x0 + scale * (first + stop) / 2 < mine.x1
    assert found > 15


def inked(one: Crop, box: Box) -> bool:
    x0, y0, x1, y1 = (round(v) for v in box.corners)
    return bool(one.pixels[max(0, y0) : y1, max(0, x0) : x1].std() > 10)


def test_labels_are_in_the_order_of_the_tower(lesson: Lesson) -> None:
    import torch

    batch, shown = tasks.read(crops(), lesson, 8), crops().take(8, "text")
    found = [one for group in batch.letters for one in group]
    for mine, one in zip(found, shown, strict=True):
        assert mine.tolist() == ordered(torch.from_numpy(letters(one))).tolist()
        down, right = (side // 2 for side in letters(one).shape)
        token = letters(one)[:2, 2:4] if right > 1 else letters(one)[2:4, :2]
        assert mine[4:8].tolist() == token.flatten().tolist()
        assert len(mine) == 4 * down * right


def test_a_zoom_on_writing_holds_it_and_little_more(student: Checkpoint, lesson: Lesson) -> None:
    shown, batch = crops().take(8, "board"), tasks.locate(crops(), lesson, 8)
    length = before(batch).ids.shape[1]
    for row, one in enumerate(shown):
        box = boxed(learnt(batch, row, student))
        inside = one.text.overlap(box)
        assert inside is not None
        assert inside.area == pytest.approx(one.text.area, rel=0.02)
        assert box.height < 4 * one.text.height
        looks = [tokens for r, _, _, tokens in batch.looks if r == row]
        start = length + int((batch.ids[row] == student.image_token).nonzero()[0])
        assert looks == 4 * [covered(one.grid, one.text, start)]


def test_each_colour_is_bound_to_the_frame_that_shows_it(
    student: Checkpoint, pool: Pool, lesson: Lesson
) -> None:
    batch = tasks.bind(tasks.Videos(pool, Random(1)), lesson, 16)
    overview = before(batch)
    assert batch.hues is not None
    length, clear = overview.ids.shape[1], 0
    for row in range(16):
        text = learnt(batch, row, student)
        colour, rest = text.split(". It is in this part of ")
        name = int(rest.split(".")[0].removeprefix("v"))
        assert f'"view": "v{name}", "box": [' in rest
        hue = batch.hues[row // 8, name - 1]
        assert set(hue[hue > 0].tolist()) == {1 + HUES.index(colour)}
        [word] = {word - length for r, _, word in batch.recalls if r == row}
        assert student.tokenizer.id_to_token(int(batch.ids[row, word])) == colour
        assert student.token(colour) in batch.ids[row, :word]  # it was asked for
        [tokens] = {tuple(tokens) for r, _, _, tokens in batch.looks if r == row}
        images = (overview.ids[row // 8] == student.image_token).nonzero().flatten().tolist()
        assert set(tokens) <= set(images[15 * (name - 1) : 15 * name])
        frame = overview.pictures[0][8 * (row // 8) + name - 1].numpy().astype(int)
        x0, y0, x1, y1 = (int(v) for v in boxed(text).corners)
        off = np.abs(frame[y0:y1, x0:x1] - COLOURS[colour]).max(-1)
        clear += (off < 40).mean() > 0.08
    assert clear >= 14  # a board is a few pixels high; the smallest are blurred


def test_a_sign_or_its_label_is_found_in_the_frame_that_is_named(
    student: Checkpoint, pool: Pool, lesson: Lesson
) -> None:
    batch, asked = (task(tasks.Videos(pool, Random(1)), lesson, 32) for task in (tasks.scan, tasks.bind))
    length, found = before(batch).ids.shape[1], list[bool]()
    for row in range(32):
        name = f"v{row % 8 + 1}"
        [word] = {word - length for r, _, word in batch.recalls if r == row}
        assert student.tokenizer.id_to_token(int(batch.ids[row, word])) == name
        text = student.tokenizer.decode(batch.ids[row].tolist(), skip_special_tokens=False)
        found.append("It is in this part of" in text)
        box = boxed(learnt(batch, row, student))
        what = {what for r, _, what, _ in batch.looks if r == row}
        if found[-1]:
            [board] = [r for r in range(32) if pictured(asked, r, student) == (row // 8, name)]
            assert box == boxed(learnt(asked, board, student))
            assert looked(batch, row) == looked(asked, board)
            assert what == set(EDGES)
        else:
            assert box.width < 12  # some 70 source pixels
            assert looked(batch, row)
            assert what == {"other"}  # helps that are of the sign itself must not learn this box
    assert 5 < sum(found) < 25


def pictured(batch: Batch, row: int, checkpoint: Checkpoint) -> tuple[int, str]:
    """Which picture of which video a row of `bind` is about."""
    return row // 8, re.findall(r"v\d", learnt(batch, row, checkpoint))[0]


def looked(batch: Batch, row: int) -> set[int]:
    return {token for r, _, _, tokens in batch.looks if r == row for token in tokens}


def test_a_label_is_read_from_its_tab(student: Checkpoint, lesson: Lesson) -> None:
    shown, batch = crops().take(24, "tab"), tasks.corner(crops(), lesson, 24)
    assert batch.before is None
    bare = [one.sign.label is None for one in shown]
    assert 2 < sum(bare) < 12
    spelt, asked = [one for group in batch.letters for one in group], list[bool]()
    for row, one in enumerate(shown):
        said = learnt(batch, row, student)
        looks = [tokens for r, _, what, tokens in batch.looks if (r, what) == (row, "letter")]
        if one.sign.label is None:
            assert (said, looks) == (": no label. Next: ", [])
            continue
        own, text = one.sign.label.string, student.tokenizer.decode(batch.ids[row].tolist())
        wanted = re.findall(r"labelled (\w)(?: say|\?)", text)[0]
        asked.append(wanted == own)
        rest = ". It is in this part of v" if asked[-1] else f", not {wanted}. Next: "
        assert said.startswith(f": {own}{rest}")
        [word] = [word for r, _, word in batch.recalls if r == row]
        assert student.tokenizer.id_to_token(int(batch.ids[row, word])) == wanted
        assert word < int((batch.ids[row] == student.image_token).nonzero()[0])
        start = int((batch.ids[row] == student.image_token).nonzero()[0])
        assert looks == [covered(one.grid, label(one), start)]
        assert inked(one, label(one))
        assert 1 + CHARACTERS.index(one.sign.label.string) in spelt[row]
        whole = one.view.region.overlap(one.sign.tab)
        assert whole is not None
        assert whole.area == pytest.approx(one.sign.tab.area)
    assert 3 < sum(asked) < len(asked) - 3


def test_whole_episodes_are_learnt_as_they_were_logged(lesson: Lesson) -> None:
    batch = tasks.whole([lesson, lesson])
    assert batch.before is None
    assert batch.ids.tolist() == 2 * [lesson.script.ids]
    assert sum(len(group) for group in batch.pictures) == 2 * len(lesson.refs)


def some(task: str, pool: Pool, lesson: Lesson) -> Batch:
    match task:
        case "bind" | "scan":
            return getattr(tasks, task)(tasks.Videos(pool, Random(1)), lesson, 16)
        case _:
            return getattr(tasks, task)(crops(), lesson, 8)


@pytest.mark.parametrize("task", ["read", "corner", "locate", "bind", "scan"])
def test_rows_have_the_tokens_that_an_episode_has(
    student: Checkpoint, pool: Pool, lesson: Lesson, task: str
) -> None:
    """Written piece by piece, they are tokens as their text is when it is encoded whole."""
    batch = some(task, pool, lesson)
    marks = {student.token(name) for name in SPECIALS}
    for row in batch.ids.tolist():
        runs: list[list[int]] = [[]]
        start = before(batch).ids[0].tolist() if batch.before else []
        for ident in start + row:
            if ident in marks:
                runs.append([])
            else:
                runs[-1].append(ident)
        for run in runs:
            text = student.tokenizer.decode(run, skip_special_tokens=False)
            assert student.tokenizer.encode(text, add_special_tokens=False).ids == run, text


@pytest.mark.parametrize("task", ["read", "locate", "bind"])
def test_what_is_learnt_is_worded_as_in_an_episode(
    student: Checkpoint, pool: Pool, lesson: Lesson, task: str
) -> None:
    """But for colours, names, numbers and characters."""
    batch, number = some(task, pool, lesson), {"bind": 0, "locate": 1, "read": 2}[task]
    ids = [ident for at, ident in enumerate(lesson.script.ids) if at in set(lesson.script.learnt)]
    reply = student.tokenizer.decode(ids, skip_special_tokens=False).split("<|im_end|>")[number]
    for row in range(8):
        said = worded(student.tokenizer.decode(batch.ids[row].tolist(), skip_special_tokens=False))
        assert worded(reply).startswith(said.split("assistant\n")[-1].split("<|endoftext|>")[0])


@pytest.mark.parametrize("task", ["corner", "scan"])
def test_a_search_is_learnt_in_the_words_of_one(
    student: Checkpoint, pool: Pool, lesson: Lesson, searched: Path, task: str
) -> None:
    """Every thought of a row begins a reply of a taught search; between them they begin several."""
    taught = {
        worded(str(reply["content"]))
        for stored in EpisodeStore(searched / "data").select(stage=["search"])
        for reply in replies(stored.episode)
    }
    batch, begun = some(task, pool, lesson), set[str]()
    for row in batch.ids.tolist():
        text = student.tokenizer.decode(row, skip_special_tokens=False).split("<|endoftext|>")[0]
        for part in text.split("<think>")[1:]:
            said = worded("<think>" + re.split(r"<\|vision_start\|>|<\|im_end\|>", part)[0])
            whole = [reply for reply in taught if reply.startswith(said)]
            assert whole, said
            begun |= set(whole) if len(whole) == 1 else set()
    assert len(begun) >= (1 if task == "corner" else 3)


def worded(text: str) -> str:
    """With one mark for what differs from row to row."""
    text = re.sub(r"\b[A-Z]\b", "L", text)
    text = re.sub("|".join(COLOURS), "#", text)
    text = re.sub(r"v\d+", "#", text)
    text = re.sub(r"\[\d+, \d+, \d+, \d+\]", "#", text)
    return re.sub(r"(# shows it: )\w+", r"\1#", text)


def test_a_pool_without_a_colour_is_refused(pool: Pool) -> None:
    some = pool.hues != 3
    few = Pool(pool.frames[some], pool.hues[some], pool.boards[some], pool.sizes[some])
    with pytest.raises(UsageError, match=HUES[3]):
        tasks.Videos(few, Random(1))


def test_an_edge_without_a_token_is_refused(student: Checkpoint) -> None:
    with pytest.raises(ValueError, match="edge 256"):
        Script(student).box([0, 0, 256, 20], [])
