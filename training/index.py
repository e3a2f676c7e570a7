"""The index of an episode store: what is asked of episodes before they are read, in one SQLite file.

Promises: it says nothing that the shards don't; one that is missing, damaged or of another version is made
anew from them.
Does not: lock. Whoever writes to it holds the store's lock.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from r4agent.episode import Line, Status, migrated
from r4agent.errors import RunError, UsageError, one_line
from r4agent.evidence import Supported

VERSION = 1
TABLES = """
CREATE TABLE IF NOT EXISTS shards (number INTEGER PRIMARY KEY, bytes INTEGER, lines INTEGER);
CREATE TABLE IF NOT EXISTS episodes (
    id TEXT PRIMARY KEY, shard INTEGER, offset INTEGER, length INTEGER, stage TEXT, status TEXT,
    supported TEXT, tools TEXT, exact INTEGER, turns INTEGER, pictures INTEGER, tokens INTEGER
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index knows of an episode: the bytes of a shard that it is; stage, status and support; tools
    that brought something, in alphabetical order with spaces around; whether its policy was token-exact;
    what it spent. tokens: of the whole conversation, pictures included; None where the policy doesn't say."""

    id: str
    shard: int
    offset: int
    length: int
    stage: str
    status: str
    supported: str
    tools: str
    exact: bool
    turns: int
    pictures: int
    tokens: int | None

    @classmethod
    def of(cls, stored: Line, path: Path, offset: int, length: int) -> "Entry":
        """From a line of the shard `path`, and where it stands there. Raises RunError where it has no log."""
        try:
            return cls._of(stored, path, offset, length)
        except (KeyError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {one_line(error)}"
            raise RunError(f"{path}: episode {stored['key']} is damaged ({what}); leave it out") from error

    @classmethod
    def _of(cls, stored: Line, path: Path, offset: int, length: int) -> "Entry":
        header, *messages, end = migrated(stored["lines"], path)
        replies = [line for line in messages if line["role"] == "ai"]
        names = {call["id"]: call["name"] for line in replies for call in line["tool_calls"]}
        seen = [line for line in messages if line["role"] == "tool" and line["status"] == "success"]
        tools = {names[line["tool_call_id"]] for line in seen if line["tool_call_id"] in names}
        usage = replies[-1]["usage_metadata"] if replies else None
        return cls(
            id=stored["key"],
            shard=int(path.stem),
            offset=offset,
            length=length,
            stage=stored["stage"],
            status=end["status"],
            supported=end["supported"],
            tools=" ".join(["", *sorted(tools), ""]),
            exact=bool(header["token_exact"]),
            turns=end["usage"]["turns"],
            pictures=end["usage"]["images"],
            tokens=usage["total_tokens"] if usage else None,
        )

    @classmethod
    def read(cls, row: Sequence[Any]) -> "Entry":
        """From a row of the index."""
        known = dict(zip((field.name for field in fields(cls)), row, strict=True))
        return cls(**known | {"exact": bool(known["exact"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which episodes are meant: those that fit all that is given. Of status, supported and stage, any of
    those named; of tools, all. exact: whether the policy was token-exact. max_tokens leaves out episodes
    whose tokens nobody counted. Raises UsageError for a status or support that there isn't."""

    status: Sequence[str] = ()
    supported: Sequence[str] = ()
    stage: Sequence[str] = ()
    tools: Sequence[str] = ()
    exact: bool | None = None
    max_turns: int | None = None
    max_pictures: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, known in (("status", get_args(Status)), ("supported", get_args(Supported))):
            for value in getattr(self, name):
                if value not in known:
                    raise UsageError(f"{name} {value!r}: must be one of {', '.join(known)}")

    def sql(self) -> tuple[str, list[Any]]:
        """As a condition of SQL, and the values in it."""
        terms, values = ["1"], list[Any]()
        for column in ("status", "supported", "stage"):
            if wanted := list(getattr(self, column)):
                terms.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                values += wanted
        for tool in self.tools:
            terms.append("instr(tools, ?)")
            values.append(f" {tool} ")
        if self.exact is not None:
            terms.append("exact = ?")
            values.append(self.exact)
        for column in ("turns", "pictures", "tokens"):
            if (most := getattr(self, f"max_{column}")) is not None:
                terms.append(f"{column} <= ?")
                values.append(most)
        return " AND ".join(terms), values


class Index:
    """The index in the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def covered(self) -> dict[int, tuple[int, int]]:
        """Of each shard, how many bytes and lines the index knows. Begins anew where the file is unusable, or
        of another version."""
        try:
            known = self._covered()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self._failed(error) from error
            known = None
        if known is not None:
            return known
        self.forget()
        return self._covered() or {}

    def forget(self) -> None:
        """Begin anew."""
        self.path.unlink(missing_ok=True)

    def add(self, entries: Sequence[Entry], shard: int, size: int, lines: int) -> None:
        """Note entries, and how far the shard is known now. Of several with one id the first counts, unless
        its run failed."""
        columns = [field.name for field in fields(Entry)]
        changed = ", ".join(f"{column} = excluded.{column}" for column in columns)
        with self._open() as database:
            database.executemany(
                f"INSERT INTO episodes ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
                f"ON CONFLICT (id) DO UPDATE SET {changed} WHERE episodes.status = 'failed'",
                map(astuple, entries),
            )
            database.execute("INSERT OR REPLACE INTO shards VALUES (?, ?, ?)", (shard, size, lines))

    def find(self, which: Which) -> list[Entry]:
        """The entries that fit, in the order in which they were written."""
        where, values = which.sql()
        return self._entries(f"{where} ORDER BY shard, offset", values)

    def get(self, ident: str) -> Entry | None:
        """The entry of an episode."""
        return next(iter(self._entries("id = ?", [ident])), None)

    def _entries(self, where: str, values: Sequence[Any]) -> list[Entry]:
        columns = ", ".join(field.name for field in fields(Entry))
        with self._open() as database:
            rows = database.execute(f"SELECT {columns} FROM episodes WHERE {where}", values)
            return [Entry.read(row) for row in rows]

    def _covered(self) -> dict[int, tuple[int, int]] | None:
        """None: the file is of another version."""
        with self._database() as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version not in (0, VERSION):
                return None
            database.executescript(TABLES)
            database.execute(f"PRAGMA user_version = {VERSION}")
            rows = database.execute("SELECT number, bytes, lines FROM shards")
            return {number: (size, lines) for number, size, lines in rows}

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._database() as database:
                yield database
        except sqlite3.Error as error:
            raise self._failed(error) from error

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction. What is in it can be made again, so no disk is waited for."""
        with closing(sqlite3.connect(self.path, timeout=60)) as database, database:
            database.execute("PRAGMA synchronous = OFF")
            yield database

    def _failed(self, error: sqlite3.Error) -> RunError:
        return RunError(f"{self.path}: {one_line(error)}; free some space, or delete it: it is made anew")
