"""SFT: what is learnt, what stays as it was, what is left on disk. Real TRL, a tiny model, real episodes."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r4agent.engines import Checkpoint, Request, Sampling
from r4agent.engines.chatml import END
from r4agent.errors import UsageError
from r4agent.training.rows import Row

from .conftest import SCRIPTS, Played
from .killed_sft import train

Weights = dict[str, Any]
QUICK: dict[str, Any] = {"learning_rate": 1e-2, "per_device_train_batch_size": 1, "save_strategy": "no"}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    """Threads that wait for a core which other tests have are slower than none."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def lessons(episodes: Played) -> list[Any]:
    from r4agent.training.sft import Lesson

    return [Lesson.of(episode) for episode in episodes.episodes]


@pytest.fixture
def run(checkpoint: Checkpoint, lessons: list[Any], episodes: Played, tmp_path: Path) -> Callable[..., Path]:
    """SFT on the shortest of the episodes, one step unless told; returns the checkpoint's folder."""
    from r4agent.training.sft import sft

    def run(steps: int = 1, **more: Any) -> Path:
        settings = QUICK | {"max_steps": steps} | more.pop("settings", {})
        return sft(
            checkpoint.folder, lessons[2:], episodes.pictures, out=tmp_path / "run", settings=settings, **more
        )

    return run


def tensors(folder: Path) -> Weights:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def changed(checkpoint: Checkpoint, folder: Path) -> set[str]:
    before, after = tensors(checkpoint.folder), tensors(folder)
    assert before.keys() == after.keys()
    return {name for name in before if not before[name].equal(after[name].to(before[name].dtype))}


def test_what_is_learnt_is_what_was_sampled(lessons: list[Any], checkpoint: Checkpoint) -> None:
    from r4agent.training.sft import IGNORED, labels

    for lesson, script in zip(lessons, SCRIPTS, strict=True):
        learnt = [label for label in labels(lesson, checkpoint) if label != IGNORED]
        ends = f"{END}".join([*script, ""])
        assert checkpoint.tokenizer.decode(learnt, skip_special_tokens=False) == ends


def test_only_turns_that_led_to_the_answer(episodes: Played, checkpoint: Checkpoint) -> None:
    from r4agent.training.rows import led
    from r4agent.training.sft import IGNORED, Lesson, labels

    for episode, script in zip(episodes.episodes, SCRIPTS, strict=True):
        lesson = Lesson.of(episode, train_on="led")
        assert lesson.turns == led(episode)
        learnt = [label for label in labels(lesson, checkpoint) if label != IGNORED]
        said = "".join(script[number - 1] + END for number in sorted(lesson.turns))
        assert checkpoint.tokenizer.decode(learnt, skip_special_tokens=False) == said


def test_labels_stand_at_their_ids_in_a_padded_batch(
    lessons: list[Any], episodes: Played, checkpoint: Checkpoint
) -> None:
    from r4agent.engines.pixels import Pixels
    from r4agent.training.sft import IGNORED, Batches

    batches = Batches(lessons, checkpoint, Pixels(checkpoint), episodes.pictures)
    batch = batches([{"lesson": 2}, {"lesson": 0}])
    learnt = batch["labels"] != IGNORED
    assert batch["labels"][learnt].equal(batch["input_ids"][learnt])
    counts = [sum(turn > 0 for turn in lessons[at].row.turns) for at in (2, 0)]
    assert learnt.sum(1).tolist() == counts


def test_every_row_is_checked_before_every_update(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from r4agent.training import sft as module

    seen: list[Row] = []
    monkeypatch.setattr(module, "check", lambda row, *_: seen.append(row))
    run(steps=3)
    assert len(seen) >= 3


def test_the_loss_falls_and_the_reply_is_learnt(
    lessons: list[Any], episodes: Played, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """A row of one picture and few words, so that 40 steps are quick."""
    from r4agent.engines.hf import TransformersEngine
    from r4agent.engines.request import Shown
    from r4agent.training.sft import Lesson, sft

    seen: Row = lessons[0].row
    prompt = (*checkpoint.tokenizer.encode("What is it? ").ids, checkpoint.image_token)
    said = (*checkpoint.tokenizer.encode("<answer>42</answer>").ids, checkpoint.token(END))
    row = Row(
        "short",
        ids=prompt + said,
        turns=(0,) * len(prompt) + (1,) * len(said),
        logprobs=(0.0,) * len(prompt + said),
        images=seen.images[:1],
        grids=seen.grids[:1],
        taught=True,
    )
    settings = QUICK | {"max_steps": 40}
    folder = sft(
        checkpoint.folder, [Lesson(row, frozenset({1}))], episodes.pictures, out=tmp_path, settings=settings
    )
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 41))
    assert lines[-1]["loss"] < 0.1 * lines[0]["loss"]
    engine = TransformersEngine(Checkpoint.load(folder))
    asked = Request(prompt, (Shown(row.images[0], row.grids[0]),), episodes.pictures.get, Sampling())
    assert engine.submit(asked).result(60).ids == said
    engine.close()


def test_the_vision_tower_stays_as_it_was(run: Callable[..., Path], checkpoint: Checkpoint) -> None:
    names = changed(checkpoint, run())
    assert names
    assert not {name for name in names if "visual" in name}


def test_the_vision_tower_learns(run: Callable[..., Path], checkpoint: Checkpoint) -> None:
    names = changed(checkpoint, run(vision="trained"))
    assert {name for name in names if "visual.patch_embed" in name}
    assert {name for name in names if "visual" not in name}


@pytest.mark.parametrize("vision", ["frozen", "trained"])
def test_an_adapter_is_merged(
    run: Callable[..., Path], checkpoint: Checkpoint, tmp_path: Path, vision: Any
) -> None:
    folder = run(lora={"r": 2, "init_lora_weights": False}, vision=vision)  # else B is 0, and nothing shows
    names = changed(checkpoint, folder)
    assert {name for name in names if "q_proj" in name}
    assert bool({name for name in names if "visual" in name}) == (vision == "trained")
    assert not {name for name in names if "embed_tokens" in name or "lm_head" in name or "norm" in name}
    assert not list(tmp_path.rglob("adapter_*"))


def test_the_checkpoint_has_what_its_base_has(run: Callable[..., Path], checkpoint: Checkpoint) -> None:
    profile = checkpoint.folder / "r4agent.json"
    profile.write_text('{"space": "thousand"}')
    try:
        folder = run()
    finally:
        profile.unlink()
    files = {file.name for file in checkpoint.folder.iterdir()}
    assert {file.name for file in folder.iterdir()} == files | {"r4agent.json"}
    for name in files - {"config.json", "model.safetensors"}:
        assert (folder / name).read_bytes() == (checkpoint.folder / name).read_bytes(), name
    assert Checkpoint.load(folder).profile.space == "thousand"


def test_half_precision_and_recomputed_activations(run: Callable[..., Path], checkpoint: Checkpoint) -> None:
    import torch

    folder = run(dtype="bfloat16", settings={"gradient_checkpointing": True})
    assert {tensor.dtype for tensor in tensors(folder).values()} == {torch.bfloat16}
    assert changed(checkpoint, folder)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"settings": {"learning_rat": 1}}, "settings learning_rat=1: SFTConfig has no .*: learning_rate"),
        ({"settings": {"max_length": 512}}, "max_length=512: is not to be set: nothing is cut"),
        ({"settings": {"save_only_model": True}}, "save_only_model=True: is not to be set: .* its optimizer"),
        ({"settings": {"ignore_data_skip": True}}, "ignore_data_skip=True: is not to be set: .* other rows"),
        ({"settings": {"eval_strategy": "steps"}}, "eval_strategy='steps': is not to be set: `r4 eval`"),
        ({"settings": {"load_best_model_at_end": True}}, "load_best_model_at_end=True: is not to be set"),
        ({"settings": {"lr_scheduler_type": "round"}}, "SFTConfig: round is not a valid SchedulerType"),
        ({"lora": {"rank": 8}}, r"lora \{'rank': 8\}: .*unexpected keyword argument 'rank'"),
    ],
)
def test_wrong_settings_are_named(run: Callable[..., Path], more: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run(**more)


def test_nothing_to_learn_is_an_error(checkpoint: Checkpoint, episodes: Played, tmp_path: Path) -> None:
    from r4agent.training.sft import sft

    with pytest.raises(UsageError, match="no episodes with a reply to learn"):
        sft(checkpoint.folder, [], episodes.pictures, out=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("lora", "saving"), [(False, False), (True, True)])
def test_a_killed_run_goes_on_to_the_same_weights(
    checkpoint: Checkpoint, episodes: Played, tmp_path: Path, lora: bool, saving: bool
) -> None:
    """Killed between two steps, and in the middle of saving a checkpoint."""
    given = {
        "model": str(checkpoint.folder),
        "logs": [str(episode.path) for episode in episodes.episodes],
        "pictures": str(episodes.pictures.root),
        "lora": lora,
    }
    step = random.Random().choice([2, 3])
    out = tmp_path / "killed"
    killed = given | {"out": str(out), "step": step, "saving": saving}
    script = Path(__file__).with_name("killed_sft.py")
    done = subprocess.run(
        [sys.executable, script, json.dumps(killed)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # as here: sums are the same only with as many threads
        timeout=300,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    left = {path.name for path in (out / "trainer").glob("checkpoint-*")}
    assert left == (
        {f"checkpoint-{step - 1}", f"checkpoint-{step}"} if saving else {f"checkpoint-{step - 1}"}
    )
    began: list[int] = []
    resumed = train(**given, out=str(out), resume=True, progress=lambda done, total: began.append(done))
    assert began[0] == step - 1
    whole = train(**given, out=str(tmp_path / "whole"))
    one, other = tensors(resumed), tensors(whole)
    assert all(one[name].equal(other[name]) for name in one | other)
    metrics = [path.with_name("metrics.jsonl") for path in (resumed, whole)]
    steps = [[json.loads(line)["step"] for line in path.read_text().splitlines()] for path in metrics]
    assert steps == [[1, 2, 3, 4]] * 2


def test_a_run_does_not_write_beside_another_s_checkpoints(run: Callable[..., Path]) -> None:
    run(settings={"save_strategy": "steps"})
    with pytest.raises(UsageError, match="checkpoints of an earlier run; resume it, or remove"):
        run(settings={"save_strategy": "steps"})


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
def test_vllm_serves_what_sft_has_saved(
    run: Callable[..., Path], lessons: list[Any], episodes: Played
) -> None:
    """An adapter, merged: vLLM says what transformers says."""
    from r4agent.engines.hf import TransformersEngine
    from r4agent.engines.local import VllmEngine
    from r4agent.engines.request import Shown

    checkpoint = Checkpoint.load(run(lora={"r": 2, "init_lora_weights": False}, vision="trained"))
    row: Row = lessons[0].row
    pictures = tuple(Shown(ref, grid) for ref, grid in zip(row.images, row.grids, strict=True))[:2]
    asked = Request(row.ids[: row.prompt], pictures, episodes.pictures.get, Sampling(max_tokens=12))
    said = []
    limits = {"image": 8, "video": 0}
    for engine in (
        TransformersEngine(checkpoint),
        VllmEngine(
            checkpoint, max_model_len=8192, enforce_eager=True, dtype="float32", limit_mm_per_prompt=limits
        ),
    ):
        said.append(engine.submit(asked).result(120))
        engine.close()
    assert said[0].ids == said[1].ids
    assert said[0].prompt == said[1].prompt
    assert said[1].logprobs == pytest.approx(said[0].logprobs, abs=1e-3)


@pytest.mark.slow
def test_without_torchvision_it_learns_the_same(
    run: Callable[..., Path], checkpoint: Checkpoint, episodes: Played, tmp_path: Path
) -> None:
    """Not to the bit: the image processor that needs no torchvision rounds otherwise."""
    code = f"""
import sys
sys.modules["torchvision"] = None  # as if it weren't installed
from pathlib import Path
from r4agent import Episode, MediaStore
from r4agent.training.sft import Lesson, sft
sft({str(checkpoint.folder)!r}, [Lesson.of(Episode.read({str(episodes.episodes[2].path)!r}))],
    MediaStore({str(episodes.pictures.root)!r}), out=Path({str(tmp_path / "without")!r}),
    settings={QUICK | {"max_steps": 1}})
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)
    run()
    losses = [
        json.loads((tmp_path / name / "metrics.jsonl").read_text())["loss"] for name in ("without", "run")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
