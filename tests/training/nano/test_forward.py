"""The forward pass by hand computes what transformers does."""

from random import Random
from typing import Any

import pytest
import torch

from r4agent.engines import Checkpoint
from r4agent.training.nano import tasks
from r4agent.training.nano.forward import Forward
from r4agent.training.nano.lessons import Lesson
from r4agent.training.nano.losses import run
from r4agent.training.nano.pool import Pool
from r4agent.training.nano.signs import signs
from r4agent.training.nano.student import BUDGET


def reference(model: Any, checkpoint: Checkpoint, ids: torch.Tensor, pictures: list[torch.Tensor]) -> Any:
    """Logits of one row by transformers, with its own image processor."""
    from PIL import Image

    from r4agent.engines.pixels import pixel_values

    shown = [Image.fromarray(one.numpy()) for group in pictures for one in group]
    grids = [[1, one.height // 14, one.width // 14] for one in shown]
    with torch.no_grad():
        return model(
            input_ids=ids,
            pixel_values=torch.cat([pixel_values(checkpoint, one) for one in shown]),
            image_grid_thw=torch.tensor(grids),
            mm_token_type_ids=(ids == checkpoint.image_token).long(),
        ).logits


@pytest.mark.parametrize("task", [tasks.read, tasks.locate])
def test_crops_of_several_sizes(model: Any, student: Checkpoint, lesson: Lesson, task: Any) -> None:
    """After the beginning of a lesson, whose pictures are of other sizes again."""
    batch = task(tasks.Crops(signs(range(3)), BUDGET, Random(1)), lesson, 12)
    assert len(batch.pictures) > 1
    assert batch.before is not None
    forward = Forward(model)
    with torch.no_grad():
        logits = forward.logits(run(forward, batch).done.hidden)
    first = [one[None] for group in batch.before.pictures for one in group]
    pictures = [one[None] for group in batch.pictures for one in group]
    for number, picture in enumerate(pictures):
        row = batch.ids[number][batch.ids[number] != student.token("<|endoftext|>")]
        ids = torch.cat([batch.before.ids[0], row])[None]
        expected = reference(model, student, ids, [*first, picture])[0, -len(row) :]
        torch.testing.assert_close(logits[number, : len(row)], expected, atol=1e-5, rtol=0)


def test_whole_episodes(model: Any, student: Checkpoint, lesson: Lesson) -> None:
    batch = tasks.whole([lesson])
    with torch.no_grad():
        logits = Forward(model).logits(run(Forward(model), batch).done.hidden)
    expected = reference(model, student, batch.ids, [one[None] for group in batch.pictures for one in group])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_rows_that_go_on_from_one_beginning(
    model: Any, student: Checkpoint, pool: Pool, lesson: Lesson
) -> None:
    batch = tasks.bind(tasks.Videos(pool, Random(1)), lesson, 16)
    assert batch.before is not None
    forward = Forward(model)
    with torch.no_grad():
        logits = forward.logits(run(forward, batch).done.hidden)
    for number in (0, 7, 8, 15):
        video = number // 8
        row = batch.ids[number][batch.ids[number] != student.token("<|endoftext|>")]
        ids = torch.cat([batch.before.ids[video], row])[None]
        pictures = [batch.before.pictures[0][video * 8 : video * 8 + 8]]
        expected = reference(model, student, ids, pictures)[0, -len(row) :]
        torch.testing.assert_close(logits[number, : len(row)], expected, atol=1e-5, rtol=0)
