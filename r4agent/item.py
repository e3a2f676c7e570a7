"""An Item: one task. The unit of asking, evaluation, curation and reward.

Promises: an immutable, JSON-able record of media, question and, where known, the accepted answers and
where the evidence stands. Rows of a `.jsonl` file are Items, one a line.
Does not: open the media or judge an answer.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from r4agent.errors import MediaError, one_line
from r4agent.geometry import Box


class Span(BaseModel):
    """Where an answer can be read: from `start` to `end` (seconds, or the first and last page,
    counted from 1), inside `box` (x0, y0, x1, y1 in source pixels)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start: float
    end: float
    box: tuple[float, float, float, float] | None = None
    unit: Literal["seconds", "page"] = "seconds"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start > self.end:
            raise ValueError(f"start {self.start:g} is after end {self.end:g}")
        if self.box and (self.box[0] >= self.box[2] or self.box[1] >= self.box[3]):
            raise ValueError(f"box {list(self.box)}: must be [x0, y0, x1, y1] with x0 < x1 and y0 < y1")
        return self

    @property
    def source_box(self) -> Box | None:
        return Box(*self.box) if self.box else None


class Item(BaseModel):
    """One question about one media file.

    media: a path, relative to the file that lists the item. answers: every accepted string, empty
    where unknown. choices: the options of a multiple-choice question. evidence: the spans in which the
    answer can be read; several when it stands in several places. meta: what a generator or a data set
    adds (level, seed, category); nothing in the loop reads it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    media: str
    question: str
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    evidence: tuple[Span, ...] = ()
    meta: dict[str, Any] = Field(default_factory=dict)


def read_items(path: str | Path) -> Iterator[Item]:
    """Items of a `.jsonl` file, in order. Raises MediaError naming the line that is not an Item."""
    path, number = Path(path), 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    yield Item.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the line"
        raise MediaError(f"{path}:{number}: not an Item: {where}: {first['msg']}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(f"{path}: can't be read as a list of items: {one_line(error)}") from error


def write_items(path: str | Path, items: Iterable[Item]) -> int:
    """Write a `.jsonl` file that `read_items` reads; returns how many."""
    count = 0
    try:
        with Path(path).open("w", encoding="utf-8") as out:
            for item in items:
                out.write(item.model_dump_json(exclude_defaults=True) + "\n")
                count += 1
    except OSError as error:
        raise MediaError(f"{path}: item {count + 1} can't be written: {one_line(error)}") from error
    return count
