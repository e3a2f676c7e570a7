"""The student: an ordinary checkpoint, whose tokenizer knows the graph's own words."""

from pathlib import Path

import pytest

from r4agent import MediaStore, create_rumination_graph
from r4agent.engines import Checkpoint
from r4agent.episode import Episode
from r4agent.errors import UsageError
from r4agent.evaluation import of_textworld
from r4agent.policy.chat import ChatR4
from r4agent.policy.nano import nano_checkpoint
from r4agent.textworld.writer import clip_file
from r4agent.training.nano.student import BUDGET, grown, make_student, words
from r4agent.training.rows import Row
from r4agent.training.store import EpisodeStore
from r4agent.training.trajectories import trajectories

from ...policy.scripted_engine import ScriptedEngine, bare_checkpoint


@pytest.fixture(scope="module")
def rows(student: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Trajectories of three questions of level 0."""
    folder = tmp_path_factory.mktemp("taught")
    out = EpisodeStore(folder / "data")
    questions = of_textworld(0, 3, 9)
    pictures = MediaStore(folder / "pictures")
    assert trajectories(questions, student.name, out, "closer", budget=BUDGET, store=pictures).kept == 3
    return [Row.of(stored.episode) for stored in out.select()]


def test_an_episode_of_level_0_takes_some_hundreds_of_tokens(student: Checkpoint, rows: list[Row]) -> None:
    """If the graph's words change, they must change in `words` too, or a shipped student hears bytes."""
    for row in rows:
        assert row.prompt < 260
        assert len(row.ids) < 650
        said = [student.tokenizer.id_to_token(ident) for ident in row.ids[: row.prompt]]
        longest = max(len(run) for run in "".join("b" if len(s) == 1 else " " for s in said).split())
        assert longest <= 8, said


def test_it_is_asked_with_its_own_budget(student: Checkpoint, tmp_path: Path) -> None:
    engine = ScriptedEngine(student, lambda prompt, request: "<not_found>too small</not_found>")
    model = ChatR4(model=student.name, engine=engine)
    graph = create_rumination_graph(model, store=MediaStore(tmp_path / "pictures"), episodes=tmp_path)
    clip, [item, *_] = clip_file(0, 3, tmp_path)
    result = graph.invoke({"media": str(clip), "question": item.question})
    assert Episode.read(result["episode"]).header["budget"] == BUDGET.model_dump()


def test_every_word_is_a_token_and_text_comes_back(student: Checkpoint) -> None:
    encode = student.tokenizer.encode
    assert all(len(encode(word, add_special_tokens=False).ids) == 1 for word in words())
    text = "[12, 255, 256] v3 says <|im_end|> Ω"
    assert student.tokenizer.decode(encode(text).ids, skip_special_tokens=False) == text
    assert student.token("<|im_end|>") not in encode(text).ids


def test_it_grows_by_names_and_keeps_what_it_knows(student: Checkpoint, tmp_path: Path) -> None:
    """Of the student that comes with the package, which knows sixteen names."""
    from safetensors.torch import load_file

    old = Checkpoint.load(nano_checkpoint())
    new = Checkpoint.load(grown(nano_checkpoint(), tmp_path / "grown"))
    assert new.tokenizer.get_vocab() == student.tokenizer.get_vocab()
    before, after = (load_file(one.folder / "model.safetensors") for one in (old, new))
    assert before.keys() == after.keys()
    rows = "model.embed_tokens.weight"
    assert all(after[name].equal(before[name].float()) for name in before if name != rows)
    for word in (*words(), "<|im_end|>", "a"):
        same = word if word in old.tokenizer.get_vocab() else "v16"
        assert after[rows][new.token(word)].equal(before[rows][old.token(same)].float()), word
    with pytest.raises(UsageError, match="no earlier student, it has no token"):
        grown(bare_checkpoint("qwen2_5_vl", tmp_path / "bare").folder, tmp_path / "none")


def test_the_same_seed_makes_the_same_student(student: Checkpoint, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in student.folder.iterdir()}
    again = make_student(tmp_path / "again")
    assert {path.name: path.read_bytes() for path in again.iterdir()} == files
    assert len(files["model.safetensors"]) < 26_000_000  # float32; half of that in bfloat16
