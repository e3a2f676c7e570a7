"""Results: one evaluation as a file of JSON lines that is only ever appended to.

Promises: a header says everything that decided the figures; a question counts once, however often it was
asked or by how many processes; a run that failed is a row of its own kind and is replaced when it is tried
again. What was written before a kill -9 is read back.
Does not: score (answers, sight) or summarise (summary).

A file is:
    {"type": "results", "schema": 1, …}  once, first
    {"type": "row", "id": …, …}          one for each question that was asked
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from r4agent.episode import Status
from r4agent.errors import RunError
from r4agent.evidence import Supported
from r4agent.log import Log, read_lines

SCHEMA = 1


class Row(BaseModel):
    """One question, asked and scored.

    category: what tables group by. answer: None where there is none. scores: by name, in 0–1; None where the
    question can't have one (no known evidence, no choices); empty when status is `failed`.
    cost: turns, images, image_tokens, megapixels, decoded_frames, new_tokens, seconds.
    episode: path of its log; "" when it failed before there was one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    media: str
    question: str
    answers: tuple[str, ...]
    category: str
    status: Status
    answer: str | None = None
    supported: Supported = "unchecked"
    scores: dict[str, float | None] = {}
    cost: dict[str, float] = {}
    episode: str = ""
    error: str | None = None

    @property
    def failed(self) -> bool:
        return self.status == "failed"


@dataclass(frozen=True)
class Results:
    """The reading side. header: `questions` (what was asked: name, n, seed, sha256), `config` (policy, graph,
    control, budget, profile, reader), `prompt`, `versions`, `machine`. rows: in the order of writing."""

    path: Path
    header: dict[str, Any]
    rows: tuple[Row, ...]

    @property
    def scored(self) -> tuple[Row, ...]:
        """The rows that count: every one that did not fail."""
        return tuple(row for row in self.rows if not row.failed)

    @property
    def finished(self) -> bool:
        """Whether every question has been asked, and none failed."""
        return len(self.scored) == int(self.header["questions"]["n"])

    @property
    def title(self) -> str:
        """What was evaluated on what, in a few words."""
        config, questions = self.header["config"], self.header["questions"]
        how = config["control"] or config["graph"].replace("_", " ")
        return f"{config['policy']}, {how}: {questions['name']}"

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a result file. Raises RunError naming the file when it is none."""
        path = Path(path)
        lines, _ = read_lines(path)
        if (
            not lines
            or lines[0]["type"] != "results"
            or not {"schema", "questions", "config"} <= set(lines[0])
        ):
            raise RunError(f"{path}: not a result file of r4 eval")
        header = lines[0]
        if header["schema"] != SCHEMA:
            raise RunError(f"{path}: schema {header['schema']}; this version reads {SCHEMA}")
        rows: dict[str, Row] = {}
        try:
            for row in (Row.model_validate(line) for line in lines if line["type"] == "row"):
                if row.id not in rows or rows[row.id].failed:
                    rows[row.id] = row
        except ValidationError as error:
            raise RunError(f"{path}: a row is damaged: {error.errors()[0]['msg']}") from error
        return cls(path, header, tuple(rows.values()))


def write_row(log: Log, row: Row) -> None:
    """Append a row; one that did not fail counts once, whoever writes it."""
    key = f"failed-{row.id}-{time.time_ns()}" if row.failed else f"row-{row.id}"
    log.once(key, {"type": "row", **row.model_dump(mode="json")})
