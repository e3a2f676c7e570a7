"""The whole chain on a tiny random model: a teacher's trajectories, SFT until it speaks the form, then GRPO
on what it samples by itself, with transformers and with vLLM in this process."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from r4agent import Budget, ChatR4, Episode, MediaStore, create_rumination_graph
from r4agent.engines.tiny import make_tiny
from r4agent.evaluation import Questions
from r4agent.item import Item
from r4agent.textworld.writer import clip_file

from ..conftest import needs

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("vllm")]

BUDGET = Budget(turns=3, overview_images=4, overview_tokens=16, picture_tokens=144)
QUESTIONS = 3


def test_from_trajectories_to_grpo(tmp_path: Path) -> None:
    needs("vllm")
    from r4agent.training.grpo import grpo
    from r4agent.training.measures import measures
    from r4agent.training.rewards import well_formed
    from r4agent.training.scoring import Rewards
    from r4agent.training.sft import Lesson, sft
    from r4agent.training.store import EpisodeStore
    from r4agent.training.trajectories import trajectories

    start = make_tiny("qwen2_5_vl", tmp_path / "start", words=True)
    store, taught = MediaStore(tmp_path / "pictures"), EpisodeStore(tmp_path / "taught")
    trajectories(_questions(tmp_path / "clips"), str(start), taught, "deliberate", budget=BUDGET, store=store)
    lessons = list(taught.select())[:QUESTIONS]
    items = [stored.item for stored in lessons if stored.item]
    assert len(items) == QUESTIONS

    settings = {"max_steps": 40, "per_device_train_batch_size": 3, "learning_rate": 5e-3, "logging_steps": 1}
    model = sft(
        start,
        [Lesson.of(stored.episode) for stored in lessons],
        store,
        out=tmp_path / "sft",
        settings=settings,
    )
    losses = [line["loss"] for line in _lines(tmp_path / "sft")]
    assert losses[-1] < losses[0] / 10

    before, after = (_asked(model, items, store, tmp_path) for model in (start, model))
    assert [well_formed(episode) for episode in before] == [0.0] * QUESTIONS
    assert fmean(well_formed(episode) or 0.0 for episode in after) > 0.6
    assert measures(list(zip(items, [[episode] for episode in after], strict=True)))["tool_rate"] > 0.6

    for engine, gap in (("transformers", 1e-4), ("vllm", 1e-3)):  # logits of a model this sure are large
        out = tmp_path / engine
        grpo(
            model,
            items,
            store,
            out=out,
            rewards=Rewards.of({"accuracy": 1.0, "format": 0.2, "evidence": 0.2}),
            budget=BUDGET,
            engine=engine,  # type: ignore[arg-type]
            engine_args={"max_model_len": 4096, "max_num_seqs": 4} if engine == "vllm" else {},
            max_tokens=100,
            settings={"max_steps": 2, "num_generations": 4, "per_device_train_batch_size": 4},
        )
        steps = [line for line in _lines(out) if "reward" in line]
        assert len(steps) == 2
        assert max(step["logprob_gap/max"] for step in steps) <= gap
        assert fmean(step["tool_rate"] for step in steps) > 0  # it looks, by itself
        kept = list(EpisodeStore(out / "episodes").select())
        assert len(kept) == 8
        assert {stored.item.id for stored in kept if stored.item} <= {item.id for item in items}


def _questions(clips: Path) -> Questions:
    """Of two clips; some can't be taught with so few pictures."""
    made = [clip_file(0, seed, clips) for seed in (0, 1)]
    items = [item.model_copy(update={"media": str(clip)}) for clip, found in made for item in found[:5]]
    return Questions("signs", tuple(items), 0)


def _asked(model: Path, items: Sequence[Item], store: MediaStore, folder: Path) -> list[Episode]:
    policy = ChatR4(model=str(model), engine="transformers", max_tokens=100)
    graph = create_rumination_graph(policy, budget=BUDGET, store=store, episodes=folder / "asked")
    asked: list[Any] = [{"media": item.media, "question": item.question} for item in items]
    return [Episode.read(result["episode"]) for result in graph.batch(asked)]


def _lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
