"""The curriculum: what a file may say, and what is told of one that says something else."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from r4agent.budget import Budget
from r4agent.engines import Checkpoint
from r4agent.errors import UsageError
from r4agent.training.curriculum import Asked, Curriculum, Grpo, Kept, Sft

GOOD = """
model: start
out: run
budget: turns=4, images=8
evaluation: {questions: textworld, level: 0, n: 2}
stages:
  - {name: a, trainer: sft, data: {episodes: x}}
  - {name: b, trainer: grpo, data: {questions: textworld, level: 0, n: 2}, rewards: {accuracy: 1}}
"""
RECIPES = sorted((Path(__file__).parents[2] / "examples" / "curricula").glob("*.yaml"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.yaml"


def test_stages_are_data(path: Path) -> None:
    path.write_text(GOOD)
    read = Curriculum.read(path)
    first, second = read.stages
    assert isinstance(first, Sft)
    assert isinstance(second, Grpo)
    assert isinstance(second.data, Asked)
    assert (read.budget.turns, read.budget.images) == (4, 8)
    assert read.folder(2) == Path("run/02-b")
    assert first.data.which["status"] == ("answered",)
    assert first.data.which["exact"] is True


def test_a_stage_s_rollouts_may_cost_less(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(GOOD.replace("rewards: {", 'budget: "turns=3", rewards: {'))
    read = Curriculum.read(path)
    stage = read.stages[1]
    assert isinstance(stage, Grpo)
    monkeypatch.setattr(Checkpoint, "load", lambda name: SimpleNamespace(budget=Budget(new_tokens=77)))
    rolled, asked = read.rolled_with(stage), read.asked_with
    assert (rolled.turns, rolled.images, rolled.new_tokens) == (3, 8, 77)
    assert (asked.turns, asked.images, asked.new_tokens) == (4, 8, 77)
    assert read.rolled_with(read.stages[0]) == asked


def test_logged_episodes_are_replayed(path: Path) -> None:
    replayed = GOOD.replace(
        "{questions: textworld, level: 0, n: 2}, rewards", "{episodes: y}, engine: replay, rewards"
    )
    path.write_text(replayed)
    stage = Curriculum.read(path).stages[1]
    assert isinstance(stage, Grpo)
    assert isinstance(stage.data, Kept)
    assert stage.data.which["status"] == ()  # a group's mean is of all


def test_the_command_s_words_come_first(path: Path) -> None:
    path.write_text(GOOD)
    assert Curriculum.read(path, model="other", out=Path("there")).model == "other"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("turns=4", "tuns=4", "budget: budget 'tuns=4': write KEY=VALUE with KEY one of turns, images"),
        ("turns=4, images=8", "{turns: 0}", "budget.turns: .* greater than or equal to 1, not 0"),
        ("turns=4, images=8", "{tuns: 2}", "budget.tuns: there is no such key; there are turns, images"),
        ("trainer: sft", "trainer: dpo", "stage a: trainer: must be sft or grpo"),
        ("trainer: sft, ", "", "stage a: trainer: must be sft or grpo"),
        ("episodes: x", "episodes: x, status: [ok]", "stage a: data.status.0: .*'answered', .* not 'ok'"),
        (
            "episodes: x",
            "episodes: x, n: 4",
            "stage a: data.n: there is no such key; there are episodes, sta",
        ),
        ("episodes: x", "store: x", "stage a: data.episodes: is missing"),
        ("{episodes: x}", "{episodes: x}, lorra: {}", "stage a: lorra: there is no .*: trainer|lora"),
        ("level: 0, n: 2}, rew", "n: 2}, rew", "stage b: data: questions of the textworld: give level and n"),
        (
            "textworld, level: 0, n: 2}, rew",
            "q.jsonl, level: 1}, rew",
            "stage b: data: level goes with textw",
        ),
        (
            "n: 2}, rew",
            "n: 2, status: [x]}, rew",
            "stage b: data.status: there is no .* are questions, level",
        ),
        (
            "accuracy: 1}",
            "accuracy: 1}, engine: replay",
            "stage b: engine 'replay': replay goes with episodes",
        ),
        (
            "{questions: textworld, level: 0, n: 2}, rewards: {accuracy: 1}",
            "{episodes: y}, engine: replay, budget: {turns: 2}, rewards: {accuracy: 1}",
            "stage b: budget: episodes that are replayed have cost what they cost; leave it out",
        ),
        ("accuracy: 1}", "accuracy: 1}, budget: {tuns: 2}", "stage b: budget.tuns: there is no such key"),
        (", rewards: {accuracy: 1}", "", "stage b: rewards: is missing"),
        ("data: {questions: textworld, level: 0, n: 2}", "data: 5", "stage b: data: .*dictionary.*, not 5"),
        ("data: {questions: textworld, level: 0, n: 2}", "data:", "stage b: data: .*dictionary.*, not None"),
        ("data: {episodes: x}", "data: 5", "stage a: data: .*dictionary.*, not 5"),
        ("name: b", "name: a", "stages: names must differ, and they are a, a"),
        ("name: b", "name: ../b", "stage ../b: name: .*, not '../b'"),
        ("model: start", "", "model: is missing"),
        (
            "level: 0, n: 2}\nstages",
            "level: 0, n: 2, engine: http}\nstages",
            "evaluation.engine: .* not 'http'",
        ),
        (GOOD, "stages: [", "not YAML: "),
        (GOOD, "- 1", "not a curriculum: give model, out and stages"),
    ],
)
def test_what_is_wrong_is_named(path: Path, before: str, after: str, words: str) -> None:
    assert before in GOOD
    path.write_text(GOOD.replace(before, after, 1))
    with pytest.raises(UsageError, match=rf"c\.yaml: {words}"):
        Curriculum.read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.yaml: can't be read \(No such file"):
        Curriculum.read(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    "recipe", [p for p in RECIPES if "accelerate" not in p.name], ids=lambda p: str(p.stem)
)
def test_recipes_are_four_stages_that_their_trainers_take(recipe: Path) -> None:
    from r4agent.training.stages import check

    read = Curriculum.read(recipe)
    assert [stage.name for stage in read.stages] == ["drp-sft", "rl-d", "crp-sft", "rl-c"]
    for stage in (*read.stages, *read.dry().stages):
        check(stage)


def test_accelerate_takes_its_file() -> None:
    """Its keys are accelerate's, and the layers that FSDP wraps are the model's."""
    import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl as qwen
    from accelerate.commands.config.config_args import load_config_from_file

    path = next(p for p in RECIPES if "accelerate" in p.name)
    read: Any = load_config_from_file(str(path))
    assert read.num_processes == Curriculum.read(path.with_name("qwen2_5_vl_7b_fsdp_8gpu.yaml")).devices
    for layer in read.fsdp_config["fsdp_transformer_layer_cls_to_wrap"].split(","):
        assert hasattr(qwen, layer)


def test_a_dry_run_is_one_short_step(path: Path) -> None:
    path.write_text(GOOD)
    dry = Curriculum.read(path).dry()
    assert [stage.settings["max_steps"] for stage in dry.stages] == [1, 1]
    assert dry.evaluation is not None
    assert (dry.evaluation.n, dry.budget.turns) == (1, 2)
    path.write_text(GOOD.replace("rewards: {", "budget: {turns: 9}, rewards: {"))
    costly = Curriculum.read(path).dry().stages[1]
    assert isinstance(costly, Grpo)
    assert not costly.budget.model_fields_set
    path.write_text(GOOD)
    several = Curriculum.read(path, devices=3).dry().stages[1]
    assert isinstance(several.data, Asked)
    assert several.data.n == 3  # else there is no group for each process
    assert dry.folder(1) == Path("run-dry/01-a")  # where it doesn't stand in the real run's way
