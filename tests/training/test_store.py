"""The episode store: each episode whole and once, whoever writes, whatever breaks."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r4agent.episode import Episode
from r4agent.errors import MissingError, RunError, UsageError
from r4agent.log import parse
from r4agent.training.rows import Row
from r4agent.training.store import EpisodeStore, pictures_of_stores

from .conftest import Played

WRITER = """
import json, sys
from pathlib import Path
from r4agent.episode import Episode
from r4agent.training.store import EpisodeStore
folder, first, stop = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
lines = json.loads((folder / "lines.json").read_text())
store = EpisodeStore(folder / "store", shard_bytes=200_000)
print("ready", flush=True)
for n in range(first, stop):
    header = lines[0] | {"id": f"e{n}"}
    store.add(Episode.of([header, *lines[1:]], folder, Episode.read))
    print(n, flush=True)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("R4_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def store(tmp_path: Path, episodes: Played) -> EpisodeStore:
    """The three episodes, with their items; the first of a stage and with rewards."""
    store = EpisodeStore(tmp_path / "store")
    first, *others = zip(episodes.episodes, episodes.items, strict=True)
    assert store.add(first[0], stage="deliberate", item=first[1], rewards={"accuracy": 0.5})
    for episode, item in others:
        assert store.add(episode, item=item)
    return store


def renamed(episode: Episode, ident: str, **end: Any) -> Episode:
    """The same episode under another id, ended otherwise."""
    assert episode.end
    return replace(episode, header=episode.header | {"id": ident}, end=episode.end | end)


def test_what_was_added_is_read_back(store: EpisodeStore, episodes: Played) -> None:
    found = list(store.select())
    assert [stored.item for stored in found] == list(episodes.items)
    for stored, episode in zip(found, episodes.episodes, strict=True):
        assert stored.episode.lines == episode.lines
        assert Row.of(stored.episode) == Row.of(episode)
        assert store.get(episode.id).episode == stored.episode
    assert (found[0].stage, found[0].rewards) == ("deliberate", {"accuracy": 0.5})
    assert (found[1].stage, found[1].rewards) == ("", None)


def test_once_means_once_but_a_failed_run_may_be_tried_again(store: EpisodeStore, episodes: Played) -> None:
    first = episodes.episodes[0]
    assert not store.add(first)
    failed = renamed(first, "again", status="failed")
    assert store.add(failed)
    assert not store.add(failed)
    assert store.add(renamed(first, "again", status="answered"))
    assert not store.add(failed)
    assert len(store) == 4
    assert store.get("again").episode.status == "answered"
    store._index.forget()
    assert store.get("again").episode.status == "answered"
    assert len(store) == 4


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ({}, [0, 1, 2]),
        ({"status": ["answered"]}, [0, 2]),
        ({"status": ["answered", "refused"]}, [0, 1, 2]),
        ({"supported": ["unchecked"]}, [0, 1, 2]),
        ({"supported": ["yes"]}, []),
        ({"tools": ["zoom"]}, [0]),
        ({"tools": ["zoom", "re_encode"]}, [0]),
        ({"tools": ["zoom", "select_frames"]}, [0]),
        ({"tools": ["select_frames"]}, [0, 1]),
        ({"tools": ["select"]}, []),  # no part of a name
        ({"stage": ["deliberate"]}, [0]),
        ({"stage": [""]}, [1, 2]),
        ({"exact": True}, [0, 1, 2]),
        ({"exact": False}, []),
        ({"max_turns": 1}, [2]),
        ({"max_turns": 3, "max_pictures": 4, "status": ["refused"]}, [1]),
        ({"max_pictures": 2}, [2]),
        ({"max_tokens": 3}, []),
        ({"max_tokens": 100_000}, [0, 1, 2]),
    ],
)
def test_filters(store: EpisodeStore, episodes: Played, which: dict[str, Any], found: list[int]) -> None:
    ids = [episode.id for episode in episodes.episodes]
    assert [ids.index(stored.episode.id) for stored in store.select(**which)] == found
    store._index.forget()
    assert [ids.index(entry.id) for entry in store.entries(**which)] == found


def test_a_filter_that_there_is_not(store: EpisodeStore) -> None:
    with pytest.raises(UsageError, match="status 'done': must be one of answered"):
        store.entries(status=["done"])
    with pytest.raises(UsageError, match="has no episode nobody"):
        store.get("nobody")


def test_tokens_are_those_of_the_whole_conversation(store: EpisodeStore, episodes: Played) -> None:
    for entry, episode in zip(store.entries(), episodes.episodes, strict=True):
        row = Row.of(episode)
        shown = sum(rows * columns // 4 - 1 for _, rows, columns in row.grids)
        assert entry.tokens == len(row.ids) + shown
        assert entry.pictures == len(row.images)


def test_four_processes_write_at_once(tmp_path: Path, episodes: Played) -> None:
    (tmp_path / "lines.json").write_text(json.dumps(episodes.episodes[2].lines))
    spans = [(0, 20), (10, 30), (20, 40), (0, 40)]  # every episode is added twice or more
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, str(a), str(b)], stdout=subprocess.DEVNULL) for a, b in spans]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    store = EpisodeStore(tmp_path / "store")
    assert sorted(int(entry.id[1:]) for entry in store.entries()) == list(range(40))
    shards = sorted((tmp_path / "store" / "shards").glob("*.jsonl"))
    assert len(shards) > 1
    lines = [line for shard in shards for line in parse(shard.read_bytes(), shard)]
    assert len({line["key"] for line in lines}) == len(lines) == 40


@pytest.mark.slow
def test_ten_kills_lose_nothing_that_was_added(tmp_path: Path, episodes: Played) -> None:
    """A writer says what is safely added; after a SIGKILL at a random moment all of it is there, once."""
    (tmp_path / "lines.json").write_text(json.dumps(episodes.episodes[2].lines))
    rng, promised = random.Random(5), set[int]()
    for _ in range(10):
        first = str(max(promised, default=-1) + 1)
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), first, "100000"], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
            time.sleep(rng.random() * 0.1)
            writer.kill()
            told = writer.stdout.read().splitlines(keepends=True)
            promised |= {int(line) for line in told if line.endswith("\n")}
        kept = sorted(int(entry.id[1:]) for entry in EpisodeStore(tmp_path / "store").entries())
        assert kept in (list(range(len(promised))), list(range(len(promised) + 1)))
        promised |= set(kept)
    assert len(promised) > 10
    assert sum(1 for _ in EpisodeStore(tmp_path / "store").select()) == len(promised)


def shard_of(store: EpisodeStore) -> Path:
    return store.folder / "shards" / "00000.jsonl"


@pytest.mark.parametrize("cut", [1, 100])
def test_a_torn_last_line_is_cut_off_and_can_be_added_again(
    store: EpisodeStore, episodes: Played, cut: int
) -> None:
    """As after a kill in the middle of a write: the index does not know of the line yet."""
    whole = shard_of(store).read_bytes()
    store._index.forget()
    shard_of(store).write_bytes(whole[:-cut])
    assert [entry.id for entry in store.entries()] == [e.id for e in episodes.episodes[:2]]
    assert store.add(episodes.episodes[2], item=episodes.items[2])
    assert shard_of(store).read_bytes() == whole


def test_an_index_that_is_behind_catches_up(store: EpisodeStore, episodes: Played) -> None:
    """As after a kill between shard and index."""
    index = store._index.path.read_bytes()
    store.add(renamed(episodes.episodes[0], "late"))
    store._index.path.write_bytes(index)
    assert len(store) == 4
    assert not store.add(renamed(episodes.episodes[0], "late"))


@pytest.mark.parametrize("junk", [b"", b"no database", None])
def test_an_index_that_is_gone_or_damaged_is_made_anew(store: EpisodeStore, junk: bytes | None) -> None:
    entries = store.entries()
    if junk is None:
        store._index.path.unlink()
    else:
        store._index.path.write_bytes(junk)
    assert store.entries() == entries


def test_logs_of_schema_1_in_a_store_are_read(store: EpisodeStore, episodes: Played) -> None:
    """As a store has them that an older version wrote."""
    old = []
    for text in shard_of(store).read_text().splitlines():
        line = json.loads(text)
        header = line["lines"][0] | {"schema": 1}
        del header["sampling"]
        old.append(json.dumps(line | {"lines": [header, *line["lines"][1:]]}) + "\n")
    shard_of(store).write_text("".join(old))
    store._index.forget()
    for stored, episode in zip(store.select(), episodes.episodes, strict=True):
        assert stored.episode.lines == episode.lines
        assert Row.of(stored.episode) == Row.of(episode)


def test_shards_that_were_cut_are_the_truth(store: EpisodeStore, episodes: Played) -> None:
    lines = shard_of(store).read_bytes().splitlines(keepends=True)
    shard_of(store).write_bytes(b"".join(lines[1:]))
    assert [entry.id for entry in store.entries()] == [e.id for e in episodes.episodes[1:]]
    assert [stored.episode.id for stored in store.select()] == [e.id for e in episodes.episodes[1:]]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (b"not json\n", r"00000.jsonl:2: .*the file is damaged"),
        (b'{"type": "episode", "key": "a"}\n', r"00000.jsonl:2: not a stored episode"),
        (
            b'{"type":"stored","key":"a","schema":9,"stage":"","item":null,"rewards":null,"lines":[]}\n',
            r"00000.jsonl:2: schema 9; this version reads 1",
        ),
    ],
)
def test_a_damaged_line_is_named(store: EpisodeStore, damage: bytes, told: str) -> None:
    lines = shard_of(store).read_bytes().splitlines(keepends=True)
    shard_of(store).write_bytes(lines[0] + damage + lines[2])
    store._index.forget()
    with pytest.raises(RunError, match=told):
        store.entries()


def test_a_line_that_was_changed_in_its_place_is_not_taken_for_another(store: EpisodeStore) -> None:
    data = shard_of(store).read_bytes()
    shard_of(store).write_bytes(b" " * 100 + data[100:])
    with pytest.raises(RunError, match=r"is not where .*index.sqlite says; delete"):
        list(store.select())


Act = tuple[str, int, bool]  # what, of which episode, and whether that failed


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "add", "add", "forget", "tear"]), st.integers(0, 3), st.booleans())
    )
)
@settings(max_examples=25, deadline=None)
def test_the_index_says_what_the_shards_say(episodes: Played, acts: list[Act]) -> None:
    """Whatever was added, torn off or lost, against a list of lines."""
    with tempfile.TemporaryDirectory() as folder:
        store = EpisodeStore(folder, shard_bytes=100_000)  # of two episodes or so
        lines: list[tuple[str, str]] = []
        for what, number, failed in acts:
            ident, status = f"e{number}", "failed" if failed else "answered"
            kept = dict(lines)
            if what == "add":
                new = ident not in kept or (kept[ident] == "failed" and not failed)
                assert store.add(renamed(episodes.episodes[2], ident, status=status)) is new
                lines += [(ident, status)] if new else []
            elif what == "forget":
                store._index.forget()
            elif lines:
                shard = [shard for shard in store._shards() if shard.stat().st_size][-1]
                os.truncate(shard, shard.stat().st_size - 1 - number)
                lines.pop()
            if store._shards():
                assert {entry.id: entry.status for entry in store.entries()} == dict(lines)
                assert {one.episode.id: one.episode.status for one in store.select()} == dict(lines)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_told_and_what_stands_stays(
    store: EpisodeStore, episodes: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shard_of(store).read_bytes()
    late = renamed(episodes.episodes[0], "late")
    write = os.write
    with monkeypatch.context() as patch, open("/dev/full", "wb") as full:
        patch.setattr("os.write", lambda file, data: write(full.fileno(), data))
        with pytest.raises(RunError, match=r"No space left on device.*free some space"):
            store.add(late)
        patch.setattr("os.write", lambda file, data: write(file, data[:7]))  # a part fits
        with pytest.raises(RunError, match="No space left on device"):
            store.add(late)
    assert shard_of(store).read_bytes() == before
    assert store.add(late)
    assert len(store) == 4


def test_follow_ups_are_kept_with_what_they_continue(store: EpisodeStore, episodes: Played) -> None:
    first = renamed(episodes.episodes[0], "first")
    after = renamed(episodes.episodes[2], "after")
    after = replace(after, header=after.header | {"continues": "first"}, before=first)
    assert store.add(after, stage="s")
    read = store.get("after").episode
    assert read.before is not None
    assert (read.before.id, read.history) == ("first", (*first.messages, *after.messages))
    assert [stored.episode.id for stored in store.select(stage=["s"])] == ["first", "after"]


def test_an_episode_that_has_not_ended_stays_out(
    store: EpisodeStore, episodes: Played, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="has not ended"):
        store.add(replace(episodes.episodes[0], end=None))
    logs = episodes.episodes[0].path.parent
    fresh = EpisodeStore(tmp_path / "fresh")
    assert fresh.gather(logs, stage="x") == (3, 0)
    assert fresh.gather(logs) == (0, 0)
    running = tmp_path / "logs" / "running.jsonl"
    running.parent.mkdir()
    running.write_text("\n".join(episodes.episodes[0].path.read_text().splitlines()[:-1]) + "\n")
    assert fresh.gather(running.parent) == (0, 1)
    after = dict(episodes.episodes[2].header, id="after", continues="running", key="episode")
    whole = [after, *episodes.episodes[2].lines[1:]]
    (running.parent / "after.jsonl").write_text("".join(json.dumps(line) + "\n" for line in whole))
    assert fresh.gather(running.parent) == (0, 2)  # it goes on from one that never ended
    with pytest.raises(UsageError, match="has no episodes"):
        fresh.gather(tmp_path / "empty")


def test_an_episode_that_cannot_be_indexed_is_not_written(store: EpisodeStore, episodes: Played) -> None:
    broken = renamed(episodes.episodes[0], "broken", usage={})
    with pytest.raises(RunError, match=r"episode broken is damaged \(KeyError: 'turns'\); leave it out"):
        store.add(broken)
    assert len(store) == 3


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no episode store"):
        EpisodeStore(tmp_path / "none").entries()
    assert not (tmp_path / "none").exists()


def test_pictures_of_every_store_are_known_to_clean(
    store: EpisodeStore, episodes: Played, tmp_path: Path
) -> None:
    refs = {picture.ref for episode in episodes.episodes for picture in episode.pictures}
    assert store.pictures() == pictures_of_stores() == refs
    other = EpisodeStore(tmp_path / "other")
    other.add(episodes.episodes[2])
    store.folder.rename(tmp_path / "moved")
    with pytest.raises(MissingError, match=r"the episode store .*/store is not there, .*r4 clean --forget"):
        pictures_of_stores()
    assert pictures_of_stores(forget=True) == pictures_of_stores() == other.pictures() < refs
    EpisodeStore(tmp_path / "moved").entries()  # used again, and so known again
    assert pictures_of_stores() == refs


@pytest.mark.parametrize("place", ["rollouts/step-00002", "aside/00001-step-00002"])
def test_pictures_of_rollouts_that_no_store_has_yet_are_known_to_clean(
    episodes: Played, tmp_path: Path, place: str
) -> None:
    """As of a run whose first checkpoint is yet to come."""
    log = tmp_path / "run" / place / "a.jsonl"
    log.parent.mkdir(parents=True)
    shutil.copyfile(episodes.episodes[0].path, log)
    EpisodeStore(tmp_path / "run" / "episodes").register()
    assert pictures_of_stores() == {picture.ref for picture in episodes.episodes[0].pictures}


def test_a_mark_that_a_crash_left_empty(store: EpisodeStore, home: Path) -> None:
    """It names no store, least of all the current folder; the next use of its store writes it again."""
    [mark] = (home / "stores").iterdir()
    mark.write_text("")
    mark.with_name(".part").write_text("")
    with pytest.raises(MissingError, match=f"{mark.name} is not there"):
        pictures_of_stores()
    store.entries()
    assert mark.read_text() == str(store.folder)
    assert pictures_of_stores() == store.pictures()


def test_a_mark_is_written_whole_or_not_at_all(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Path, *_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        EpisodeStore(tmp_path / "store").register()
    assert pictures_of_stores() == set()


def test_an_index_of_another_version_is_made_anew(store: EpisodeStore) -> None:
    with closing(sqlite3.connect(store.folder / "index.sqlite")) as database:
        database.execute("DROP TABLE episodes")
        database.execute("PRAGMA user_version = 9")
    assert len(EpisodeStore(store.folder)) == 3
