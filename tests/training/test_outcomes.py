"""Outcomes: a checkpoint is evaluated as it is trained and asked."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from r4agent.engines.checkpoint import PROFILE_FILE
from r4agent.evaluation import of_textworld
from r4agent.evaluation.questions import media_of
from r4agent.item import write_items
from r4agent.training.curriculum import Curriculum, Evaluation
from r4agent.training.outcomes import evaluated, unwatched

from ..conftest import needs


@pytest.mark.slow
def test_a_checkpoint_is_evaluated_with_its_own_budget(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("transformers")
    monkeypatch.setenv("R4_HOME", str(tmp_path / "home"))
    model = shutil.copytree(tiny("qwen2_5_vl"), tmp_path / "model")
    (model / PROFILE_FILE).write_text(json.dumps({"budget": {"turns": 2, "overview_tokens": 16}}))
    curriculum = Curriculum.model_validate(
        {
            "model": str(model),
            "out": str(tmp_path / "out"),
            "evaluation": {"questions": "textworld", "level": 0, "n": 2, "max_tokens": 4, "workers": 2},
            "stages": [{"name": "x", "trainer": "sft", "data": {"episodes": "data"}}],
        }
    )
    results = evaluated(curriculum, str(model), tmp_path / "stage", unwatched)
    assert results is not None
    budget = results.header["config"]["budget"]
    assert (budget["turns"], budget["overview_tokens"]) == (2, 16)
    assert results.header["workers"] == 2
    assert evaluated(curriculum, str(model), tmp_path / "stage", unwatched).path == results.path  # type: ignore[union-attr]
    other = curriculum.model_copy(update={"budget": curriculum.budget.model_copy(update={"turns": 3})})
    again = evaluated(other, str(model), tmp_path / "stage", unwatched)
    assert again is not None
    assert again.header["config"]["budget"]["turns"] == 3
    item = of_textworld(0, 1, 5).items[0]
    clip, broken = Path(media_of(item, tmp_path / "clips")), tmp_path / "elsewhere" / "clip.mp4"
    broken.parent.mkdir()
    broken.write_bytes(b"no video")
    write_items(tmp_path / "asked.jsonl", [item.model_copy(update={"media": str(broken)})])
    asked = Evaluation(questions=str(tmp_path / "asked.jsonl"), root=(broken.parent,), max_tokens=4)
    filed = curriculum.model_copy(update={"evaluation": asked})
    failed = evaluated(filed, str(model), tmp_path / "filed", unwatched)
    assert failed is not None
    assert not failed.finished
    shutil.copy(clip, broken)
    mended = [evaluated(filed, str(model), tmp_path / "filed", unwatched) for _ in range(2)]
    assert all(one is not None and one.finished for one in mended)
    assert len({one.path for one in mended if one}) == 1
    write_items(tmp_path / "asked.jsonl", [item.model_copy(update={"media": str(broken), "id": "other"})])
    fresh = evaluated(filed, str(model), tmp_path / "filed", unwatched)
    assert fresh is not None
    assert [row.id for row in fresh.scored] == ["other"]
