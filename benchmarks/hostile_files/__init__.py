"""Hostile files: small good ones of every kind, and what can be done to them.

    python -m hostile_files FOLDER PORT        (in benchmarks/)

Writes the files into FOLDER, an empty one, and prints a Case a line, as JSON. Some name a good video beside
them, or 127.0.0.1:PORT, where the benchmark listens. The same seed gives the same files, for one version of
the encoders. Nothing hostile is opened here.
"""

from dataclasses import dataclass
from pathlib import Path

SEED = 1


@dataclass(frozen=True)
class Case:
    """kind: its class in the table. media: what is given to the command. refuse: exit code 3 is due.
    folder: where the command is started, if the argument is relative to it."""

    kind: str
    name: str
    media: str
    refuse: bool = False
    folder: str | None = None


def write(path: Path, data: bytes | str) -> str:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)
