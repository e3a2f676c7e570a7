"""GRPO through the graph: real TRL, real graph, a tiny random model on text-world clips."""

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from r4agent import Budget, MediaStore
from r4agent.engines import Checkpoint
from r4agent.errors import UsageError
from r4agent.item import Item
from r4agent.textworld.writer import clip_file
from r4agent.training.store import EpisodeStore, Stored

from ..conftest import needs
from .killed_grpo import LEARN, LowTokens, train

TWO_TURNS = Budget(turns=4, overview_images=2, overview_tokens=16, picture_tokens=64)
MIXED: dict[str, Any] = {
    "settings": {
        "num_generations": 4,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "learning_rate": 1e-3,
        "max_steps": 2,
    },
    "budget": TWO_TURNS,
    "max_tokens": 100,
}
"""Two groups of four, in micro-batches of two that TRL makes by lot."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The least of models."""
    from r4agent.engines.tiny import make_tiny

    folder = tmp_path_factory.mktemp("small")
    return Checkpoint.load(make_tiny("qwen2_5_vl", folder / "model", hidden=64, layers=1))


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """Two questions about two clips."""
    made = [clip_file(0, seed, tmp_path_factory.mktemp("clips")) for seed in (0, 1)]
    return [found[0].model_copy(update={"media": str(clip)}) for clip, found in made]


@pytest.fixture
def run(small: Checkpoint, items: list[Item], tmp_path: Path) -> Callable[..., Path]:
    """A run in `tmp_path / "run"`, unless it is said where; as `train` has it."""

    def run(**more: Any) -> Path:
        rows = [item.model_dump(mode="json") for item in items]
        given = {"out": str(tmp_path / "run"), "pictures": str(tmp_path / "pictures"), **more}
        return train(small.name, rows, **given)

    return run


@pytest.fixture(scope="module")
def vllm(small: Checkpoint) -> Iterator[Any]:
    """One engine for all tests here; `dictates` says whether its replies are those of `dictated`."""
    needs("vllm")
    from .dictated import DictatedVllm

    engine = DictatedVllm(small, dtype="float32", max_model_len=6144, max_num_seqs=8, enforce_eager=True)
    yield engine
    engine.close()


@pytest.fixture
def lent(vllm: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs take this engine, and leave it open."""
    monkeypatch.setattr("r4agent.engines.local.VllmEngine", lambda checkpoint, **_: vllm)
    monkeypatch.setattr(vllm, "close", lambda: None)
    return vllm


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def interval(values: list[float]) -> tuple[float, float]:
    """Of the mean, 95 %."""
    half = 1.96 * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def rises(folder: Path, steps: int) -> None:
    """The reward of the last two steps' rollouts lies above that of the first two's, intervals apart."""
    rewards = [stored.rewards["low"] for stored in EpisodeStore(folder / "episodes").select()]
    assert len(rewards) == 8 * steps
    assert interval(rewards[-16:])[0] > interval(rewards[:16])[1]
    assert [line["step"] for line in metrics(folder)] == list(range(1, steps + 1))
    assert metrics(folder)[0]["reward"] == pytest.approx(fmean(rewards[:8]))


@pytest.mark.slow
def test_a_reward_is_learnt_on_transformers(small: Checkpoint, items: list[Item], tmp_path: Path) -> None:
    rows = [item.model_dump(mode="json") for item in items]
    given = {"model": small.name, "items": rows, "settings": {"max_steps": 8}}
    assert apart({**given, "pictures": str(tmp_path / "pictures"), "out": str(tmp_path)}) == 0
    rises(tmp_path, 8)
    assert max(line["logprob_gap/max"] for line in metrics(tmp_path)) <= 1e-5
    assert Checkpoint.load(tmp_path / "checkpoint").profile.grid == 28


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
def test_a_reward_is_learnt_on_vllm(lent: Any, run: Callable[..., Path], tmp_path: Path) -> None:
    lent.dictates = False
    run(engine="vllm", settings={"max_steps": 8})
    rises(tmp_path / "run", 8)
    assert max(line["logprob_gap/max"] for line in metrics(tmp_path / "run")) <= 1e-3


def mixed(folder: Path, most: float) -> None:
    """Episodes of several numbers of pictures, and one logprob for each sampled token, whoever says it."""
    episodes = [stored.episode for stored in EpisodeStore(folder / "episodes").select()]
    assert len({len(episode.pictures) for episode in episodes}) > 1
    for line in metrics(folder):
        assert 0 < line["logprob_gap/max"] <= most
        assert line["clip_ratio/region_mean"] == 0
        assert 0 < line["tool_rate"] < 1
        assert line["turns"] > 1


@pytest.mark.slow
def test_logprobs_are_the_trainers_on_transformers(
    run: Callable[..., Path], small: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from .dictated import Dictated

    monkeypatch.setattr("r4agent.engines.decode.draw", Dictated(small))
    run(**MIXED)
    mixed(tmp_path / "run", 1e-5)


@pytest.mark.slow
def test_an_adapter_with_kl_and_recomputed_activations(
    run: Callable[..., Path], small: Checkpoint, tmp_path: Path
) -> None:
    """What is sampled has the adapter in it, and what comes of it is a whole model."""
    from safetensors.torch import load_file

    settings = {"max_steps": 2, "beta": 0.1, "gradient_checkpointing": True, "num_generations": 4}
    folder = run(lora={"r": 4}, settings={**settings, "per_device_train_batch_size": 4})
    first, second = metrics(tmp_path / "run")
    assert max(first["logprob_gap/max"], second["logprob_gap/max"]) <= 1e-5
    assert first["kl"] == pytest.approx(0.0, abs=1e-6)
    assert second["kl"] > 1e-4
    before, after = (load_file(path / "model.safetensors") for path in (small.folder, folder))
    assert {name for name in before if not before[name].equal(after[name])} >= {
        name for name in before if "language_model" in name and "q_proj.weight" in name
    }


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
def test_logprobs_are_the_trainers_on_vllm(lent: Any, run: Callable[..., Path], tmp_path: Path) -> None:
    lent.dictates = True
    run(engine="vllm", **MIXED)
    mixed(tmp_path / "run", 1e-3)


def apart(given: dict[str, Any], *, step: int = 0, saving: bool = False) -> int:
    """`train` in a process of its own; dies in a step, if one is given. The exit code.

    What is compared to the bit may not run where vLLM ran: it leaves torch with as many threads as cores.
    """
    script = Path(__file__).with_name("killed_grpo.py")
    command = [sys.executable, str(script), json.dumps({**given, "step": step, "saving": saving})]
    return subprocess.run(command, check=False, timeout=300).returncode


@pytest.mark.slow
def test_a_run_that_was_killed_twice_goes_on_to_the_same_weights(
    small: Checkpoint, items: list[Item], tmp_path: Path
) -> None:
    """In mid-save, and after rollouts. To the last bit, and its store has each rollout that was learnt from
    once. An adapter, as it has the most to bring back; SFT's kills are of whole weights too."""
    from safetensors.torch import load_file

    def given(out: str) -> dict[str, Any]:
        return {
            "model": small.name,
            "items": [item.model_dump(mode="json") for item in items],
            "pictures": str(tmp_path / out / "pictures"),
            "out": str(tmp_path / out),
            "settings": {"max_steps": 3, "save_strategy": "steps", "save_steps": 1},
            "lora": {"r": 4},
        }

    killed, resumed = tmp_path / "killed", given("killed") | {"resume": True}
    for step, saving, whole in ((2, True, 1), (3, False, 2)):
        assert apart(resumed, step=step, saving=saving) == -signal.SIGKILL
        assert [path.parent.name for path in killed.glob("trainer/*/complete")] == [f"checkpoint-{whole}"]
    assert apart(resumed) == 0
    assert apart(given("whole")) == 0
    runs = (tmp_path / "whole", killed)
    one, other = (load_file(path / "checkpoint" / "model.safetensors") for path in runs)
    assert all(one[name].equal(other[name]) for name in one)
    kept = [[stored.rewards for stored in EpisodeStore(path / "episodes").select()] for path in runs]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 24
    learnt = [[line["reward"] for line in metrics(path)] for path in runs]
    assert learnt[0] == learnt[1]


@pytest.fixture(scope="module")
def logged(small: Checkpoint, items: list[Item], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one step, which has learnt nothing."""
    folder = tmp_path_factory.mktemp("logged")
    rows = [item.model_dump(mode="json") for item in items]
    settings = {"max_steps": 1, "learning_rate": 0.0, "num_generations": 4}
    train(small.name, rows, str(folder / "pictures"), str(folder), settings=settings)
    return folder


@pytest.fixture
def again(small: Checkpoint, logged: Path, tmp_path: Path) -> Callable[..., Path]:
    """Replays episodes, those of `logged` unless others are given."""

    def again(
        episodes: list[Stored] | None = None, out: str = "replay", lora: Any = None, **more: Any
    ) -> Path:
        from r4agent.training.grpo import replay

        stored = list(EpisodeStore(logged / "episodes").select()) if episodes is None else episodes
        settings = LEARN | {"num_generations": 4, "max_steps": 1} | more
        pictures = MediaStore(logged / "pictures")
        return replay(
            small.name,
            stored,
            pictures,
            out=tmp_path / out,
            rewards=LowTokens(),
            mask_cut=False,
            lora=lora,
            settings=settings,
        )

    return again


def test_a_replay_has_ratio_1_until_it_has_learnt(again: Callable[..., Path], tmp_path: Path) -> None:
    """Two updates with the same episodes: the second's ratio too is to the policy that sampled."""
    again(max_steps=2, num_iterations=2)
    first, second = metrics(tmp_path / "replay")
    assert first["logprob_gap/max"] <= 1e-5
    assert first["clip_ratio/region_mean"] == 0
    assert second["clip_ratio/region_mean"] > 0
    assert "logprob_gap/max" not in second  # what was learnt since is no gap


def test_an_adapter_s_dropout_is_no_part_of_the_ratio(again: Callable[..., Path], tmp_path: Path) -> None:
    """What was logged was sampled without; an adapter that has learnt nothing is no change."""
    again(lora={"r": 4, "lora_dropout": 0.5, "init_lora_weights": False})
    with_dropout = metrics(tmp_path / "replay")[0]["logprob_gap/max"]
    again(lora={"r": 4, "init_lora_weights": False}, out="plain")
    assert with_dropout == metrics(tmp_path / "plain")[0]["logprob_gap/max"]


def test_what_can_not_be_replayed_is_refused(
    again: Callable[..., Path], logged: Path, small: Checkpoint, items: list[Item], tmp_path: Path
) -> None:
    from dataclasses import replace

    from r4agent import Episode, create_rumination_graph
    from r4agent.training.teacher import Teacher

    stored = list(EpisodeStore(logged / "episodes").select())
    with pytest.raises(UsageError, match=r"replay: no item has 4 episodes, not all failed; the most has 3"):
        again(stored[:3])
    with pytest.raises(UsageError, match=f"{stored[0].episode.id}: its item isn't known"):
        again([replace(stored[0], item=None)])
    teacher = Teacher(model=small.name, plan=lambda _: "<answer>42</answer>")
    graph = create_rumination_graph(teacher, store=MediaStore(tmp_path), episodes=tmp_path)
    result = graph.invoke({"media": items[0].media, "question": items[0].question})
    taught = Stored(Episode.read(result["episode"]), "", items[0], None)
    with pytest.raises(UsageError, match=f"{taught.episode.id}: a teacher dictated it"):
        again([taught] * 4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0.7}, "temperature=0.7: is not to be set: .*temperature 1"),
        ({"use_vllm": True}, "use_vllm=True: is not to be set: say it as `engine`"),
        ({"vllm_mode": "server"}, "vllm_mode='server': is not to be set: say it as `engine`"),
        ({"mask_truncated_completions": True}, "say it as `mask_cut`"),
        (
            {"loss_type": "grpo"},
            "loss_type='grpo': it counts rollouts that weigh nothing; take dapo or cispo",
        ),
        (
            {"per_device_train_batch_size": 3},
            r"generation_batch_size \(3\) must be divisible by num_generations",
        ),
        ({"save_steps": 3, "num_iterations": 2}, "save_steps=3: a step's rollouts serve 2 steps"),
        ({"steps_per_generation": 1, "gradient_accumulation_steps": 2}, r"would serve 0\.5 steps"),
        ({"disable_dropout": False}, "disable_dropout=False: .*sampled without dropout"),
        ({"save_only_model": True}, "save_only_model=True: .*resumes with its optimizer"),
        ({"ignore_data_skip": True}, "ignore_data_skip=True: .*resumes where it was in its data"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, "rewards are summed first"),
        ({"epsilon_hig": 0.3}, "GRPOConfig has no 'epsilon_hig': epsilon_high"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    from r4agent.training.grpo import config_of

    with pytest.raises(UsageError, match=words):
        config_of(settings, tmp_path, "float32")


def test_a_process_has_whole_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since a group's rewards may depend on each other."""
    from r4agent.training.grpo import GRPOConfig, config_of

    monkeypatch.setattr(GRPOConfig, "world_size", 2)
    with pytest.raises(UsageError, match=r"a process rolls out 12 at a time, .* and a group has 8"):
        config_of({"per_device_train_batch_size": 3, "steps_per_generation": 4}, tmp_path, "float32")


def test_no_items_is_an_error(run: Callable[..., Path], small: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no items"):
        train(small.name, [], str(tmp_path), str(tmp_path))


def test_fewer_items_than_a_batch_are_an_error(run: Callable[..., Path], tmp_path: Path) -> None:
    """Two of them, where a step's rollouts are for four: no step would be taken."""
    with pytest.raises(UsageError, match="GRPO: 2 items, and rollouts are made for 4 at a time"):
        run(settings={"gradient_accumulation_steps": 4})
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_fewer_groups_than_a_batch_are_an_error(again: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match=r"GRPO: 2 groups of logged episodes, and .* for 4 at a time"):
        again(gradient_accumulation_steps=2)


def test_an_unknown_engine_is_an_error(run: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="engine 'http': live rollouts"):
        run(engine="http")
