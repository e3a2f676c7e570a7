"""The episode store: many episodes in few files, with an index to choose from. The log, grown up.

    store = EpisodeStore("data")
    store.gather("~/.cache/r4agent/episodes")
    for stored in store.select(status=["answered"], supported=["yes"], tools=["zoom"]):
        row = Row.of(stored.episode)

Promises: an episode is kept whole and once, by its id, however many processes write; what `add` returned from
survives a kill -9; the index is made from the shards, and again where it is missing or behind. Follow-up
questions are kept with the questions before them.
Does not: hold pixels. Episodes refer to pictures of a MediaStore; `r4 clean` keeps those that any store
refers to which was used under the same R4_HOME, or a log in `rollouts` or `aside` beside it: a GRPO run's,
which come into the store with its next checkpoint.

A store is a folder:
    shards/00000.jsonl   one whole episode a line: {"type": "stored", "schema": 1, "key": its id, "stage",
                         "item", "rewards", "lines": [header, messages…, end]}; a new shard after 64 MB
    index.sqlite         what can be asked of them
    lock                 held while something is written
"""

import contextlib
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r4agent.episode import Episode, Line
from r4agent.errors import MissingError, RunError, UsageError
from r4agent.item import Item
from r4agent.log import Locked, append, parse, unwritable
from r4agent.media.store import home
from r4agent.training.index import Entry, Index, Which
from r4agent.training.rows import thread

SCHEMA = 1
SHARD_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """An episode, with what its log can't know. stage: what it was made for, as `deliberate`; "" if for
    nothing. item: the task, where known. rewards: by name."""

    episode: Episode
    stage: str
    item: Item | None
    rewards: dict[str, float | None] | None


class EpisodeStore:
    """The store in `folder`, which is made when something is added. May be used from many threads and
    processes. shard_bytes: from which size on a shard is full."""

    def __init__(self, folder: str | Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder = Path(folder).absolute()
        self.shard_bytes = shard_bytes
        self._index = Index(self.folder / "index.sqlite")

    def add(
        self,
        episode: Episode,
        *,
        stage: str = "",
        item: Item | None = None,
        rewards: Mapping[str, float | None] | None = None,
    ) -> bool:
        """Keep an episode that has ended, after those it continues. Returns False when it is there already;
        one that had failed is replaced once it ended otherwise."""
        if episode.end is None:
            raise UsageError(f"episode {episode.id} has not ended; add it when it has")
        if episode.before is not None:
            self.add(episode.before, stage=stage)
        line = {
            "type": "stored",
            "schema": SCHEMA,
            "key": episode.id,
            "stage": stage,
            "item": item.model_dump(mode="json", exclude_defaults=True) if item else None,
            "rewards": dict(rewards) if rewards is not None else None,
            "lines": episode.lines,
        }
        with Locked(self.folder / "lock"):
            self.register()
            self._catch_up()
            known = self._index.get(episode.id)
            if known and (known.status != "failed" or episode.status == "failed"):
                return False
            self._write(line)
        return True

    def gather(self, logs: str | Path, *, stage: str = "") -> tuple[int, int]:
        """Add every episode of a folder of logs; returns how many were new, and how many are not yet at an
        end, which stay out."""
        paths = sorted(Path(logs).expanduser().glob("*.jsonl"))
        if not paths:
            raise UsageError(f"{logs}: has no episodes; name the folder of their .jsonl files")
        new = unfinished = 0
        for path in paths:
            episode = Episode.read(path)
            if any(part.end is None for part in thread(episode)):
                unfinished += 1
            else:
                new += self.add(episode, stage=stage)
        return new, unfinished

    def entries(self, **which: Any) -> list[Entry]:
        """What the index knows of the episodes that fit `Which(**which)`, in the order of writing."""
        chosen = Which(**which)
        self._current()
        return self._index.find(chosen)

    def select(self, **which: Any) -> Iterator[Stored]:
        """The episodes that fit `Which(**which)`, in the order of writing; each is read when it is due."""
        return map(self._read, self.entries(**which))

    def get(self, ident: str) -> Stored:
        """An episode by its id. Raises UsageError when it isn't there."""
        self._current()
        entry = self._index.get(ident)
        if entry is None:
            raise UsageError(f"{self.folder}: has no episode {ident}")
        return self._read(entry)

    def __len__(self) -> int:
        return len(self.entries())

    def pictures(self) -> set[str]:
        """Every picture that an episode here refers to."""
        return {ref for shard in self._shards() for ref in _refs(shard)}

    def register(self) -> None:
        """Tell `r4 clean` that there is this store, or will be."""
        mark = home() / "stores" / hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
        part = mark.with_name(f".{mark.name}-{os.getpid()}-{threading.get_ident()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (mark.is_file() and mark.read_text() == str(self.folder)):
                mark.parent.mkdir(parents=True, exist_ok=True)
                part.write_text(str(self.folder))
                part.replace(mark)
        except OSError as error:
            raise unwritable(mark, error) from error

    def _write(self, line: Line) -> None:
        """Append a line to the last shard, or to a new one, and to the index. The lock is held."""
        covered = self._index.covered()
        number = max(covered, default=0)
        size, lines = covered.get(number, (0, 0))
        if size >= self.shard_bytes:
            number, size, lines = number + 1, 0, 0
        data = (json.dumps(line, separators=(",", ":")) + "\n").encode()
        path = self._shard(number)
        entry = Entry.of(line, path, size, len(data))  # refuses what could not be indexed, before it stands
        with Locked(path) as file:
            append(file, data, path)
        self._index.add([entry], number, size + len(data), lines + 1)

    def _current(self) -> None:
        """See that the index knows all there is."""
        if not self._shards():
            raise MissingError(f"{self.folder}: no episode store; r4 episodes gather makes one")
        with Locked(self.folder / "lock"):
            self.register()
            self._catch_up()

    def _catch_up(self) -> None:
        """Index what was written since, and cut off what a kill left unfinished. The lock is held."""
        covered = self._index.covered()
        sizes = {int(shard.stem): shard.stat().st_size for shard in self._shards()}
        if any(sizes.get(number, 0) < size for number, (size, _) in covered.items()):
            self._index.forget()  # shards were taken away or cut
            covered = self._index.covered()
        for number, size in sizes.items():
            known, lines = covered.get(number, (0, 0))
            if known < size:
                self._index_rest(number, known, lines)

    def _index_rest(self, number: int, at: int, lines: int) -> None:
        """Index a shard from byte `at` on, which begins its line number `lines` + 1."""
        path = self._shard(number)
        with path.open("rb") as file:
            file.seek(at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with Locked(path) as torn:
                os.ftruncate(torn, at + len(whole))
        entries = []
        for raw in whole.splitlines(keepends=True):
            lines += 1
            entries.append(Entry.of(_line(raw, path, lines), path, at, len(raw)))
            at += len(raw)
        self._index.add(entries, number, at, lines)

    def _read(self, entry: Entry) -> Stored:
        path = self._shard(entry.shard)
        with path.open("rb") as file:
            file.seek(entry.offset)
            raw = file.read(entry.length)
        try:
            line = json.loads(raw)
            assert line["key"] == entry.id
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise RunError(
                f"{path}: episode {entry.id} is not where {self._index.path} says; delete that and run again"
            ) from error
        return Stored(
            Episode.of(line["lines"], path, lambda before: self.get(before).episode),
            line["stage"],
            Item.model_validate(line["item"]) if line["item"] else None,
            line["rewards"],
        )

    def _shards(self) -> list[Path]:
        return sorted((self.folder / "shards").glob("*.jsonl"))

    def _shard(self, number: int) -> Path:
        return self.folder / "shards" / f"{number:05}.jsonl"


def pictures_of_stores(*, forget: bool = False) -> set[str]:
    """Every picture that a store refers to which was used under this R4_HOME, or a rollout beside it.
    Raises MissingError for those that are not where they were, since their pictures would be lost; or
    forgets them."""
    marks = (home() / "stores").glob("[0-9a-f]*")  # without parts that a kill left
    known = {mark: Path(mark.read_text() or mark) for mark in marks}  # an empty one names no store
    gone = {mark: folder for mark, folder in known.items() if not folder.is_dir()}
    if gone and not forget:
        others = f" ({len(gone)} such)" if len(gone) > 1 else ""
        raise MissingError(
            f"the episode store {min(gone.values())}{others} is not there, and what it refers to would be "
            "deleted; mount it, or run r4 clean --forget if it is gone for good"
        )
    for mark in gone:
        mark.unlink(missing_ok=True)
    stores = [EpisodeStore(folder) for mark, folder in known.items() if mark not in gone]
    return {ref for store in stores for ref in _of_rollouts(store.folder.parent) | store.pictures()}


def _of_rollouts(run: Path) -> set[str]:
    """Pictures of a run's rollouts that are not in its store. A log goes from `rollouts` to `aside` or into
    the store, so they are read in this order and none is missed."""
    refs: set[str] = set()
    for kind in ("rollouts", "aside"):
        for folder, _, names in os.walk(run / kind):
            for name in names:
                if name.endswith(".jsonl"):
                    with contextlib.suppress(FileNotFoundError):  # it has gone on
                        refs |= _refs(Path(folder, name))
    return refs


def _refs(path: Path) -> set[str]:
    with path.open("rb") as lines:
        return {ref.decode() for line in lines for ref in re.findall(rb"img:[0-9a-f]{64}", line)}


def _line(raw: bytes, path: Path, number: int) -> Line:
    """A line of a shard. Raises RunError naming it when it is none."""
    [line] = parse(raw, path, first=number)
    missing = {"schema", "stage", "item", "rewards", "lines"} - set(line)
    if missing or line["type"] != "stored":
        raise RunError(f"{path}:{number}: not a stored episode; take the line out")
    if line["schema"] != SCHEMA:
        raise RunError(
            f"{path}:{number}: schema {line['schema']}; this version reads {SCHEMA}: update r4agent"
        )
    return line
