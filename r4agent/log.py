"""A log: a file of JSON lines that is only ever appended to. Episodes and results are such files.

Promises: a line is whole or not there, and is written once under its key, whoever writes it; what was written
before a kill -9 is read back, and only the line being written can be lost; several processes may write.
Does not: know what the lines say.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from r4agent.errors import RunError, one_line


class Log:
    """The writing side. Holds no file open between writes, so a run may stop anywhere and another
    process may go on; concurrent writers are serialised by a lock on the file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._size = 0
        self._lines: dict[str, dict[str, Any]] = {}

    def once(self, key: str, line: dict[str, Any]) -> dict[str, Any]:
        """Append `line` unless one with this key is there; returns the one that is there."""
        data = (json.dumps({**line, "key": key}, separators=(",", ":")) + "\n").encode()
        with self._locked() as file:
            self._catch_up(file)
            if key not in self._lines:
                self._append(file, data)
                self._lines[key] = json.loads(data)
            return self._lines[key]

    def get(self, key: str) -> dict[str, Any] | None:
        """The line written under this key, by this process or another."""
        try:
            size = os.stat(self.path).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        if size != self._size:
            with self._locked() as file:
                self._catch_up(file)
        return self._lines.get(key)

    def _locked(self) -> "Locked":
        return Locked(self.path)

    def _catch_up(self, file: int) -> None:
        """Read what others wrote since; cut off a line that a kill left unfinished."""
        size = os.fstat(file).st_size
        if size < self._size:
            raise RunError(f"{self.path} has shrunk: another program wrote to it; delete it and run again")
        data = os.pread(file, size - self._size, self._size)
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.ftruncate(file, self._size + len(whole))
        for line in parse(whole, self.path):
            self._lines.setdefault(line["key"], line)
        self._size += len(whole)

    def _append(self, file: int, data: bytes) -> None:
        append(file, data, self.path)
        self._size += len(data)


def append(file: int, data: bytes, path: Path) -> None:
    """Append to a file that is opened for that and locked: all of `data`, or nothing and RunError."""
    size = os.fstat(file).st_size
    try:
        written = os.write(file, data)
        if written < len(data):  # the disk filled up in the middle of the line
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        os.ftruncate(file, size)
        raise unwritable(path, error) from error


class Locked:
    """The file, opened for appending and locked while in the `with` block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> int:
        try:
            try:
                self.file = self._opened()
            except FileNotFoundError:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.file = self._opened()
            fcntl.flock(self.file, fcntl.LOCK_EX)
        except OSError as error:
            raise unwritable(self.path, error) from error
        return self.file

    def __exit__(self, *_: object) -> None:
        os.close(self.file)

    def _opened(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def unwritable(path: Path, error: OSError) -> RunError:
    """Why a file could not be written, and what to do."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    todo = "free some space and run again" if full else "check its permissions or set R4_HOME elsewhere"
    return RunError(f"can't write {path} ({error.strerror}); {todo}")


def read_lines(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """Every whole line of a log, and whether its last line was cut off. Raises RunError naming the file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: can't be read ({error.strerror})") from error
    whole = data[: data.rfind(b"\n") + 1]
    return list(parse(whole, path)), len(whole) < len(data)


def parse(data: bytes, path: Path, first: int = 1) -> Iterator[dict[str, Any]]:
    """The lines of a log, of which `data` begins with number `first`. Raises RunError naming the line."""
    for number, text in enumerate(data.splitlines(), start=first):
        try:
            line = json.loads(text)
            if not isinstance(line, dict) or not {"type", "key"} <= set(line):
                raise ValueError("not a line of a log")
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path}:{number}: {one_line(error)}; the file is damaged") from error
        yield line
