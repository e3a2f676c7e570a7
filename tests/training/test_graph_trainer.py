"""GraphTrainer: what reaches the loss is what was sampled, and nothing of what weighs nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from r4agent.engines import Checkpoint
from r4agent.errors import RunError
from r4agent.training.collator import expanded
from r4agent.training.groups import Scored
from r4agent.training.rollout import Rollout
from r4agent.training.rows import Row

from .conftest import Played

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def rows(episodes: Played) -> list[Row]:
    return [Row.of(episode) for episode in episodes.episodes]


@pytest.fixture
def batch(episodes: Played, rows: list[Row]) -> Callable[..., Any]:
    """A batch of these episodes, by number, and what they are worth."""

    def batch(numbers: Sequence[int], rewards: Sequence[float], weighs: Sequence[bool]) -> Any:
        from r4agent.training.graph_trainer import Batch

        return Batch(
            [Rollout(episodes.items[n], episodes.episodes[n]) for n in numbers],
            [rows[n] for n in numbers],
            Scored([{"dealt": reward} for reward in rewards], list(weighs)),
            {"tool_rate": 0.5},
        )

    return batch


@pytest.fixture
def trainer(checkpoint: Checkpoint, episodes: Played, tmp_path: Path) -> Make:
    """A trainer that takes one plain step downhill with this batch, in groups of two."""
    import torch

    from r4agent.training import weights
    from r4agent.training.backend import Dataset
    from r4agent.training.graph_trainer import GraphTrainer
    from r4agent.training.grpo import config_of

    torch.set_num_threads(1)

    def made(batch: Any, **more: Any) -> Any:
        settings = {
            "num_generations": 2,
            "per_device_train_batch_size": len(batch.rows),
            "optim": "sgd",
            "learning_rate": 1.0,
            "lr_scheduler_type": "constant",
            "max_grad_norm": 0.0,
            "max_steps": 1,
            "save_strategy": "no",
            "gradient_checkpointing": False,
        }
        trainer = GraphTrainer(
            checkpoint=checkpoint,
            store=episodes.pictures,
            weights={"dealt": 1.0},
            model=weights.load(checkpoint),
            args=config_of(settings | more, tmp_path / "trainer", "float32"),
            train_dataset=Dataset.from_dict({"place": list(range(len(batch.rows)))}),
        )
        trainer.roll = lambda places, step: batch
        return trainer

    return made


@pytest.fixture
def stepped(trainer: Make) -> Callable[..., list[Any]]:
    """The weights after a step with a batch."""

    def stepped(batch: Any, **more: Any) -> list[Any]:
        one = trainer(batch, **more)
        one.train()
        return [weight.detach().clone() for weight in one.model.parameters() if weight.requires_grad]

    return stepped


def apart(one: list[Any], other: list[Any]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def test_the_batch_is_what_was_sampled(
    trainer: Make, batch: Callable[..., Any], rows: list[Row], checkpoint: Checkpoint
) -> None:
    numbers = [0, 2, 1, 0]
    one = trainer(batch(numbers, [1.0, 0.0, 1.0, 0.0], [True, True, False, True]))
    out = one._generate_and_score_completions([{"place": 0}] * 4)
    ids, mask = (
        [out[f"prompt_{what}"].tolist(), out[f"completion_{what}"].tolist()] for what in ("ids", "mask")
    )
    for place, number in enumerate(numbers):
        row = expanded(rows[number], checkpoint)
        whole = [
            ident
            for part in (0, 1)
            for ident, there in zip(ids[part][place], mask[part][place], strict=True)
            if there
        ]
        assert whole == list(row.ids)
        sampled = out["sampled"][place].bool()
        of_row = [at for at, turn in enumerate(row.turns) if turn]
        assert out["completion_ids"][place][sampled].tolist() == [row.ids[at] for at in of_row]
        logged = out["old_per_token_logps"][place][sampled].tolist()
        assert logged == pytest.approx([row.logprobs[at] for at in of_row])
    weighing = (out["tool_mask"] * out["completion_mask"]).bool()
    assert not weighing[2].any()
    assert all(weighing[place].equal(out["sampled"][place].bool()) for place in (0, 1, 3))
    assert int(out["num_items_in_batch"]) == int(weighing.sum())
    assert out["num_images"] == [len(rows[number].images) for number in numbers]
    assert int(out["mm_token_type_ids"].sum()) == int(out["image_grid_thw"].prod(1).sum()) // 4


@pytest.mark.slow
def test_what_weighs_nothing_moves_nothing(stepped: Callable[..., Any], batch: Callable[..., Any]) -> None:
    """Whatever stands in its place, its pictures included."""
    rewards, weighs = [1.0, 0.0, 0.0, 1.0], [True, True, True, False]
    one = stepped(batch([0, 2, 0, 1], rewards, weighs))
    other = stepped(batch([0, 2, 0, 2], rewards, weighs))
    with_it = stepped(batch([0, 2, 0, 1], rewards, [True] * 4))
    assert apart(one, other) < 1e-6
    assert apart(one, with_it) > 1e-4


@pytest.mark.slow
def test_a_group_of_equals_does_not_dilute(stepped: Callable[..., Any], batch: Callable[..., Any]) -> None:
    """The step is that of the other group alone."""
    both = stepped(batch([0, 2, 1, 1], [1.0, 0.0, 0.5, 0.5], [True, True, False, False]))
    alone = stepped(batch([0, 2], [1.0, 0.0], [True, True]))
    assert apart(both, alone) < 1e-6
    assert apart(alone, stepped(batch([0, 2], [0.0, 0.0], [False, False]))) > 1e-4


@pytest.mark.slow
def test_short_rollouts_are_not_computed_as_long_as_the_longest(
    stepped: Callable[..., Any], batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a batch in parts of one, each part is as wide as its row; the step is the same."""
    from r4agent.training import graph_trainer

    trim, widths = graph_trainer.trimmed, list[tuple[int, int]]()

    def watched(inputs: dict[str, Any]) -> dict[str, Any]:
        out = trim(inputs)
        length = int(out["prompt_mask"].sum() + out["completion_mask"].sum())
        assert length == out["prompt_ids"].numel() + out["completion_ids"].numel()
        assert out["mm_token_type_ids"].shape == (1, length)
        assert out["sampled"].shape == out["old_per_token_logps"].shape == out["completion_ids"].shape
        widths.append((length, inputs["prompt_ids"].shape[1] + inputs["completion_ids"].shape[1]))
        return out

    dealt = batch([0, 2], [1.0, 0.0], [True, True])
    apiece = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    monkeypatch.setattr(graph_trainer, "trimmed", watched)
    trimmed = stepped(dealt, **apiece)
    assert len(widths) == 2
    assert min(length for length, _ in widths) < max(length for length, _ in widths)
    assert all(length <= whole for length, whole in widths)
    monkeypatch.setattr(graph_trainer, "trimmed", lambda inputs: inputs)
    assert apart(trimmed, stepped(dealt, **apiece)) < 1e-6
    assert apart(trimmed, stepped(batch([0, 2], [0.0, 0.0], [False, False]))) > 1e-4


def test_an_advantage_is_with_or_without_std(trainer: Make, batch: Callable[..., Any]) -> None:
    dealt = batch([0, 2], [3.0, 1.0], [True, True])
    plain = trainer(dealt)._generate_and_score_completions([{"place": 0}] * 2)
    assert plain["advantages"].tolist() == pytest.approx([1.0, -1.0])
    scaled = trainer(dealt, scale_rewards="group")._generate_and_score_completions([{"place": 0}] * 2)
    assert scaled["advantages"].tolist() == pytest.approx([2**-0.5, -(2**-0.5)], abs=1e-3)


def test_the_log_has_the_terms_and_the_measures(trainer: Make, batch: Callable[..., Any]) -> None:
    one = trainer(batch([0, 2], [3.0, 1.0], [True, True]))
    one.train()
    (line,) = [line for line in one.state.log_history if "loss" in line]
    assert line["rewards/dealt/mean"] == 2.0
    assert line["tool_rate"] == 0.5
    assert line["logprob_gap/max"] >= line["logprob_gap/mean"] > 0
    assert line["num_tokens"] > 0


def test_a_batch_without_some_of_its_pixels_is_refused(
    trainer: Make, batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(batch([0, 2], [3.0, 1.0], [True, True]))
    whole = one.processing_class.image_processor

    def cut(images: Any, return_tensors: str) -> Any:
        seen = whole(images=images, return_tensors=return_tensors)
        return seen | {"pixel_values": seen["pixel_values"][:-4]}

    monkeypatch.setattr(one.processing_class, "image_processor", cut)
    with pytest.raises(RunError, match="patches of pixels where their pictures have"):
        one._generate_and_score_completions([{"place": 0}] * 2)


def test_every_row_is_checked(trainer: Make, batch: Callable[..., Any]) -> None:
    from dataclasses import replace

    dealt = batch([0, 2], [3.0, 1.0], [True, True])
    damaged = replace(dealt.rows[1], logprobs=(*dealt.rows[1].logprobs[:-1], float("nan")))
    with pytest.raises(RunError, match=f"{damaged.episode}, turn 1: a logprob of nan"):
        trainer(replace(dealt, rows=[dealt.rows[0], damaged])).train()


def test_measures_are_of_all_processes(
    trainer: Make, batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one here looked at nothing, and so can't say how often that helped."""
    monkeypatch.setattr(
        "r4agent.training.graph_trainer.gather_object", lambda own: [*own, {"tool_rate": 0.0, "cut": 1.0}]
    )
    one = trainer(batch([0, 1], [1.0, 0.0], [True, True]))
    one._generate_and_score_completions([{"place": 0}] * 2)
    assert one._metrics["train"]["tool_rate"] == [0.25]
    assert one._metrics["train"]["cut"] == [1.0]
