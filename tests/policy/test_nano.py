"""The nano policy as it ships: its files, and that it answers by looking, on transformers and on vLLM."""

import shutil
from pathlib import Path

import pytest

from r4agent.episode import Episode
from r4agent.errors import MissingError
from r4agent.evaluation import Results, Subject, evaluate, of_textworld
from r4agent.graphs import create_rumination_graph
from r4agent.policy import nano
from r4agent.policy.chat import ChatR4
from r4agent.policy.resolve import budget_of
from r4agent.training.looks import looks

from ..conftest import needs

QUESTIONS = of_textworld(0, 8, 906)
RIGHT = 4  # of them, at least: a single pass has next to none (docs/nano.md)


def test_it_ships_as_its_card_says() -> None:
    folder = nano.nano_checkpoint()
    names = {path.name for path in folder.iterdir()}
    summed = {line.split()[-1] for line in (folder / nano.SUMS).read_text().splitlines()}
    assert names == summed | {nano.SUMS}
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 20 * 2**20
    assert budget_of("nano").overview_tokens == 15


@pytest.mark.parametrize("what", ["changed", "gone", "no sums", "no line"])
def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(nano.FOLDER, folder)
    monkeypatch.setattr(nano, "FOLDER", folder)
    assert nano.nano_checkpoint() == folder
    weights = folder / "model.safetensors"
    if what == "changed":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    elif what == "gone":
        weights.unlink()
    else:
        (folder / nano.SUMS).write_text("" if what == "no sums" else "abc\n")
    with pytest.raises(MissingError, match="install r4agent anew"):
        nano.nano_checkpoint()


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("R4_HOME", str(tmp_path))
    return tmp_path


def right(results: Results) -> int:
    return sum(row.scores["exact_match"] == 1 for row in results.scored)


@pytest.mark.slow
def test_it_answers_by_looking_on_transformers(own_home: Path) -> None:
    needs("transformers")
    results = evaluate(QUESTIONS, Subject("nano"), out=own_home / "results")
    assert right(results) >= RIGHT
    looked = evaluate(QUESTIONS, Subject("nano", control="blank-crop"), out=own_home / "results")
    assert right(looked) <= 2


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
def test_it_answers_by_looking_on_vllm(own_home: Path) -> None:
    needs("vllm")
    policy = ChatR4(model=str(nano.nano_checkpoint()), engine="vllm")
    results = evaluate(QUESTIONS, Subject(policy), out=own_home / "results")
    assert right(results) >= RIGHT
    assert len(results.scored) == len(QUESTIONS.items)
    assert str(policy.runner.llm.model_config.dtype) == "torch.float32"  # as it was saved; vLLM would round


@pytest.mark.slow
def test_a_graph_of_it_is_made_by_name(own_home: Path) -> None:
    needs("transformers")
    from r4agent.textworld.writer import clip_file

    item = next(item for item in QUESTIONS.items if item.meta["kind"] == "sign by colour")
    path, _ = clip_file(0, item.meta["seed"], own_home)
    done = create_rumination_graph("nano").invoke({"media": str(path), "question": item.question})
    made = list(looks(Episode.read(done["episode"])))
    assert [look.tool for look in made] == ["zoom", "zoom"]
    assert done["status"] == "answered"
    assert done["usage"]["images"] == 8 + len(made)
