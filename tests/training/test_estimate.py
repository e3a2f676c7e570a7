"""The estimate: against numbers worked out by hand, and against what a run really takes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from r4agent.budget import Budget
from r4agent.engines import Checkpoint
from r4agent.engines.tiny import make_tiny
from r4agent.training.curriculum import Curriculum

from .conftest import Played

SEVEN: dict[str, Any] = {  # the config of Qwen2.5-VL-7B-Instruct, as far as sizes go
    "model_type": "qwen2_5_vl",
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 128000,
    "tie_word_embeddings": False,
    "rope_theta": 1e6,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "patch_size": 14,
        "spatial_merge_size": 2,
    },
}


@pytest.fixture(scope="module")
def seven(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is Qwen2.5-VL-7B but for its weights and its words."""
    folder = tmp_path_factory.mktemp("seven")
    (folder / "config.json").write_text(json.dumps(SEVEN))
    (folder / "tokenizer.json").write_bytes((checkpoint.folder / "tokenizer.json").read_bytes())
    return folder


def test_an_adapter_on_7b_and_80_gb(seven: Path, repo: Path) -> None:
    from r4agent.training.estimate import estimate

    recipe = repo / "examples" / "curricula" / "qwen2_5_vl_7b_lora_80gb.yaml"
    sft, rl, *_ = estimate(Curriculum.read(recipe, model=str(seven)))
    assert sft.size.total == 8_292_166_656  # as the hub has it
    # r · (in + out) of q 3584→3584, k and v 3584→512, o, gate and up 3584→18944, down 18944→3584; 28 layers
    layer = 64 * (2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944))
    assert sft.size.trained == sft.size.adapter == 28 * layer == 161_480_704
    assert sft.memory["weights"] == 2 * 8_292_166_656 + 4 * 161_480_704
    assert sft.memory["gradients"] == 4 * 161_480_704
    assert sft.memory["optimizer"] == 8 * 161_480_704
    assert sft.tokens == 1500 + 12_000 + 3072
    kept = sft.tokens * 28 * 3584 * 2  # the input of each layer
    one = sft.tokens * 2 * (6 * 3584 + 2 * 3584 + 2 * 512 + 4 * 18944)  # all of one layer
    assert sft.memory["activations"] == kept + one
    assert (
        rl.memory["KV cache"] == 8 * rl.tokens * 57_344
    )  # bytes a token: 28 layers, k and v, 4 heads of 128
    assert sft.total < 30e9
    assert 45e9 < rl.total < 60e9
    # 16 rows: forward, back, forward again over 6.5 G parameters at 125 TFLOP/s, and attention
    assert 16 * 6 * 6.5e9 * sft.tokens / 125e12 < sft.seconds < 2 * 16 * 6 * 6.5e9 * sft.tokens / 125e12


def test_whole_weights_are_shared_out(seven: Path, repo: Path) -> None:
    from r4agent.training.estimate import estimate

    recipe = repo / "examples" / "curricula" / "qwen2_5_vl_7b_fsdp_8gpu.yaml"
    sft, *_ = estimate(Curriculum.read(recipe, model=str(seven)))
    assert sft.size.trained == sft.size.total - sft.size.vision
    assert sft.memory["weights"] == 4 * sft.size.total / 8
    assert sft.memory["optimizer"] == 8 * sft.size.trained / 8
    assert sft.total < 70e9


def test_vllm_chooses_its_type(checkpoint: Checkpoint, tmp_path: Path) -> None:
    from r4agent.training.estimate import estimate

    path = tmp_path / "c.yaml"
    path.write_text(
        f"{{model: {checkpoint.folder}, out: run, stages: [{{name: a, trainer: grpo, engine: vllm, "
        "engine_args: {dtype: auto}, data: {questions: textworld, level: 0, n: 1}, rewards: {accuracy: 1}}]}"
    )
    [needs] = estimate(Curriculum.read(path))
    assert needs.memory["vLLM's weights"] == 2 * needs.size.total


def test_a_stage_s_own_budget_counts(checkpoint: Checkpoint, tmp_path: Path) -> None:
    from r4agent.training.estimate import estimate

    path = tmp_path / "c.yaml"
    same = "trainer: grpo, data: {questions: textworld, level: 0, n: 1}, rewards: {accuracy: 1}"
    own = "budget: {image_tokens: 500, new_tokens: 50}"
    stages = f"{{name: a, {same}}}, {{name: b, {same}, {own}}}"
    path.write_text(f"{{model: {checkpoint.folder}, out: run, stages: [{stages}]}}")
    usual, small = estimate(Curriculum.read(path))
    assert usual.tokens - small.tokens == Budget().image_tokens + Budget().new_tokens - 550


@pytest.mark.slow
def test_memory_is_near_what_a_run_takes(episodes: Played, tmp_path: Path) -> None:
    """What SFT of 15 million parameters adds to a process that has all libraries loaded."""
    from r4agent.training.estimate import estimate
    from r4agent.training.store import EpisodeStore

    model = make_tiny("qwen2_5_vl", tmp_path / "model", hidden=512, layers=4)
    store = EpisodeStore(tmp_path / "data")
    for episode in episodes.episodes:
        store.add(episode)
    settings = {"max_steps": 2, "per_device_train_batch_size": 1}
    stage = {"name": "a", "trainer": "sft", "settings": settings, "data": {"episodes": str(store.folder)}}
    curriculum = Curriculum.model_validate({"model": str(model), "out": "run", "stages": [stage]})
    (needs,) = estimate(curriculum)
    code = f"""
from pathlib import Path
from r4agent import Episode, MediaStore
from r4agent.training.sft import Lesson, sft
from r4agent.training.store import EpisodeStore
lessons = [Lesson.of(stored.episode) for stored in EpisodeStore({str(store.folder)!r}).select()]
def peak():  # in KB; getrusage's would count what this process was forked from
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
sft({str(model)!r}, lessons, MediaStore({str(episodes.pictures.root)!r}), out=Path({str(tmp_path / "out")!r}),
    settings={settings | {"save_strategy": "no"}})
print(1024 * (peak() - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    took = int(done.stdout.splitlines()[-1])
    print(f"took {took / 1e6:.0f} MB, estimated {needs.total / 1e6:.0f} MB: {needs.memory}")
    assert 0.6 * needs.total < took < 2 * needs.total
