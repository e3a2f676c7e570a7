"""A dozen of the benchmark's hostile files through the command, and that the benchmark can find fault."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import hostile
from hostile_files import Case, bombs, documents, write
from reportlab.lib.pdfencrypt import StandardEncryption

from r4agent.command import main
from r4agent.media import Limits

SMALL = Image.new("RGB", (64, 48), "white")


def cut(path: Path) -> str:
    out = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(out, "png")
    return write(path, out.getvalue()[:3000])


def looped(path: Path) -> str:
    path.symlink_to(path)
    return str(path)


def piped(path: Path) -> str:
    os.mkfifo(path)
    return str(path)


def playlist(path: Path) -> str:
    write(path.with_name("good.png"), bombs.png(8, 8, data=bytes(200)))
    return write(path, "#EXTM3U\n#EXTINF:2,\nfile:good.png\n#EXT-X-ENDLIST\n")


def locked(path: Path) -> str:
    return write(path, documents.document([SMALL], StandardEncryption("secret")))


REFUSED: dict[str, tuple[Callable[[Path], str], str]] = {
    "cut.png": (cut, "check that the file is complete"),
    "empty.mp4": (lambda path: write(path, b""), "the file is empty; give"),
    "text.mp4": (lambda path: write(path, "text\n" * 99), "not a picture, PDF or video"),
    "huge.png": (lambda path: write(path, bombs.png(100_000, 100_000)), "pixels allowed; scale it down"),
    "huge.gif": (lambda path: write(path, bombs.gif(65535, 65535, bombs.gif_frame(1, 1))), "pixels allowed"),
    "endless.gif": (
        lambda path: write(path, bombs.gif(1, 1, bombs.gif_frame(1, 1) * 100_001)),
        "cut it into",
    ),
    "locked.pdf": (locked, "remove its password first"),
    "loop.pdf": (lambda path: write(path, documents.pdf("<</Pages 2 0 R>>", "<</Kids[2 0 R]>>")), "; "),
    "loop.mp4": (looped, "links lead in a circle; give"),
    "pipe.mp4": (piped, "is a pipe; give"),
    "device": (lambda path: "/dev/zero", "is a device; give"),
    "list.mp4": (playlist, "not a picture, PDF or video"),
    "\x1b[31mred\nline.gif": (lambda path: write(path, b"GIF89a"), r"\x1b[31mred"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_line_and_exit_code_3(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("R4_HOME", str(tmp_path / "home"))
    make, says = REFUSED[name]
    code = main(["ask", make(tmp_path / name), "What does it say?", "--policy", "hostile:nothing", "--json"])
    out, err = capfd.readouterr()
    assert (code, out, err.count("\n")) == (3, "", 1), err
    assert err.startswith("r4: ")
    assert says in err
    assert hostile.NEXT_STEP.search(err)
    assert not hostile.CONTROL.search(err.encode())


def test_a_good_picture_of_the_most_pixels_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("R4_HOME", str(tmp_path / "home"))
    side = bombs.EDGE
    path = write(tmp_path / "large.png", bombs.png(side, side, 8, 0, bytes((side + 1) * side)))
    assert main(["ask", path, "What does it say?", "--policy", "hostile:nothing", "--json"]) == 1
    out, err = capfd.readouterr()
    assert json.loads(out)["usage"]["decoded_frames"] == 1
    assert err == ""
    assert side**2 <= Limits().frame_pixels


@pytest.mark.parametrize(
    ("code", "err", "memory", "reason"),
    [
        (3, "r4: x: is a pipe; give a regular file\n", 0, None),
        (3, "r4: x: is a pipe\n", 0, "no next step"),
        (3, "r4: x: is a pipe; give a file\nand more\n", 0, "2 lines on standard error"),
        (3, "r4: \x1b[31mx: is a pipe; give a file\n", 0, "control characters"),
        (3, "r4: x: is a pipe; give a regular file\n", 1 << 30, "1024 MB"),
        (1, "", 0, "exit code 1"),
        (70, "r4: internal error: TypeError: x; set R4_DEBUG=1, and report it\n", 0, "exit code 70"),
        (1, "Traceback (most recent call last):\n", 0, "a traceback"),
        (-11, "", 0, "exit code -11"),
    ],
)
def test_the_benchmark_finds_fault(
    tmp_path: Path, code: int, err: str, memory: int, reason: str | None
) -> None:
    (tmp_path / "0.out").write_text("")
    (tmp_path / "0.err").write_text(err)
    run = hostile.Run(Case("kind", "name", "x", refuse=True), 0, tmp_path / "0.out", memory=memory, code=code)
    assert (reason in run.reasons) if reason else run.reasons == []
