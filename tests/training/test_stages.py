"""Stages: a curriculum carried out on a tiny model, gone on with, and refused where it can't be."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from r4agent.command import main
from r4agent.engines import Checkpoint
from r4agent.episode import Episode
from r4agent.errors import RunError
from r4agent.training import stages
from r4agent.training.store import EpisodeStore

from .conftest import Played

CURRICULUM = """
model: {model}
out: run
budget: turns=1, overview_images=2, overview_tokens=16, picture_tokens=64
evaluation: {{questions: textworld, level: 0, n: 1, max_tokens: 4}}
stages:
  - name: first
    trainer: sft
    data: {{episodes: data, status: [answered, refused]}}
    settings: {{max_steps: 2}}
  - name: second
    trainer: sft
    data: {{episodes: data}}
    train_on: led
    lora: {{r: 2}}
    settings: {{max_steps: 1}}
"""


@pytest.fixture
def folder(
    checkpoint: Checkpoint, episodes: Played, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty folder with a curriculum and a store of episodes, whose pictures are those under R4_HOME."""
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(CURRICULUM.format(model=checkpoint.folder))
    store = EpisodeStore("data")
    for episode in episodes.episodes:
        store.add(episode)
    return tmp_path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[dict[str, object]]]:
    """Runs `r4 train c.yaml --json` with more arguments; returns what it says of each stage."""

    def told(*arguments: str) -> list[dict[str, object]]:
        assert main(["train", "c.yaml", "--json", *arguments]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return told


@pytest.mark.slow
def test_stages_follow_each_other_and_are_not_done_twice(
    folder: Path, told: Callable[..., list[dict[str, object]]], capsys: pytest.CaptureFixture[str]
) -> None:
    first = told("--stage", "first")
    assert [stage["stage"] for stage in first] == ["start", "first"]
    assert not Path("run/02-second").exists()
    weights = Path("run/01-first/checkpoint/model.safetensors")
    written = weights.stat().st_mtime_ns
    both = told("--resume")
    assert both[:2] == first
    assert [stage["stage"] for stage in both] == ["start", "first", "second"]
    assert weights.stat().st_mtime_ns == written
    begun = json.loads(Path("run/02-second/stage.json").read_text())
    assert begun["model"] == "run/01-first/checkpoint"
    assert {"versions", "settings", "budget", "seed"} <= begun.keys()
    for number, name in ((1, "first"), (2, "second")):
        stage = Path(f"run/{number:02d}-{name}")
        assert Checkpoint.load(stage / "checkpoint").family == "qwen2_5_vl"
        assert (stage / "evaluation" / "index.html").is_file()
        assert "loss" in (stage / "metrics.jsonl").read_text()
        assert (stage / "index.html").is_file()
    page = Path("run/index.html").read_text()
    assert all(name in page for name in ("start", "first", "second"))
    assert main(["train", "c.yaml"]) == 2
    assert "run/01-first: is there from an earlier run; go on with --resume" in capsys.readouterr().err
    Path("c.yaml").write_text(Path("c.yaml").read_text().replace("max_steps: 2", "max_steps: 3"))
    assert main(["train", "c.yaml", "--resume"]) == 2
    assert (
        "01-first: was begun with settings {'max_steps': 2}, now {'max_steps': 3}" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        (("r: 2", "rank: 2"), (), "stage second: lora {'rank': 2}: "),
        (
            ("max_steps: 1", "max_step: 1"),
            (),
            "stage second: settings max_step=1: SFTConfig has no 'max_step': ",
        ),
        (
            ("", ""),
            ("--stage", "second"),
            "stage second: begins with run/01-first/checkpoint, which isn't there",
        ),
        (("", ""), ("--stage", "third"), "stage 'third': there are first, second"),
        (("episodes: data", "episodes: none"), ("--stage", "first"), "none: no episode store"),
    ],
)
def test_what_can_t_be_carried_out_is_told_before_anything_runs(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    text = Path("c.yaml").read_text().replace(*change) if change[0] else Path("c.yaml").read_text()
    Path("c.yaml").write_text(text.replace("evaluation:", "# "))
    assert main(["train", "c.yaml", *arguments]) in (2, 4)
    assert words in capsys.readouterr().err
    assert not list(folder.glob("run/*/checkpoint"))


def test_data_that_changed_since_a_stage_was_begun_is_refused(
    folder: Path, episodes: Played, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise RunError("killed")

    monkeypatch.setattr(stages, "_train", killed)
    Path("c.yaml").write_text(Path("c.yaml").read_text().replace("evaluation:", "# "))
    assert main(["train", "c.yaml"]) == 5
    assert main(["train", "c.yaml", "--resume"]) == 5  # with the same data it goes on
    lines = episodes.episodes[0].lines
    more = Episode.of([lines[0] | {"id": "more"}, *lines[1:]], folder, Episode.read)
    EpisodeStore("data").add(more)
    capsys.readouterr()
    assert main(["train", "c.yaml", "--resume"]) == 2
    assert re.search(r"01-first: was begun with episodes '3, .*', now '4, .*'; give", capsys.readouterr().err)
    Path("run/01-first/checkpoint").mkdir()  # what is finished stays so
    Path("c.yaml").write_text(Path("c.yaml").read_text() + "devices: 2\n")
    assert main(["train", "c.yaml", "--resume"]) == 2
    assert "01-first: was begun with devices 1, now 2" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        ("qwen2_5_vl_7b_lora_80gb", ["start", "drp-sft", "rl-d", "crp-sft", "rl-c"]),
        ("qwen2_5_vl_7b_fsdp_8gpu", ["start", "drp-sft"]),
    ],
)
def test_recipes_run_dry_on_a_tiny_model(
    folder: Path,
    checkpoint: Checkpoint,
    repo: Path,
    told: Callable[..., list[dict[str, object]]],
    recipe: str,
    names: list[str],
) -> None:
    """With transformers in place of vLLM, and episodes that were made for no stage."""
    text = (repo / "examples" / "curricula" / f"{recipe}.yaml").read_text()
    text = text.replace("engine: vllm", "engine: transformers")
    text = re.sub(r"engine_args: (&vllm \{.*?\}|\*vllm)", "engine_args: {}", text)
    Path("c.yaml").write_text(re.sub(r", stage: \[\w+\]", "", text))
    only = () if len(names) > 2 else ("--stage", names[-1])
    stages = told("--dry-run", "--model", str(checkpoint.folder), "--out", "dry", *only)
    assert [stage["stage"] for stage in stages] == names
