"""The episode file: whole lines, each once, also when the writer is killed at any moment."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from r4agent.episode import SCHEMA, Episode, EpisodeLog
from r4agent.errors import RunError, UsageError


def message(n: int | str, content: str = "") -> dict[str, Any]:
    """A message line that follows the one before it in number."""
    after = f"m{n - 1}" if isinstance(n, int) and n else None
    return {"type": "message", "id": f"m{n}", "after": after, "content": content}


HEADER = {"type": "episode", "schema": 1, "id": "e", "continues": None}
WRITER = """
import sys
from r4agent.episode import EpisodeLog
log = EpisodeLog(sys.argv[1], "e")
log.once("episode", {"type": "episode", "schema": 1, "id": "e", "continues": None})
print("ready", flush=True)
n = int(sys.argv[2])
while True:
    after = f"m{n - 1}" if n else None
    log.once(f"m{n}", {"type": "message", "id": f"m{n}", "after": after, "content": "x" * (n % 3000)})
    print(n, flush=True)
    n += 1
"""


@pytest.mark.slow
def test_fifty_kills_lose_nothing_but_the_line_being_written(tmp_path: Path) -> None:
    """Each round a writer says which lines are safely written; after a SIGKILL at a random moment every
    one of them is in the file, whole and once, and the next writer goes on."""
    rng, promised = random.Random(7), set[int]()
    kills = 0
    while kills < 50:
        first = max(promised, default=-1) + 1
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(first)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
            time.sleep(rng.random() * 0.02)
            writer.kill()
            promised |= {
                int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")
            }
        kills += 1
        log = EpisodeLog(tmp_path, "e")
        log.get("episode")  # recovers: cuts off what was torn
        episode = Episode.read(tmp_path / "e.jsonl")
        keys = [line["id"] for line in episode.messages]
        assert not episode.torn
        assert len(keys) == len(set(keys))
        assert promised <= {int(key[1:]) for key in keys} <= promised | {max(promised, default=-1) + 1}
        promised |= {int(key[1:]) for key in keys}
    assert promised


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_torn_last_line_is_read_over_and_then_written_again(cut: int, tmp_path: Path) -> None:
    log = EpisodeLog(tmp_path, "e")
    log.once("episode", HEADER)
    log.once("m0", message(0, "whole"))
    log.once("m1", message(1, "torn"))
    log.path.write_bytes(log.path.read_bytes()[:-cut])
    episode = Episode.read(log.path)
    assert episode.torn
    assert [m["id"] for m in episode.messages] == ["m0"]
    again = EpisodeLog(tmp_path, "e")
    assert again.get("m1") is None
    again.once("m1", message(1, "new"))
    episode = Episode.read(log.path)
    assert not episode.torn
    assert [m["content"] for m in episode.messages] == ["whole", "new"]


def test_once_means_once_across_writers(tmp_path: Path) -> None:
    one, two = EpisodeLog(tmp_path, "e"), EpisodeLog(tmp_path, "e")
    one.once("episode", HEADER)
    assert one.once("m0", message(0, "first"))["content"] == "first"
    assert two.once("m0", message(0, "second"))["content"] == "first"
    assert two.get("m0") == one.get("m0")
    assert len((tmp_path / "e.jsonl").read_text().splitlines()) == 2


def test_messages_of_a_way_not_taken_are_left_out(tmp_path: Path) -> None:
    log = EpisodeLog(tmp_path, "e")
    log.once("episode", HEADER)
    for n in range(3):
        log.once(f"m{n}", message(n))
    log.once("end-m2", {"type": "end", "status": "answered", "after": "m2"})
    log.once("x", {**message("x"), "after": "m0"})
    log.once("end-x", {"type": "end", "status": "refused", "after": "mx"})
    episode = Episode.read(log.path)
    assert [m["id"] for m in episode.messages] == ["m0", "mx"]
    assert episode.status == "refused"


def test_messages_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    lines = [HEADER | {"key": "episode"}, *({"key": key, **message(key)} for key in ("a", "b"))]
    lines[1]["after"], lines[2]["after"] = lines[2]["id"], lines[1]["id"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(Episode.read(path).messages) == 2


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    EpisodeLog(tmp_path, "e").once("episode", HEADER)

    def write(thread: int) -> None:
        log = EpisodeLog(tmp_path, "e")
        for n in range(20):
            log.once(f"m{thread}-{n}", message(f"{thread}-{n}", "y" * 500))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / "e.jsonl").read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == len(lines) == 161


def test_text_that_is_not_unicode_is_kept(tmp_path: Path) -> None:
    log = EpisodeLog(tmp_path, "e")
    log.once("episode", HEADER)
    text = "lone \ud800 surrogate, \x00, \u2028 and\nnewline"
    log.once("m0", message(0, text))
    assert Episode.read(log.path).messages[0]["content"] == text


def test_the_last_end_counts(tmp_path: Path) -> None:
    log = EpisodeLog(tmp_path, "e")
    log.once("episode", HEADER)
    assert Episode.read(log.path).status is None
    log.once("failed-1", {"type": "end", "status": "failed", "after": None})
    log.once("end", {"type": "end", "status": "answered", "after": None})
    assert Episode.read(log.path).status == "answered"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "its first line is no episode header"),
        ('{"type":"message","key":"m0"}\n', "its first line is no episode header"),
        ("not json\n", "e.jsonl:1"),
        (json.dumps({**HEADER, "key": "episode"}) + "\n[1]\n", "e.jsonl:2: not a line of a log"),
        (
            json.dumps({**HEADER, "key": "episode", "schema": 99}) + "\n",
            "schema 99; this version reads up to 2",
        ),
    ],
)
def test_a_damaged_file_is_named(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text(text)
    with pytest.raises(RunError, match=told.replace("[", r"\[")):
        Episode.read(tmp_path / "e.jsonl")


def test_a_missing_file_and_a_bad_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file"):
        Episode.read(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="lower-case letters"):
        EpisodeLog(tmp_path, "../e")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_told_and_what_stands_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EpisodeLog(tmp_path, "e")
    log.once("episode", HEADER)
    before = log.path.read_bytes()
    write = os.write
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr("os.write", lambda file, data: write(full, data))
    with pytest.raises(RunError, match=r"No space left on device.*free some space"):
        log.once("m0", message(0))
    monkeypatch.setattr("os.write", lambda file, data: write(file, data[:7]))  # a part fits
    with pytest.raises(RunError, match="No space left on device"):
        log.once("m0", message(0))
    monkeypatch.undo()
    os.close(full)
    assert log.path.read_bytes() == before
    log.once("m0", message(0))
    assert len(Episode.read(log.path).messages) == 1


def test_an_episode_of_schema_1_is_read_as_one_of_today(tmp_path: Path) -> None:
    """Schema 1 had the sampling among what tells models apart, and only token-exact policies had it."""
    model = {"ls_temperature": 1.0, "engine": "vllm", "temperature": 1.0, "top_p": 0.9}
    for exact, sampling in ((True, {"temperature": 1.0, "top_p": 0.9}), (False, None)):
        header = {**HEADER, "key": "episode", "model": model, "token_exact": exact}
        (tmp_path / "e.jsonl").write_text(json.dumps(header) + "\n")
        episode = Episode.read(tmp_path / "e.jsonl")
        assert episode.header == header | {"schema": SCHEMA, "sampling": sampling}
        assert Episode.of(episode.lines, episode.path, Episode.read) == episode
