"""The Episode: the log of one run, as a file of JSON lines that is only ever appended to.

Promises: a line is whole or not there; a message is written once, whoever runs the node again; what was
written before a kill -9 is read back, and only the line being written can be lost; the file holds
references to pictures, never pixels. It carries what replay, SFT, GRPO, the page and evaluation need.
Does not: judge the answer (evaluation does) or keep the pictures (MediaStore does).

A file is `<episode id>.jsonl`:
    {"type": "episode", "schema": 2, …}     once, first
    {"type": "message", "id": …, "after": …, …}  one for each message of the run
    {"type": "end", "status": …, …}         when the run ends; the last one counts (a failed run may resume)
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from r4agent.errors import RunError, UsageError
from r4agent.log import Log, read_lines
from r4agent.media.view import Picture, pictures_in

Line = dict[str, Any]

SCHEMA = 2
"""2: the header says how a token-exact policy was sampled. Older files are read as if theirs did."""

Status = Literal["answered", "forced", "budget", "refused", "failed"]
"""answered · forced: the last turn demanded an answer and got one · budget: a hard limit ended the run
without one · refused: the policy says it can't be read · failed: an error ended it."""


class EpisodeLog(Log):
    """The writing side: the log of the episode with this id, in `folder`."""

    def __init__(self, folder: str | Path, episode: str) -> None:
        if not episode or not set(episode) <= set("0123456789abcdefghijklmnopqrstuvwxyz-"):
            raise UsageError(f"episode id {episode!r}: use lower-case letters, digits and dashes")
        super().__init__(Path(folder) / f"{episode}.jsonl")


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

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Every picture the policy had been shown by the end, in order."""
        return tuple(pictures_in(line["content"] for line in self.history))

    @property
    def lines(self) -> list[Line]:
        """The episode as lines that `of` reads: what led to the end, without ways that were taken back."""
        return [self.header, *self.messages, *([self.end] if self.end else [])]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read an episode file, and those it continues, beside it. Raises RunError naming the file and line
        when it is no episode."""
        path = Path(path)
        lines, torn = read_lines(path)
        return cls.of(lines, path, lambda before: cls.read(path.with_name(f"{before}.jsonl")), torn=torn)

    @classmethod
    def of(
        cls, lines: Sequence[Line], path: Path, earlier: Callable[[str], "Episode"], *, torn: bool = False
    ) -> Self:
        """An episode from its lines, of any schema so far. earlier: finds the one it continues, by id."""
        if not lines or lines[0]["type"] != "episode":
            raise RunError(f"episode {path}: its first line is no episode header")
        lines = migrated(lines, path)
        header = lines[0]
        ends = [line for line in lines if line["type"] == "end"]
        before = header.get("continues")
        return cls(
            path,
            header,
            _chain(lines, ends[-1] if ends else None),
            ends[-1] if ends else None,
            torn=torn,
            before=earlier(before) if before else None,
        )


def migrated(lines: Sequence[Line], path: Path) -> Sequence[Line]:
    """An episode's lines, the header first, in this version's schema. Raises RunError for a later one's."""
    schema = lines[0]["schema"]
    if schema != SCHEMA and schema not in _TO_NEXT:
        raise RunError(f"episode {path}: schema {schema}; this version reads up to {SCHEMA}: update r4agent")
    for version in range(schema, SCHEMA):
        lines = _TO_NEXT[version](lines)
    return lines


def _to_2(lines: Sequence[Line]) -> Sequence[Line]:
    """Schema 1 had temperature and top_p among what tells models apart."""
    header, *rest = lines
    model = header.get("model", {})
    drawn = {key: model.get(key) for key in ("temperature", "top_p")}
    sampling = drawn if header.get("token_exact") else None
    return [header | {"schema": 2, "sampling": sampling}, *rest]


_TO_NEXT: dict[int, Callable[[Sequence[Line]], Sequence[Line]]] = {1: _to_2}


def pictures_of(folder: str | Path) -> set[str]:
    """Every picture that any episode in the folder refers to, whole or torn: what must be kept."""
    refs: set[str] = set()
    for path in Path(folder).glob("*.jsonl"):
        refs.update(re.findall(r"img:[0-9a-f]{64}", path.read_text(errors="replace")))
    return refs


def _chain(lines: Sequence[Line], end: dict[str, Any] | None) -> tuple[dict[str, Any], ...]:
    """The messages that led to the end (or to the last message), oldest first. A run that was taken back
    and went another way has written lines that do not lead there; they stay in the file."""
    messages = {line["id"]: line for line in lines if line["type"] == "message"}
    at = end["after"] if end else next(reversed(messages), None)
    chain = []
    while at in messages:
        line = messages.pop(at)  # each once: a damaged file may lead in a circle
        chain.append(line)
        at = line["after"]
    return tuple(reversed(chain))
