"""The Episode: the log of one run, as a file of JSON lines that is only ever appended to.

Promises: a line is whole or not there; a message is written once, whoever runs the node again; what was
written before a kill -9 is read back, and only the line being written can be lost; the file holds
references to pictures, never pixels. It carries what replay, SFT, GRPO, the page and evaluation need.
Does not: judge the answer (evaluation does) or keep the pictures (MediaStore does).

A file is `<episode id>.jsonl`:
    {"type": "episode", "schema": 1, …}     once, first
    {"type": "message", "id": …, "after": …, …}  one for each message of the run
    {"type": "end", "status": …, …}         when the run ends; the last one counts (a failed run may resume)
"""

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from r4agent.errors import RunError, UsageError, one_line

SCHEMA = 1

Status = Literal["answered", "forced", "budget", "refused", "failed"]
"""answered · forced: the last turn demanded an answer and got one · budget: a hard limit ended the run
without one · refused: the policy says it can't be read · failed: an error ended it."""


class EpisodeLog:
    """The writing side. Holds no file open between writes, so a run may stop anywhere and another
    process may go on; concurrent writers are serialised by a lock on the file."""

    def __init__(self, folder: str | Path, episode: str) -> None:
        if not episode or not set(episode) <= set("0123456789abcdefghijklmnopqrstuvwxyz-"):
            raise UsageError(f"episode id {episode!r}: use lower-case letters, digits and dashes")
        self.path = Path(folder) / f"{episode}.jsonl"
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
        if not self.path.exists():
            return None
        with self._locked() as file:
            self._catch_up(file)
        return self._lines.get(key)

    def _locked(self) -> "_Locked":
        return _Locked(self.path)

    def _catch_up(self, file: int) -> None:
        """Read what others wrote since; cut off a line that a kill left unfinished."""
        size = os.fstat(file).st_size
        if size < self._size:
            raise RunError(f"{self.path} has shrunk: another program wrote to it; delete it and run again")
        data = os.pread(file, size - self._size, self._size)
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.ftruncate(file, self._size + len(whole))
        for line in _parse(whole, self.path):
            self._lines.setdefault(line["key"], line)
        self._size += len(whole)

    def _append(self, file: int, data: bytes) -> None:
        try:
            written = os.write(file, data)
            if written < len(data):  # the disk filled up in the middle of the line
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.ftruncate(file, self._size)
            raise _unwritable(self.path, error) from error
        self._size += len(data)


class _Locked:
    """The file, opened for appending and locked while in the `with` block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self.file, fcntl.LOCK_EX)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return self.file

    def __exit__(self, *_: object) -> None:
        os.close(self.file)


def _unwritable(path: Path, error: OSError) -> RunError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    todo = "free some space and run again" if full else "check its permissions or set R4_HOME elsewhere"
    return RunError(f"can't write the episode {path} ({error.strerror}); {todo}")


@dataclass(frozen=True)
class Episode:
    """The reading side: a whole episode, or as much of one as was written.

    header: media, question, policy, profile, budget, versions. messages: the lines of this run that led to
    its end.
    end: status, answer, evidence, spent; None when the run did not end. torn: whether the last line was
    cut off. Follow-up questions on a thread: `header["continues"]` names the episode before.
    """

    path: Path
    header: dict[str, Any]
    messages: tuple[dict[str, Any], ...] = ()
    end: dict[str, Any] | None = None
    torn: bool = False
    before: "Episode | None" = field(default=None, repr=False)

    @property
    def id(self) -> str:
        return str(self.header["id"])

    @property
    def status(self) -> Status | None:
        return self.end["status"] if self.end else None

    @property
    def history(self) -> tuple[dict[str, Any], ...]:
        """Every message the policy had seen by the end, those of earlier questions first."""
        return (*(self.before.history if self.before else ()), *self.messages)

    @classmethod
    def read(cls, path: str | Path) -> "Episode":
        """Read an episode file. Raises RunError naming the file and line when it is no episode."""
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RunError(f"episode {path}: can't be read ({error.strerror})") from error
        whole = data[: data.rfind(b"\n") + 1]
        lines = list(_parse(whole, path))
        if not lines or lines[0]["type"] != "episode":
            raise RunError(f"episode {path}: its first line is no episode header")
        header = lines[0]
        if header["schema"] != SCHEMA:
            raise RunError(f"episode {path}: schema {header['schema']}; this version reads {SCHEMA}")
        ends = [line for line in lines if line["type"] == "end"]
        before = header.get("continues")
        return cls(
            path,
            header,
            _chain(lines, ends[-1] if ends else None),
            ends[-1] if ends else None,
            torn=len(whole) < len(data),
            before=cls.read(path.with_name(f"{before}.jsonl")) if before else None,
        )


def pictures_of(folder: str | Path) -> set[str]:
    """Every picture that any episode in the folder refers to, whole or torn: what must be kept."""
    refs: set[str] = set()
    for path in Path(folder).glob("*.jsonl"):
        refs.update(re.findall(r"img:[0-9a-f]{64}", path.read_text(errors="replace")))
    return refs


def _chain(lines: list[dict[str, Any]], end: dict[str, Any] | None) -> tuple[dict[str, Any], ...]:
    """The messages that led to the end (or to the last message), oldest first. A run that was taken back
    and went another way has written lines that do not lead there; they stay in the file."""
    messages = {line["id"]: line for line in lines if line["type"] == "message"}
    at = end["after"] if end else next(reversed(messages), None)
    chain = []
    while at in messages:
        chain.append(messages[at])
        at = messages[at]["after"]
    return tuple(reversed(chain))


def _parse(data: bytes, path: Path) -> Iterator[dict[str, Any]]:
    for number, text in enumerate(data.splitlines(), start=1):
        try:
            line = json.loads(text)
            if not isinstance(line, dict) or not {"type", "key"} <= set(line):
                raise ValueError("not a line of an episode")
        except ValueError as error:
            raise RunError(f"episode {path}:{number}: {one_line(error)}; the file is damaged") from error
        yield line
