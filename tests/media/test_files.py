"""What may be opened at all, and what a refusal says."""

import os
import socket
from pathlib import Path
from random import Random

import pytest
from clips import draw

from r4agent.errors import MediaError
from r4agent.media import Limits, open_source


def refused(path: Path, match: str, limits: Limits | None = None) -> None:
    with pytest.raises(MediaError, match=match) as caught:
        open_source(path, limits=limits)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_or_not_a_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.mp4", "no such file")
    refused(Path("/dev/zero"), "is a device")
    os.mkfifo(tmp_path / "pipe.mp4")
    refused(tmp_path / "pipe.mp4", "is a pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        refused(tmp_path / "s", "is a socket")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    refused(tmp_path / "a", "links lead in a circle")
    refused(tmp_path / ("x" * 300), "cannot be read")


def test_empty_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "file is empty")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "readme.txt").write_text("no pictures")
    refused(folder, "folder without pictures")
    (folder / "device.png").symlink_to("/dev/zero")
    refused(folder, "is a device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    draw(1).save(tmp_path / "mine.png")
    (tmp_path / "mine.png").chmod(0)
    refused(tmp_path / "mine.png", "may not be read")


def test_limits_on_bytes_and_pictures(tmp_path: Path) -> None:
    for number in range(3):
        draw(number).save(tmp_path / f"{number}.png")
    refused(tmp_path, "3 pictures, more than 2", Limits(frames=2))
    refused(tmp_path, "more than the 100 allowed", Limits(file_bytes=100))
    refused(tmp_path / "0.png", "more than the 100 allowed", Limits(file_bytes=100))


@pytest.mark.parametrize(
    "content",
    [b"just some text\n" * 50, bytes(5000), Random(1).randbytes(5000), b"GIF89a", b"\x89PNG\r\n\x1a\n",
     b"%PDF-1.7\n", b"RIFF\xff\xff\xff\xffWEBPVP8X", b"\0\0\0\x20ftypisom" + bytes(100),
     b"\x1a\x45\xdf\xa3" + bytes(100)],
    ids=["text", "zeros", "noise", "gif", "png", "pdf", "webp", "mp4", "mkv"],  # alike in each worker
)  # fmt: skip
def test_junk_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    refused(tmp_path / "clip.mp4", r"clip\.mp4: ")


def test_the_id_follows_the_content(tmp_path: Path) -> None:
    draw(1).save(tmp_path / "a.png")
    draw(2).save(tmp_path / "b.png")
    (tmp_path / "copy").write_bytes((tmp_path / "a.png").read_bytes())

    def id_of(path: Path) -> str:
        with open_source(path, isolate=False) as source:
            return source.id

    assert id_of(tmp_path / "a.png") == id_of(tmp_path / "copy") != id_of(tmp_path / "b.png")
    before = id_of(tmp_path)
    assert before.startswith("src:")
    assert len(before) == 20
    draw(3).save(tmp_path / "c.png")
    assert id_of(tmp_path) != before
