"""What media lie under roots, by name.

Promises: names that `Roots.resolve` takes, in natural order within a folder; bounded work, however large the
folders are. Links are followed only where they stay inside.
Does not: open anything; what a file is, its suffix says here. Hidden files, and names that aren't plain
printable text, are left out.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from r4agent.errors import MediaError, printable
from r4agent.media.files import PICTURE_SUFFIXES
from r4agent.media.roots import Roots

VIDEOS = ".mp4 .m4v .mov .mkv .webm .avi .ts .mpg .mpeg .flv .ogv .wmv"
SUFFIXES = PICTURE_SUFFIXES | {".pdf", *VIDEOS.split()}
MOST = 500  # names
FOLDERS = 2000  # looked into


def media_under(roots: Roots) -> list[str]:
    """Names of media, each with its size; a last line says if there are more than are listed."""
    lines: list[str] = []
    for root in roots.paths:
        for path, files in _folders(root):
            for name in files:
                known = _name(roots, root, path / name)
                if known is not None:
                    lines.append(f"{known} ({(path / name).stat().st_size / 1e6:.1f} MB)")
                if len(lines) == MOST:
                    return [*lines, f"and more: only the first {MOST} are listed"]
    return lines


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders under a root with the media in each; what can't be listed is passed over."""
    for number, (path, folders, files) in enumerate(os.walk(root)):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield Path(path), sorted(name for name in files if name[0] != "." and _is_media(name))
        if number == FOLDERS:
            return


def _is_media(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and printable(name) == name and "<" not in name


def _name(roots: Roots, root: Path, path: Path) -> str | None:
    """By what a caller names the file: relative to its root, unless an earlier root has one of that name."""
    try:
        real = roots.resolve(path)
        short = str(path.relative_to(root))
        return short if roots.resolve(short) == real else str(path)
    except MediaError:  # a link that leads out
        return None
