"""Journals of one episode share what they have read, and take nothing for what it no longer is."""

import os
from pathlib import Path

import pytest
from langchain_core.messages import AnyMessage, HumanMessage

from r4agent.graphs.journal import Journals
from r4agent.log import Log


def written(path: Path, count: int) -> list[AnyMessage]:
    """Messages as a run leaves them in the state."""
    journal = Journals().open(str(path), [])
    for n in range(count):
        journal.add(HumanMessage(f"message {n}"))
    return journal.messages


def next_id(journals: Journals, path: Path, messages: list[AnyMessage]) -> str | None:
    return journals.open(str(path), messages).add(HumanMessage("and now?"))[0].id


def test_what_is_kept_leads_to_the_same_ids(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    messages, kept = written(path, 3), Journals()
    first = [next_id(kept, path, messages[:n]) for n in (3, 2, 3)]
    assert first == [next_id(Journals(), path, messages[:n]) for n in (3, 2, 3)]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_edited_message_changes_the_ids_whatever_is_kept(at: int, tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    messages, kept = written(path, 3), Journals()
    before = next_id(kept, path, messages)
    edited = [*messages]
    edited[at] = messages[at].model_copy(update={"content": "edited"})
    assert next_id(kept, path, edited) != before
    assert next_id(kept, path, messages) == before


def test_what_another_process_logs_is_found(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    messages, kept = written(path, 2), Journals()
    assert kept.open(str(path), messages).recall() is None
    theirs = Journals().open(str(path), messages).add(HumanMessage("theirs"))
    found = kept.open(str(path), messages).recall()
    assert found is not None
    assert found[0] == theirs[0]
    with path.open("a") as file:
        file.write('{"torn')  # as a kill in mid-write leaves
    assert next_id(kept, path, messages) == theirs[0].id
    assert "torn" not in path.read_text()


def test_a_node_reads_what_is_new_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.jsonl"
    messages, kept = written(path, 30), Journals()
    kept.open(str(path), messages).recall()
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *asked: (read.append(asked[1]), pread(*asked))[1])
    monkeypatch.setattr("r4agent.graphs.journal._line", None)  # nothing is spelt again
    assert kept.open(str(path), messages).recall() is None
    assert sum(read) == 0
    kept.close(str(path))
    with pytest.raises(TypeError):
        kept.open(str(path), messages)


def test_a_log_is_no_more_than_looked_at_when_nothing_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tmp_path / "deep" / "l.jsonl")
    assert log.get("a") is None
    log.once("a", {"type": "x"})
    monkeypatch.setattr(Log, "_locked", None)
    assert log.get("a") == {"type": "x", "key": "a"}
    assert log.get("b") is None
