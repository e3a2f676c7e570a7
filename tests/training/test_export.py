"""Rows as datasets: what goes out comes back, and others can read it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from r4agent import Episode, MediaStore
from r4agent.engines import Checkpoint
from r4agent.engines.cpu import prepare
from r4agent.errors import MediaError, RunError, UsageError
from r4agent.training import export, messages
from r4agent.training.checks import check
from r4agent.training.collator import expanded
from r4agent.training.rowfile import load, save
from r4agent.training.rows import Row
from r4agent.training.store import EpisodeStore, Stored

from ..conftest import needs
from .conftest import Played


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("datasets")
    monkeypatch.setenv("R4_HOME", str(tmp_path / "home"))


@pytest.fixture
def stored(episodes: Played) -> list[Stored]:
    """The three episodes: with item and rewards, with an item, with neither."""
    first, second, third = episodes.episodes
    return [
        Stored(first, "deliberate", episodes.items[0], {"accuracy": 1.0, "evidence": 0.25}),
        Stored(second, "", episodes.items[1], None),
        Stored(third, "", None, None),
    ]


def same(one: Stored, other: Stored) -> bool:
    """Equal but for where the log lies."""
    return (one.episode.lines, one.stage, one.item, one.rewards) == (
        other.episode.lines,
        other.stage,
        other.item,
        other.rewards,
    )


@pytest.mark.parametrize("file", [None, "rows.parquet", "rows.jsonl"])
def test_rows_come_back_equal(
    stored: list[Stored], episodes: Played, tmp_path: Path, file: str | None
) -> None:
    dataset = export.to_dataset([*stored, episodes.items[2]], episodes.pictures)
    if file:
        dataset = load(save(dataset, tmp_path / "out" / file), export.features())
    assert len(dataset) == 4
    assert list(export.rows(dataset, MediaStore(tmp_path / "a"))) == [Row.of(e) for e in episodes.episodes]
    back = list(export.episodes(dataset, pictures := MediaStore(tmp_path / "b")))
    assert len(back) == 3
    assert all(map(same, back, stored))
    assert list(export.items(dataset)) == list(episodes.items)
    for episode in episodes.episodes:
        for picture in episode.pictures:
            assert pictures.png(picture.ref) == episodes.pictures.png(picture.ref)


def test_a_store_goes_to_another_machine(stored: list[Stored], episodes: Played, tmp_path: Path) -> None:
    here, there = EpisodeStore(tmp_path / "here"), EpisodeStore(tmp_path / "there")
    for one in stored:
        here.add(one.episode, stage=one.stage, item=one.item, rewards=one.rewards)
    file = save(export.to_dataset(here.select(), episodes.pictures), tmp_path / "rows.parquet")
    for one in export.episodes(load(file, export.features()), MediaStore(tmp_path / "pictures")):
        assert there.add(one.episode, stage=one.stage, item=one.item, rewards=one.rewards)
    assert [Path(shard).read_bytes() for shard in sorted((there.folder / "shards").iterdir())] == [
        Path(shard).read_bytes() for shard in sorted((here.folder / "shards").iterdir())
    ]


def test_follow_ups_go_with_what_they_continue(episodes: Played, tmp_path: Path) -> None:
    before, after = episodes.episodes[0], episodes.episodes[2]
    after = Episode(after.path, after.header | {"continues": before.id}, after.messages, after.end)
    # not a thread that can be trained on, but its log must be whole
    record = {"log": json.dumps([after.lines, before.lines]), "episode": after.id}
    nothing = {"stage": "", "id": None, "rewards": None}
    back = export._stored(record | nothing).episode
    assert back.before is not None
    assert back.before.lines == before.lines


def test_a_picture_that_was_compressed_is_refused(
    stored: list[Stored], episodes: Played, tmp_path: Path
) -> None:
    save(export.to_dataset(stored, episodes.pictures), tmp_path / "rows.jsonl")
    for path in (tmp_path / "rows-pictures").iterdir():
        Image.open(path).save(path, "JPEG")
    dataset = load(tmp_path / "rows.jsonl", export.features())
    with pytest.raises(
        RunError, match=rf"episode {stored[0].episode.id}, image 1: its pixels are not those of"
    ):
        list(export.rows(dataset, MediaStore(tmp_path / "other")))


def test_tokens_that_were_changed_are_refused(stored: list[Stored], episodes: Played, tmp_path: Path) -> None:
    def shift(record: dict[str, Any]) -> dict[str, Any]:
        return record | {"ids": [*record["ids"][:-1], 0]}

    dataset = export.to_dataset(stored[:1], episodes.pictures).map(shift)
    with pytest.raises(RunError, match=r"its tokens are not those of its log; export it anew"):
        list(export.episodes(dataset, MediaStore(tmp_path)))


def test_whose_tokens_they_are_is_read_in_the_log(
    stored: list[Stored], episodes: Played, tmp_path: Path
) -> None:
    dataset, pictures = export.to_dataset(stored[:1], episodes.pictures), MediaStore(tmp_path)
    [row] = export.rows(dataset, pictures)
    assert row == Row.of(stored[0].episode)
    assert row.tokenizer
    [bare] = export.rows(dataset.remove_columns("log"), pictures)
    assert bare == replace(row, tokenizer=None)
    with pytest.raises(UsageError, match="a row whose log can't be read"):
        list(export.rows(dataset.map(lambda record: record | {"log": "[[{}]]"}), pictures))


def test_what_cannot_be_exported_is_named(stored: list[Stored], tmp_path: Path, episodes: Played) -> None:
    with pytest.raises(MediaError, match="not in the store"):
        export.to_dataset(stored, MediaStore(tmp_path))
    nobody = Stored(
        replace(episodes.episodes[0], header={"token_exact": False, "policy": "ocr", "id": "e"}),
        "",
        None,
        None,
    )
    with pytest.raises(UsageError, match="episode e: its policy, ocr, keeps no tokens; select exact=True"):
        export.to_dataset([nobody], episodes.pictures)
    with pytest.raises(UsageError, match=r"name a \.parquet or a \.jsonl file"):
        save(export.to_dataset([], episodes.pictures), tmp_path / "rows.csv")
    (tmp_path / "rows.jsonl").write_text('{"images": [], "colour": "red"}\n')
    with pytest.raises(UsageError, match=r"rows.jsonl:1: has other columns than expected \(colour\)"):
        load(tmp_path / "rows.jsonl", export.features())


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (["../secret.png"], r"image '../secret.png' is outside the file's folder"),
        (["/etc/hostname"], r"image '/etc/hostname' is outside the file's folder"),
        ("rows.jsonl", "a row without images; an empty list"),
        (None, "a row without images; an empty list"),
    ],
)
def test_rows_of_others_name_pictures_of_their_own(tmp_path: Path, images: object, words: str) -> None:
    (tmp_path / "secret.png").write_bytes(b"x")
    path = tmp_path / "theirs" / "rows.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps({"id": "a"} | ({"images": images} if images else {})))
    with pytest.raises(RunError, match=rf"rows.jsonl:1: {words}"):
        load(path, export.features())


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl"])
def test_rows_are_written_whole_or_not_at_all(
    stored: list[Stored], episodes: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / name).write_text("what was there")
    dataset = export.to_dataset(stored, episodes.pictures)
    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save(dataset, tmp_path / name)
    assert (tmp_path / name).read_text() == "what was there"
    assert not list(tmp_path.glob(".rows*"))


@pytest.mark.parametrize("file", [None, "talk.parquet", "talk.jsonl"])
def test_conversations_become_the_same_rows_again(
    stored: list[Stored], episodes: Played, checkpoint: Checkpoint, tmp_path: Path, file: str | None
) -> None:
    """The scripts spell as the tokenizer does, so nothing is lost but what was never in the text."""
    talk = messages.to_messages(stored, episodes.pictures)
    if file:
        talk = load(save(talk, tmp_path / file), messages.features())
    for row, episode in zip(
        messages.rows(talk, checkpoint, MediaStore(tmp_path / "pictures")), episodes.episodes, strict=True
    ):
        own = Row.of(episode)
        assert (row.ids, row.turns, row.images, row.grids) == (own.ids, own.turns, own.images, own.grids)
        assert row.taught
        assert set(row.logprobs) == {0.0}


def test_a_conversation_has_two_who_speak_in_turn(stored: list[Stored]) -> None:
    for one in stored:
        system, *turns = messages.conversation(one.episode)
        assert system["role"] == "system"
        assert '"name": "zoom"' in system["content"][0]["text"]
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        places = [part for turn in turns for part in turn["content"] if part["type"] == "image"]
        assert len(places) == len(one.episode.pictures)


def test_a_conversation_ends_with_a_reply(stored: list[Stored], episodes: Played) -> None:
    """What was shown after it, before the run was cut, nobody saw."""
    cut = replace(stored[0].episode, messages=stored[0].episode.messages[:-1])
    [record] = messages.to_messages([replace(stored[0], episode=cut)], episodes.pictures)
    assert record["messages"][-1]["role"] == "assistant"
    assert "re_encode" in record["messages"][-1]["content"][0]["text"]
    assert len(record["images"]) == len(cut.pictures) - 1 == 5


def test_calls_of_models_with_tools_of_their_own_are_spelt() -> None:
    call = {"name": "zoom", "args": {"view": "v1", "box": [1, 2, 3, 4]}, "id": "c"}
    spelt = '<tool_call>\n{"name": "zoom", "arguments": {"view": "v1", "box": [1, 2, 3, 4]}}\n</tool_call>'
    assert messages._said({"content": "", "tool_calls": [call]}) == spelt
    blocks = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Look."}]
    assert messages._said({"content": blocks, "tool_calls": [call]}) == f"Look.\n{spelt}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r["images"].pop(), "fewer pictures than places"),
        (lambda r: r["images"].append(r["images"][0]), "more pictures than places"),
        (lambda r: r["messages"][1].update(role="tool"), "a message of the role 'tool'"),
    ],
)
def test_conversations_that_do_not_fit(
    stored: list[Stored],
    episodes: Played,
    checkpoint: Checkpoint,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], Any],
    told: str,
) -> None:
    record = messages.to_messages(stored[:1], episodes.pictures)[0]
    change(record)
    with pytest.raises(UsageError, match=f"{stored[0].episode.id}: {told}"):
        list(messages.rows([record], checkpoint, MediaStore(tmp_path)))  # type: ignore[arg-type]


def test_pictures_of_others_are_scaled_to_the_grid(checkpoint: Checkpoint, tmp_path: Path) -> None:
    parts = [{"type": "image"}, {"type": "text", "text": "What?"}]
    talk = [{"role": "user", "content": parts}, {"role": "assistant", "content": "A red one."}]
    record = {"messages": talk, "images": [Image.new("RGB", (333, 222), "red")]}
    [row] = messages.rows([record], checkpoint, MediaStore(tmp_path), most=24)  # type: ignore[arg-type]
    assert row.episode == "row-0"
    assert row.grids == ((1, 8, 12),)


def test_trl_reads_the_conversations_as_the_episodes_tokens(
    stored: list[Stored], episodes: Played, checkpoint: Checkpoint
) -> None:
    """TRL's own collator for vision, Qwen's processor and template: the very ids of the ledger, and as many
    pixel values."""
    needs("trl")
    prepare()
    from transformers import AutoProcessor
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    processor = AutoProcessor.from_pretrained(checkpoint.folder)
    collate = DataCollatorForVisionLanguageModeling(processor)
    for record, one in zip(messages.to_messages(stored, episodes.pictures), stored, strict=True):
        row = Row.of(one.episode)
        batch = collate([dict(record)])
        told = batch["input_ids"][0].tolist()
        ids = list(expanded(row, checkpoint).ids)
        assert told[: len(ids)] == ids
        assert processor.tokenizer.decode(told[len(ids) :]) == "\n"  # the template ends with the line
        assert [tuple(grid) for grid in batch["image_grid_thw"].tolist()] == list(row.grids)


def test_the_samples_are_what_they_are_said_to_be(repo: Path, tmp_path: Path, checkpoint: Checkpoint) -> None:
    """examples/rows: a taught row; an item, and a rollout that policy gradients can use."""
    pictures = MediaStore(tmp_path)
    taught, rl = (load(repo / "examples/rows" / f"{n}.jsonl", export.features()) for n in ("sft", "rl"))
    [one] = export.episodes(taught, pictures)
    check(Row.of(one.episode), checkpoint, pictures)
    assert one.item is not None
    assert one.episode.end is not None
    assert one.episode.end["answer"] in one.item.answers
    assert Row.of(one.episode).taught
    asked, rolled = export.items(rl)
    [one] = export.episodes(rl, pictures)
    check(Row.of(one.episode), checkpoint, pictures, for_rl=True)
    assert (one.item, one.rewards) == (rolled, {"accuracy": 0.0, "format": 0.0, "total": 0.0})
    assert asked.id != rolled.id
    for name in ("sft", "rl"):
        assert "/tmp" not in (repo / "examples/rows" / f"{name}.jsonl").read_text()
