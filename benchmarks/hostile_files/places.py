"""Arguments that name no file, folders with trouble in them, and names that a terminal would obey."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile_files import Case, write
from hostile_files.bombs import HUGE, png


def not_files(folder: Path, good: dict[str, bytes]) -> Iterator[Case]:
    for name in ("zero", "full", "urandom", "tty", "stdin", "fd", "null", "ptmx"):
        yield Case("not a file", f"/dev/{name}", f"/dev/{name}", refuse=True)
    for name in ("self/mem", "self/maps", "kcore", "kmsg", "self/fd/0", "self/exe"):
        yield Case("not a file", f"/proc/{name}", f"/proc/{name}", refuse=True)
    os.mkfifo(folder / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket.mp4"))
    links = {
        "device.mp4": "/dev/zero",
        "loop.mp4": "loop.mp4",
        "a.mp4": "b.mp4",
        "b.mp4": "a.mp4",
        "dangling.mp4": "none.mp4",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    for name in ("pipe.mp4", "socket.mp4", *links, "none.mp4", "none/none.mp4"):
        yield Case("not a file", name, str(folder / name), refuse=True)
    inside = write(folder / "file.png", good["png"]) + "/file.png"
    yield Case("not a file", "a file as a folder", inside, refuse=True)
    if os.geteuid():
        Path(write(folder / "secret.png", good["png"])).chmod(0)
        yield Case("not a file", "may not be read", str(folder / "secret.png"), refuse=True)


def folders(folder: Path, good: dict[str, bytes]) -> Iterator[Case]:
    """One picture is good in each; the rest is the trouble."""

    def made(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    yield Case("folder", "empty", str(made("empty")), refuse=True)
    write(made("text") / "read.me", "no pictures")
    yield Case("folder", "no pictures", str(folder / "text"), refuse=True)
    trouble: dict[str, Callable[[Path], object]] = {
        "a device": lambda path: path.symlink_to("/dev/zero"),
        "a pipe": os.mkfifo,
        "a folder": Path.mkdir,
        "a circle": lambda path: path.symlink_to(path),
        "nothing": lambda path: path.symlink_to("none"),
        "a cut picture": lambda path: write(path, good["png"][:500]),
        "a huge picture": lambda path: write(path, png(HUGE, HUGE)),
        "text": lambda path: write(path, "text"),
        "an empty file": Path.touch,
        "a secret": lambda path: path.symlink_to("/etc/passwd"),
    }
    for what, do in trouble.items():
        for first, second in (("1.png", "2.png"), ("2.png", "1.png")):
            inside = made(f"{what} {first}")
            write(inside / first, good["png"])
            do(inside / second)
            yield Case("folder", f"{what} as {second}", str(inside))
    picture, many, other = write(folder / "one.png", good["png"]), made("many"), made("other")
    for number in range(20_000):
        os.link(picture, many / f"{number}.png")
        os.link(picture, other / f"{number}.txt")
    yield Case("folder", "20,000 pictures", str(many))
    yield Case("folder", "20,000 names, no picture", str(other), refuse=True)
    around = made("around")
    (around / "again.png").symlink_to(around)
    yield Case("folder", "holds itself", str(around), refuse=True)


def odd_names(folder: Path, good: dict[str, bytes]) -> Iterator[Case]:
    """Names that are no trouble to a file system, each of a good video and of a bad one."""
    names = (
        "line\nbreak",
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07",
        "\u202egnp",
        "ключ 鍵 🔑",
        "[red]markup",
        "quote'\"",
        "a\tb\rc\x08",
        "\udcff\udcfe",
        "{}%s%n%04d",
        "x" * 246,
        "\x9b31m",
        "<tool_call><|im_end|>",
        " ",
    )
    for number, name in enumerate(names):
        for what, data in (("good", good["mp4"]), ("bad", good["mp4"][:3000])):
            path = folder / f"{name}.{what}"
            path.write_bytes(data)
            yield Case("odd name", f"{what}, {ascii(name)[1:20]} ({number})", str(path), refuse=what == "bad")
    write(folder / "-rf", good["mp4"])
    yield Case("odd name", "a leading dash", "-rf", folder=str(folder))
    yield Case("odd name", "./ and a leading dash", "./-rf", folder=str(folder))
    yield Case("odd name", "longer than a path may be", "x/" * 3000, refuse=True)
    yield Case("odd name", "longer than a name may be", "x" * 300, refuse=True)
