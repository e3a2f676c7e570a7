"""Trajectories: kept only when they show what they say, the same in every run, and counted when not."""

import json
from pathlib import Path

import pytest

from r4agent import Budget, MediaStore
from r4agent.command import main
from r4agent.engines import Checkpoint
from r4agent.evaluation import Questions, of_file, of_textworld
from r4agent.evaluation.sight import shows
from r4agent.item import Item, Span
from r4agent.media.view import pictures_in
from r4agent.textworld import generate
from r4agent.training import trajectories as module
from r4agent.training.plans import PLANS, Kind
from r4agent.training.rows import Row
from r4agent.training.scene import Scene
from r4agent.training.store import EpisodeStore, Stored
from r4agent.training.trajectories import Made, trajectories

pytestmark = pytest.mark.usefixtures("home_of_a_module")


@pytest.fixture(scope="module")
def student(bare_student: Checkpoint) -> Checkpoint:
    return bare_student


def make(
    questions: Questions, student: Checkpoint, out: Path, kind: Kind = "deliberate", seed: int = 0
) -> tuple[Made, list[Stored]]:
    store = EpisodeStore(out)
    made = trajectories(questions, student.name, store, kind, seed=seed)
    assert made.kept == len(store) if made.kept else not out.exists()
    return made, list(store.select()) if made.kept else []


@pytest.mark.parametrize("kind", ["deliberate", "compositional"])
def test_what_is_kept_shows_the_answer(kind: Kind, student: Checkpoint, tmp_path: Path) -> None:
    made, kept = make(of_textworld(0, 3, 1), student, tmp_path / "data", kind)
    assert (made.items, made.kept, len(kept)) == (3, 3, 3)
    assert set(made.plans) <= {plan.__name__ for plan in PLANS[kind]}
    for stored in kept:
        assert stored.stage == kind
        assert stored.item is not None
        asked_for = pictures_in(m["content"] for m in stored.episode.messages if m["role"] == "tool")
        (span,) = stored.item.evidence
        assert any(shows(picture.view, span, stored.item.meta["text_height"]) for picture in asked_for)
        row = Row.of(stored.episode)
        assert row.taught
        assert {MediaStore().get(ref).size for ref in row.images}  # the pictures are there


def test_the_same_seed_makes_the_same_tokens(student: Checkpoint, tmp_path: Path) -> None:
    questions = of_textworld(0, 2, 1)
    runs = [make(questions, student, tmp_path / str(n), "compositional", n // 2)[1] for n in range(3)]
    rows = [[Row.of(stored.episode) for stored in run] for run in runs]
    first, again, other = [[(row.ids, row.images) for row in run] for run in rows]
    assert first == again
    assert first != other


def test_pages_of_a_file_of_questions(student: Checkpoint, tmp_path: Path) -> None:
    world = generate(1, 1, 7, tmp_path / "world")
    questions = of_file(world / "items.jsonl", n=4, seed=2)
    made, kept = make(questions, student, tmp_path / "data", "compositional")
    assert made.kept + made.dropped["no answer is known"] == 4
    assert all(s.item is not None and s.item.evidence[0].unit == "page" for s in kept)
    assert made.kept >= 2


def test_what_is_not_kept_is_counted(student: Checkpoint, tmp_path: Path) -> None:
    (good,) = of_textworld(0, 1, 1).items
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    tiny = {
        "evidence": (good.evidence[0].model_copy(update={"box": (100, 100, 104, 103)}),),
        "meta": {**good.meta, "text_height": 3},
    }
    pages = Span(start=1, end=99, box=(100, 100, 140, 120), unit="page")
    items = (
        good.model_copy(update={"id": "no answer", "answers": ()}),
        good.model_copy(update={"id": "no box", "evidence": (Span(start=0, end=1),)}),
        good.model_copy(update={"id": "too small", **tiny}),
        good.model_copy(update={"id": "empty answer", "answers": (" ",)}),
        good.model_copy(update={"id": "pages", "evidence": (pages,)}),
        Item(id="bad", media=str(tmp_path / "bad.mp4"), question="?", answers=("x",), evidence=good.evidence),
    )
    made, kept = make(Questions("test", items, 0), student, tmp_path / "data")
    assert (made.items, made.kept, kept) == (6, 0, [])
    assert made.dropped["no answer is known"] == 1
    assert made.dropped["it is not known where the answer stands"] == 1
    assert made.dropped["zoom: the text is too small in every picture"] == 1
    assert made.dropped["zoom: the graph refused its answer"] == 1
    assert any("the unit of where its answer stands must be 'seconds'" in why for why in made.dropped)
    assert sum(count for why, count in made.dropped.items() if "bad.mp4" in why) == 3  # each plan tried


def test_a_plan_that_answers_wrong_or_unseen_is_dropped(
    student: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a plan comes to be wrong, nothing of it is kept."""

    def blind(scene: Scene) -> object:
        yield scene.select("", 0.0)
        yield f"<answer>{scene.item.answers[0]}</answer>"

    def wrong(scene: Scene) -> object:
        picture = scene.holding()
        yield scene.zoom("", picture, scene.around(picture, (0.1, 0.5)))
        yield "<answer>something else</answer>"

    def endless(scene: Scene) -> object:
        while True:
            yield scene.select("", 0.0)

    monkeypatch.setitem(module.PLANS, "deliberate", (blind, wrong, endless))
    made, kept = make(of_textworld(0, 1, 3), student, tmp_path / "data")
    assert (made.kept, kept) == (0, [])
    assert made.dropped == {
        "blind: no picture asked for shows the answer": 1,
        "wrong: the answer is wrong": 1,
        "endless: it ended budget: give a larger budget": 1,
    }


def test_a_killed_run_goes_on(student: Checkpoint, tmp_path: Path) -> None:
    some, all_ = of_textworld(0, 1, 1), of_textworld(0, 2, 1)
    make(some, student, tmp_path / "data")
    store = EpisodeStore(tmp_path / "data")
    made = trajectories(all_, student.name, store, "deliberate")
    assert (made.items, made.there, made.kept, len(store)) == (2, 1, 1, 2)
    assert trajectories(some, student.name, store, "compositional").kept == 1  # another kind


def test_the_budget_is_the_runs(student: Checkpoint, tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path)
    budget = Budget(overview_images=3)
    trajectories(of_textworld(0, 1, 1), student.name, store, "compositional", budget=budget)
    for stored in store.select():
        assert stored.episode.header["budget"]["overview_images"] == 3


def test_the_command(student: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trajectories", "textworld", "--level", "0", "--n", "1", "--seed", "1"]
    words += ["--kind", "deliberate", "--model", student.name, "--out", str(tmp_path / "data")]
    assert main([*words, "--json"]) == 0
    out = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (out["items"], out["kept"], sum(out["plans"].values())) == (1, 1, 1)
    assert out["store"] == str(tmp_path / "data")
    assert main(words) == 0
    assert "0 of 1" in (again := capsys.readouterr().out)
    assert "there already" in again
    assert len(EpisodeStore(tmp_path / "data")) == 1
    assert main(["trajectories", "textworld", *words[4:]]) == 2
    assert "trajectories textworld: give --level and --n" in capsys.readouterr().err
