"""Each loss falls when what it is about gets better, and the scores count what they say."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch

from r4agent.engines import Checkpoint
from r4agent.training.nano import losses, scores, tasks
from r4agent.training.nano.forward import Forward, Pass
from r4agent.training.nano.lessons import Lesson
from r4agent.training.nano.losses import HEAD, LAYER, Helps
from r4agent.training.nano.pool import Pool
from r4agent.training.nano.script import EDGES, Batch
from r4agent.training.nano.signs import signs
from r4agent.training.nano.student import BUDGET, HIDDEN


@pytest.fixture(scope="module")
def forward(model: Any) -> Forward:
    return Forward(model)


@pytest.fixture(scope="module")
def helps(student: Checkpoint) -> Helps:
    return Helps(student)


@pytest.fixture
def batch(pool: Pool, lesson: Lesson) -> Batch:
    return tasks.bind(tasks.Videos(pool, Random(1)), lesson, 16)


@pytest.fixture
def seen(forward: Forward, batch: Batch) -> losses.Run:
    with torch.no_grad():
        return losses.run(forward, batch)


def attending(batch: Batch, seen: losses.Run, share: float) -> Pass:
    """The same pass, but that the taught head gives this share of its attention to what it is to look at."""
    weights = {number: layer.clone() for number, layer in seen.done.attention.items()}
    for row, at, _, tokens in batch.looks:
        weights[LAYER][row, HEAD, at] = 0
        weights[LAYER][row, HEAD, at, tokens] = share / len(tokens)
    for row, at, word in batch.recalls:
        weights[LAYER - 1][row, HEAD, at] = 0
        weights[LAYER - 1][row, HEAD, at, word] = share
    return replace(seen.done, attention=weights)


def test_attention_to_the_right_place_costs_nothing(batch: Batch, seen: losses.Run) -> None:
    for loss in (losses.looked, losses.recalled):
        assert float(loss(batch, attending(batch, seen, 1.0))) == pytest.approx(0, abs=1e-4)
        assert float(loss(batch, attending(batch, seen, 0.1))) == pytest.approx(2.3026, abs=1e-3)
        assert float(loss(batch, seen.done)) > 2


def speaking(forward: Forward, batch: Batch, seen: losses.Run, off: int) -> Pass:
    """The same pass, but that it says what is learnt, the number of each edge `off` too large."""
    hidden = torch.zeros_like(seen.done.hidden)
    rows, at = batch.learnt.nonzero(as_tuple=True)
    wanted = batch.ids.clone()
    for row, place, what, _ in batch.looks:
        if what in EDGES:
            wanted[row, place + 1] += off  # numbers stand in order in the vocabulary
    hidden[rows, at - 1] = 1000 * torch.nn.functional.normalize(forward.embedding[wanted[rows, at]], dim=-1)
    return replace(seen.done, hidden=hidden.detach())


def test_an_edge_that_is_a_pixel_off_earns_part(
    forward: Forward, helps: Helps, batch: Batch, seen: losses.Run
) -> None:
    said = [speaking(forward, batch, seen, off) for off in (0, 1, 5)]
    cost = [losses.said(forward, helps, batch, one)[0].item() for one in said]
    assert cost[0] < cost[1] < cost[2]
    right = losses.said(forward, helps, batch, said[0])[1]
    assert bool(right.all())


@pytest.mark.parametrize(("off", "within"), [(0, 1.0), (3, 1.0), (4, 0.0)])
def test_scores(
    forward: Forward,
    helps: Helps,
    batch: Batch,
    seen: losses.Run,
    monkeypatch: pytest.MonkeyPatch,
    off: int,
    within: float,
) -> None:
    made = replace(seen, done=speaking(forward, batch, seen, off))
    monkeypatch.setattr(scores, "run", lambda forward, batch: made)
    assert scores.close(forward, helps, batch, 3) == 16 * [within]
    assert scores.named(forward, batch) == 16 * [1.0]
    assert scores.whole(forward, batch) == 16 * [0.0 if off else 1.0]


def test_an_untaught_student_knows_nothing(forward: Forward, helps: Helps, batch: Batch) -> None:
    with torch.no_grad():
        assert scores.whole(forward, batch) == 16 * [0.0]
        assert sum(scores.named(forward, batch)) < 8
        assert scores.close(forward, helps, batch, 3) == 16 * [0.0]


@pytest.mark.parametrize("task", [tasks.read, tasks.locate, tasks.whole, tasks.bind])
def test_a_few_steps_on_one_batch_lower_every_loss(
    student: Checkpoint, batch: Batch, lesson: Lesson, task: Any
) -> None:
    from transformers import Qwen2_5_VLForConditionalGeneration

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(student.folder)
    helps = Helps(student)
    if task in (tasks.read, tasks.locate):
        batch = task(tasks.Crops(signs(range(2)), BUDGET, Random(1)), lesson, 8)
    elif task is tasks.whole:
        batch = task([lesson])
    optimizer = torch.optim.AdamW([*model.parameters(), *helps.parameters()], lr=2e-3)
    told = []
    for _ in range(4):
        loss, parts = losses.learn(Forward(model), helps, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        told.append(parts)
    assert all(told[-1][part] < told[0][part] for part in told[0] if part != "right"), (told[0], told[-1])


def test_helps_begin_as_nothing_more_than_the_word_itself(helps: Helps) -> None:
    assert torch.equal(helps.carry["name"].weight, torch.eye(HIDDEN))
    assert helps.credit.sum(1) == pytest.approx(torch.ones(len(helps.credit)))
