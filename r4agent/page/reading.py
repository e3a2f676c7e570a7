"""Reading: an episode for a page, also one whose file is damaged.

Promises: what can be read is read, and what can't is said; only a file without an episode's header is
refused, with an error of one line.
Does not: repair files.
"""

import json
import os
from pathlib import Path
from typing import Any

from r4agent.episode import Episode, migrated
from r4agent.errors import RunError, UsageError, one_line
from r4agent.log import read_lines
from r4agent.media.store import home

HEADER = 64 << 20  # bytes of a first line, at most: it holds the question


def find(name: str) -> Path:
    """The file that a command's argument means: a path, or the id of an episode under `home()`."""
    path = Path(name)
    if os.path.exists(name):  # unlike Path's, false for a name that is too long
        return path
    episode = home() / "episodes" / f"{name}.jsonl"
    if "/" not in name and os.path.isfile(episode):
        return episode
    raise UsageError(f"{name}: no such file or folder, and no episode of that id in {episode.parent}")


def read_episode(path: Path) -> tuple[Episode, str | None]:
    """The episode, and what is wrong with its file, if anything."""
    try:
        return Episode.read(path), None
    except (RunError, KeyError, TypeError, ValueError) as error:  # the latter: lines with other keys
        lines = _whole_lines(path)
        if not lines or lines[0].get("type") != "episode" or not isinstance(lines[0].get("schema"), int):
            raise RunError(one_line(error)) from error
        lines = list(migrated(lines, path))
        messages = tuple(line for line in lines if line.get("type") == "message")
        ends = [line for line in lines if line.get("type") == "end"]
        return Episode(path, lines[0], messages, ends[-1] if ends else None), one_line(error)


def kind_of(path: Path) -> str | None:
    """What a log's first line says it is: `episode`, `results`; None when it is no log."""
    if not path.is_file():  # a pipe would keep us waiting
        return None
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(HEADER))
    except (OSError, ValueError, RecursionError):
        return None
    kind = first.get("type") if isinstance(first, dict) else None
    return kind if isinstance(kind, str) else None


def raw_lines(path: Path, most: int) -> tuple[str, bool]:
    """The file as text, at most so many characters of it, and whether that is all."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return text[:most], len(text) <= most


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that can be read. Raises RunError when the file can't be."""
    try:
        return read_lines(path)[0]
    except RunError:
        if not path.is_file():
            raise
    found = []
    for text in path.read_bytes().splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict):
            found.append(line)
    return found
