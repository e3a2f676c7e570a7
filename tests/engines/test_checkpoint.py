"""Checkpoints: real layouts of both families, and clear errors for everything else."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from r4agent.budget import Budget
from r4agent.engines import Checkpoint
from r4agent.errors import MissingError, UsageError

from ..policy.scripted_engine import bare_checkpoint

GRID = {"qwen2_5_vl": 28, "qwen3_vl": 32}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return bare_checkpoint("qwen2_5_vl", tmp_path / "model").folder


def made(folder: Path, **files: dict[str, Any]) -> Checkpoint:
    """A checkpoint of its own with these files; a name's `__` is its dot. None of the cache's is met."""
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(json.dumps(value))
    return Checkpoint.load(folder)


def test_the_older_layout_of_qwen2_5_vl(folder: Path, tmp_path: Path) -> None:
    """The language model's keys at the top, the processor's sizes as min_pixels and max_pixels."""
    config = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "hidden_size": 3584,
        "max_position_embeddings": 128000,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "image_token_id": 151655,
        "vision_config": {"patch_size": 14, "spatial_patch_size": 14, "spatial_merge_size": 2},
    }
    sizes = {"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "merge_size": 2}
    other = _moved(folder, tmp_path / "older")
    checkpoint = made(other, config__json=config, preprocessor_config__json=sizes)
    profile = checkpoint.profile
    assert (profile.grid, profile.space, profile.min_pixels, profile.max_pixels) == (
        28,
        "shown",
        3136,
        12845056,
    )
    assert (checkpoint.context, checkpoint.patch, checkpoint.merge) == (128000, 14, 2)
    assert checkpoint.image_token == 151655
    assert checkpoint.tokens((1, 8, 12)) == 24


def test_the_layout_of_qwen3_vl(folder: Path, tmp_path: Path) -> None:
    config = {
        "model_type": "qwen3_vl",
        "image_token_id": 151655,
        "text_config": {"model_type": "qwen3_vl_text", "max_position_embeddings": 262144},
        "vision_config": {"patch_size": 16, "spatial_merge_size": 2, "deepstack_visual_indexes": [8, 16, 24]},
    }
    sizes = {"size": {"longest_edge": 16777216, "shortest_edge": 65536}, "patch_size": 16}
    checkpoint = made(_moved(folder, tmp_path / "new"), config__json=config, preprocessor_config__json=sizes)
    profile = checkpoint.profile
    assert (profile.name, profile.grid, profile.space) == ("qwen3-vl", 32, "thousand")
    assert (profile.min_pixels, profile.max_pixels) == (65536, 16777216)
    assert checkpoint.context == 262144


@pytest.mark.parametrize(
    ("said", "dtype"),
    [
        ({"dtype": "float32"}, "float32"),
        ({"torch_dtype": "bfloat16"}, "bfloat16"),
        ({"text_config": {"max_position_embeddings": 8, "dtype": "float32"}}, "float32"),
        ({"dtype": "bfloat16", "text_config": {"dtype": "float32"}}, "bfloat16"),
        ({}, None),
    ],
)
def test_the_precision_that_it_was_saved_in(
    folder: Path, tmp_path: Path, said: dict[str, Any], dtype: str | None
) -> None:
    own = {"model_type": "qwen2_5_vl", "vision_config": {"patch_size": 14}}
    assert made(_moved(folder, tmp_path / "x"), config__json=own | said).dtype == dtype


@pytest.mark.parametrize("own", [{"image_processor": None}, {"processor_class": "Qwen3VLProcessor"}, {}])
def test_a_processor_config_may_say_nothing_of_pictures(
    folder: Path, own: dict[str, Any], tmp_path: Path
) -> None:
    plain = Checkpoint.load(folder).profile
    assert made(_moved(folder, tmp_path / "x"), processor_config__json=own).profile == plain


def test_a_processor_config_wins(folder: Path, tmp_path: Path) -> None:
    own = {"image_processor": {"size": {"shortest_edge": 6272, "longest_edge": 62720}}}
    profile = made(_moved(folder, tmp_path / "x"), processor_config__json=own).profile
    assert (profile.min_pixels, profile.max_pixels) == (6272, 62720)


def test_a_profile_of_its_own(folder: Path, tmp_path: Path) -> None:
    own = {"name": "nano", "space": "thousand", "max_pixels": 12544}
    profile = made(_moved(folder, tmp_path / "x"), r4agent__json=own).profile
    assert (profile.name, profile.space, profile.max_pixels) == ("nano", "thousand", 12544)
    assert profile.min_pixels == 3136  # what it does not say is the processor's


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"spaces": "unit"}, "unknown keys spaces"),
        ({"space": "inches"}, "must be one of source, shown, thousand, unit"),
        ({"max_pixels": 10**9}, "must lie within 3136 to 1003520"),
        ({"min_pixels": 1}, "must lie within"),
        ({"min_pixels": 9000, "max_pixels": 8000}, "must lie within"),
        ({"max_pixels": "large"}, "must lie within"),
    ],
)
def test_a_profile_that_can_not_be(folder: Path, tmp_path: Path, own: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _ = made(_moved(folder, tmp_path / "x"), r4agent__json=own).profile


def test_a_budget_of_its_own(folder: Path, tmp_path: Path) -> None:
    own = made(_moved(folder, tmp_path / "x"), r4agent__json={"budget": {"turns": 5, "picture_tokens": 32}})
    assert own.budget == Budget(turns=5, picture_tokens=32)
    assert own.profile == Checkpoint.load(folder).profile
    assert Checkpoint.load(folder).budget == Budget()


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (5, "budget 5: must be an object"),
        ({"turn": 5}, r"r4agent\.json: budget 'turn=5': write KEY=VALUE"),
        ({"turns": 0}, r"r4agent\.json: budget turns=0: "),
    ],
)
def test_a_budget_that_can_not_be(folder: Path, tmp_path: Path, budget: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _ = made(_moved(folder, tmp_path / "x"), r4agent__json={"budget": budget}).budget


@pytest.mark.parametrize("family", ["llama", "qwen2_vl", "qwen3_vl_moe", None])
def test_other_families_are_refused_by_name(folder: Path, tmp_path: Path, family: str | None) -> None:
    with pytest.raises(UsageError, match=f"of the family {family!r}; .* speak qwen2_5_vl, qwen3_vl"):
        made(_moved(folder, tmp_path / "x"), config__json={"model_type": family})


def test_what_is_missing_or_damaged(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MissingError, match=r"has no config.json"):
        Checkpoint.load(empty)
    made_folder = _moved(folder, tmp_path / "no_tokenizer")
    (made_folder / "tokenizer.json").unlink()
    with pytest.raises(MissingError, match=r"has no tokenizer.json"):
        Checkpoint.load(made_folder)
    for text in ("{", "[]", "\xff"):
        (made_folder / "config.json").write_text(text, encoding="latin-1")
        with pytest.raises(MissingError, match="copy the checkpoint anew"):
            Checkpoint.load(made_folder)
    damaged = _moved(folder, tmp_path / "damaged")
    (damaged / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(MissingError, match=r"tokenizer.json: can't be read"):
        _ = Checkpoint.load(damaged).tokenizer


@pytest.mark.parametrize("name", ["nothing", "./nothing", "/nothing/here", "~/nothing", "a/b/c"])
def test_no_such_folder(name: str) -> None:
    with pytest.raises(MissingError, match="no such folder; give one, or a hub id such as"):
        Checkpoint.load(name)


def test_a_hub_id_without_a_hub(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder, and the hub did not give it"):
        Checkpoint.load("nobody/nothing-such")


def test_one_name_is_one_checkpoint_wherever_one_stands(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    here = Checkpoint.load("model")
    assert here.folder.is_absolute()
    assert here is Checkpoint.load("model")
    bare_checkpoint("qwen3_vl", tmp_path / "elsewhere" / "model")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Checkpoint.load("model").family == "qwen3_vl"
    assert here != Checkpoint.load("model")
    assert "vision_config" not in repr(here)


def test_threads_that_load_at_once_get_equal_ones(folder: Path, tmp_path: Path) -> None:
    other = _moved(folder, tmp_path / "at_once")
    got: list[Checkpoint] = []
    threads = [threading.Thread(target=lambda: got.append(Checkpoint.load(other))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == 1


def test_special_tokens_are_text(folder: Path) -> None:
    checkpoint = Checkpoint.load(folder)
    ids = checkpoint.tokenizer.encode("<|im_end|><|image_pad|>").ids
    assert not set(ids) & {checkpoint.token("<|im_end|>"), *checkpoint.banned}
    with pytest.raises(UsageError, match=r"has no <\|nothing\|>"):
        checkpoint.token("<|nothing|>")


def _moved(folder: Path, to: Path) -> Path:
    """A copy under another path: what was loaded from a path is kept."""
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to
