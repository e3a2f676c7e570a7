"""Folders of clips: whole, decodable, the same twice, and honest when they can't be written."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from r4agent.errors import MediaError, UsageError
from r4agent.item import read_items
from r4agent.textworld import Clip, clip_file, generate, make_clip, writer
from r4agent.textworld.writer import encode


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(0, 3, 5, tmp_path_factory.mktemp("worlds") / "one")


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as mp4:
        return list(mp4.decode(video=0))


def grey(picture: np.ndarray) -> np.ndarray:
    return np.asarray(picture, float) @ [0.299, 0.587, 0.114]


def check_video(clip: Clip, path: Path) -> None:
    """Size, times, and in the first and last frame of each evidence span its text's pixels."""
    frames = decoded(path)
    assert [frame.time for frame in frames] == pytest.approx(clip.times, abs=1e-6)
    assert (frames[0].width, frames[0].height) == (clip.size.width, clip.size.height)
    for item in clip.items:
        for span in item.evidence:
            assert span.box is not None
            x0, y0, x1, y1 = map(int, span.box)
            for index in {round(span.start * clip.fps), round(span.end * clip.fps) - 1}:
                seen = grey(frames[index].to_ndarray(format="rgb24"))[y0:y1, x0:x1]
                drawn = grey(np.asarray(clip.render(index)))[y0:y1, x0:x1]
                error = float(((seen - drawn) ** 2).mean())
                assert 10 * np.log10(255**2 / max(error, 1e-9)) > 27, item.question
                assert np.ptp(seen) > 0.6 * np.ptp(drawn), "the text has lost its contrast"


def test_a_world_can_be_read_back(world: Path) -> None:
    items = list(read_items(world / "items.jsonl"))
    clips = [make_clip(0, 5_000_000 + i) for i in range(3)]
    assert items == [item for clip in clips for item in clip.items]
    assert sorted(p.name for p in (world / "clips").iterdir()) == [f"{clip.id}.mp4" for clip in clips]
    assert all((world / item.media).is_file() for item in items)
    for clip in clips:
        check_video(clip, world / "clips" / f"{clip.id}.mp4")


def test_level_2_survives_encoding(tmp_path: Path) -> None:
    seeds = (seed for seed in range(100) if make_clip(2, seed).frames <= 130)
    clip = make_clip(2, next(seeds))
    encode(clip, tmp_path / "clip.mp4")
    check_video(clip, tmp_path / "clip.mp4")


def test_texts_say_where_and_when(world: Path) -> None:
    rows = [json.loads(line) for line in (world / "texts.jsonl").read_text("utf-8").splitlines()]
    clips = [make_clip(0, 5_000_000 + i) for i in range(3)]
    assert len(rows) == sum(len(clip.texts) for clip in clips)
    first = clips[0].texts[0]
    assert rows[0]["clip"] == clips[0].id
    assert rows[0]["string"] == first.string
    assert tuple(rows[0]["shown"][0]["box"]) == first.shown[0].box
    assert (world / rows[0]["media"]).is_file()


def test_the_record_names_versions_and_fonts(world: Path) -> None:
    record = json.loads((world / "world.json").read_text("utf-8"))
    assert (record["level"], record["n"], record["seed"]) == (0, 3, 5)
    assert record["versions"]["av"] == av.__version__
    rows = [json.loads(line) for line in (world / "texts.jsonl").read_text("utf-8").splitlines()]
    assert set(record["fonts"]) == {row["font"] for row in rows}
    assert all(len(digest) == 64 for digest in record["fonts"].values())
    assert record["items"] == len(list(read_items(world / "items.jsonl")))


def test_the_same_seed_writes_the_same_bytes(world: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    again = generate(0, 3, 5, tmp_path / "again", progress=lambda done, n: calls.append((done, n)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    files = sorted(path.relative_to(world) for path in world.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for name in files:
        assert digest(world / name) == digest(again / name), name


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_worlds_of_other_seeds_share_no_clip(world: Path, tmp_path: Path) -> None:
    other = generate(0, 1, 6, tmp_path / "other")
    names = {path.name for path in (world / "clips").iterdir()}
    assert not names & {path.name for path in (other / "clips").iterdir()}


@pytest.mark.parametrize(
    ("level", "n", "seed", "message"),
    [
        (5, 1, 0, r"level 5: the text world has levels 0, 1, 2, 3; choose one"),
        (0, 0, 0, r"n 0: must be 1 to"),
        (0, 1, -4, r"seed -4: must be 0 or more"),
    ],
)
def test_a_wrong_argument_is_told_and_nothing_is_written(
    level: int, n: int, seed: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        generate(level, n, seed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="holds something already; choose a new or empty folder"):
        generate(0, 1, 0, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match=r"can't be written: .*; choose another folder"):
        generate(0, 1, 0, tmp_path / "file" / "out")
    with pytest.raises(UsageError, match="is a file; choose a new or empty folder"):
        generate(0, 1, 0, tmp_path / "file")


def test_a_clip_cut_short_never_looks_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Clip.render

    def render(clip: Clip, index: int):  # type: ignore[no-untyped-def]
        if index >= 20:
            raise KeyboardInterrupt
        assert not list(tmp_path.rglob("*.mp4")), "a half-written clip has its final name"
        return real(clip, index)

    monkeypatch.setattr(Clip, "render", render)
    with pytest.raises(KeyboardInterrupt):
        generate(0, 2, 0, tmp_path / "out")
    assert not list(tmp_path.rglob("*.mp4"))
    assert not list(tmp_path.rglob("*.mp4.*"))
    assert not (tmp_path / "out" / "items.jsonl").exists()
    assert not (tmp_path / "out" / "world.json").exists()


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.os, "replace", full)
    with pytest.raises(MediaError, match="No space left on device"):
        generate(0, 1, 0, tmp_path / "out")
    assert os.listdir(tmp_path / "out" / "clips") == []


def test_a_clip_file_is_made_once_with_items_that_name_it(tmp_path: Path) -> None:
    path, items = clip_file(0, 4, tmp_path / "cache")
    clip = make_clip(0, 4)
    assert path.name.startswith(f"{clip.id}-")
    assert len(path.stem) == len(clip.id) + 13
    check_video(clip, path)
    assert {item.media for item in items} == {str(path)}
    assert [item.question for item in items] == [item.question for item in clip.items]
    made = path.stat().st_mtime_ns
    assert clip_file(0, 4, tmp_path / "cache") == (path, items)
    assert path.stat().st_mtime_ns == made


def test_a_clip_drawn_otherwise_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(0, 4)
    names = {writer.digest(clip), writer.digest(replace(clip, paints=clip.paints[:-1]))}
    names |= {writer.digest(replace(clip, fps=clip.fps + 1)), writer.digest(make_clip(0, 5))}
    monkeypatch.setattr(writer, "DRAWING", 0)
    names.add(writer.digest(clip))
    assert len(names) == 5


def test_two_may_make_the_same_clip_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: clip_file(0, 4, tmp_path), range(2))
    assert one == two
    assert [path.name for path in tmp_path.iterdir()] == [one[0].name]
    check_video(make_clip(0, 4), one[0])


def test_a_clip_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match=r"can't be written: .*; choose another folder"):
        clip_file(0, 4, tmp_path / "file")
