"""What a path is, before anything decodes it: checked, fingerprinted, and told apart by content.

Promises: only regular files and folders of them pass, within the limits; devices, pipes, sockets, link
loops, missing and empty files are a MediaError that says what to do. The kind comes from the first bytes,
never from the suffix, except inside a folder, where suffixes say which files are pictures.
Does not: parse media; everything here is safe on a hostile file.
"""

import errno
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Literal

from r4agent.errors import MediaError
from r4agent.media.limits import Limits

Family = Literal["folder", "pdf", "still", "video"]

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
BLOCK = 64 * 1024


def check(path: Path, limits: Limits) -> None:
    """Raises MediaError unless `path` is a readable file or folder of pictures within the limits."""
    info = _stat(path)
    if stat.S_ISDIR(info.st_mode):
        pictures = pictures_in(path)
        if not pictures:
            known = " ".join(sorted(PICTURE_SUFFIXES))
            raise MediaError(f"{path}: a folder without pictures; put files in it that end in {known}")
        if len(pictures) > limits.frames:
            raise MediaError(f"{path}: {len(pictures)} pictures, more than {limits.frames}; split the folder")
        size = sum(_stat(picture).st_size for picture in pictures)
    else:
        _check_regular(path, info)
        if info.st_size == 0:
            raise MediaError(f"{path}: the file is empty; give one with pictures in it")
        size = info.st_size
    if size > limits.file_bytes:
        raise MediaError(f"{path}: {size} bytes, more than the {limits.file_bytes} allowed; cut it first")


def pictures_in(folder: Path) -> list[Path]:
    """The folder's pictures, by suffix, in natural order: frame2 comes before frame10."""
    try:
        found = [p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.name[0] != "."]
    except OSError as error:
        raise _refusal(folder, error) from error
    for path in found:
        _check_regular(path, _stat(path))
    return sorted(found, key=lambda p: [_natural(part) for part in re.split(r"(\d+)", p.name)])


def _natural(part: str) -> tuple[int, int, str]:
    return (0, int(part), part) if part.isdecimal() else (1, 0, part.lower())


def family(path: Path) -> Family:
    """What opens this file, told by its content."""
    if path.is_dir():
        return "folder"
    head = _read(path, 0, 1024)
    if b"%PDF-" in head:
        return "pdf"
    still = (
        head.startswith((b"GIF87a", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")
        or head[4:12] in (b"ftypavif", b"ftypavis")
    )
    return "still" if still else "video"


def fingerprint(path: Path) -> str:
    """`src:` and 16 hex digits of the size and of blocks at the head, middle and end; for a folder, of
    its pictures' names, sizes and heads."""
    digest = hashlib.sha256()
    if path.is_dir():
        for picture in pictures_in(path):
            digest.update(f"{picture.name}\0{_stat(picture).st_size}\0".encode(errors="surrogateescape"))
            digest.update(_read(picture, 0, 4096))
    else:
        size = _stat(path).st_size
        digest.update(str(size).encode())
        for offset in (0, size // 2, max(0, size - BLOCK)):
            digest.update(_read(path, offset, BLOCK))
    return "src:" + digest.hexdigest()[:16]


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from error


def _check_regular(path: Path, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        names = {stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe",
                 stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}  # fmt: skip
        what = names.get(stat.S_IFMT(info.st_mode), "not a file")
        raise MediaError(f"{path}: is {what}; give a regular file or a folder of pictures")


def _read(path: Path, offset: int, length: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError | ValueError) -> MediaError:
    match getattr(error, "errno", None):
        case errno.ENOENT | errno.ENOTDIR:
            return MediaError(f"{path}: no such file or folder; check the path")
        case errno.ELOOP:
            return MediaError(f"{path}: its links lead in a circle; give the file itself")
        case errno.EACCES | errno.EPERM:
            return MediaError(f"{path}: may not be read; change its permissions (chmod +r)")
        case _:
            return MediaError(f"{str(path)!r}: cannot be read ({error}); check the path")
