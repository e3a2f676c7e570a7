"""Questions: what an evaluation asks, from a file or from the text world.

Promises: the same name, n and seed give the same questions in the same order; media are absolute paths, or
clips that are made when they are asked about.
Does not: open media.
"""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pydantic import ValidationError

from r4agent.errors import MediaError, UsageError, one_line
from r4agent.evaluation.answers import score_answer
from r4agent.item import Item, Span
from r4agent.media.roots import Roots
from r4agent.protocol import question_text
from r4agent.textworld import Clip, Document, clip_file, make_clip
from r4agent.textworld.writer import SEEDS_A_WORLD, digest


@dataclass(frozen=True)
class Questions:
    """Items to be asked. name: what they are, for people. seed: of the choice among more. sha256: of the
    items, so that results of other questions are never taken for these."""

    name: str
    items: tuple[Item, ...]
    seed: int

    @property
    def sha256(self) -> str:
        text = "\n".join(item.model_dump_json() for item in self.items)
        return hashlib.sha256(text.encode()).hexdigest()

    def header(self) -> dict[str, Any]:
        """What a result file says of them."""
        return {"name": self.name, "n": len(self.items), "seed": self.seed, "sha256": self.sha256}


def of_textworld(level: int, n: int, seed: int) -> Questions:
    """One question of each of `n` clips, so that no two share a clip and intervals hold. They are the clips
    of world `seed`; one of which nothing can be asked is passed over."""
    if not 1 <= n <= SEEDS_A_WORLD:
        raise UsageError(f"n {n}: must be 1 to {SEEDS_A_WORLD}")
    if seed < 0:
        raise UsageError(f"seed {seed}: must be 0 or more")
    chosen: list[Item] = []
    for clip_seed in range(seed * SEEDS_A_WORLD, (seed + 1) * SEEDS_A_WORLD):
        clip = make_clip(level, clip_seed)
        items = clip.items
        if items:
            chosen.append(_with_digest(Random(f"question {level} {clip_seed}").choice(items), clip))
        if len(chosen) == n:
            break
    return Questions(f"text world, level {level}", tuple(chosen), seed)


def _with_digest(item: Item, clip: Clip | Document) -> Item:
    """The item and what its clip's file follows from, so that equal questions are of equal pixels."""
    return item.model_copy(update={"meta": item.meta | {"clip": digest(clip)}})


def of_file(
    path: str | Path, n: int | None = None, seed: int = 0, roots: Sequence[str | Path] = ()
) -> Questions:
    """The questions of a `.jsonl` file, its media beside it; `n` of them drawn by lot, or all.

    A file of questions may come from anyone, so media lie under its folder, or under one of `roots`.

    A row is an `Item`, or has `id`, `video`, `question`, `answers` and, where known, `t_start` and `t_end`
    or `page`, `box`, `text_h_px`, `choices`, `category`, `unanswerable`. Raises MediaError naming the line,
    or the file, that is not as it should be, before anything is asked.
    """
    path = Path(path)
    items = list(_rows(path))
    if not items:
        raise MediaError(f"{path}: holds no questions")
    twice = [id_ for id_, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise MediaError(f"{path}: the id {twice[0]!r} stands there twice; ids must differ")
    if n is not None and not 1 <= n <= len(items):
        raise UsageError(f"n {n}: {path} has {len(items)} questions")
    if n is not None:
        kept = sorted(Random(f"questions {seed}").sample(range(len(items)), n))
        items = [items[at] for at in kept]
    return Questions(path.name, tuple(_found(path, items, Roots([path.parent, *roots]))), seed)


def _found(path: Path, items: Sequence[Item], roots: Roots) -> Iterator[Item]:
    """The items, their media as real paths. MediaError names the first that is none, and says how many."""
    real: dict[str, str] = {}
    refused: dict[str, MediaError] = {}
    for name in dict.fromkeys(item.media for item in items):
        try:
            climbs = ".." in Path(name).parts  # from the file's folder, perhaps into a root
            real[name] = str(
                roots.resolve(os.path.normpath(path.parent.absolute() / name) if climbs else name)
            )
        except MediaError as error:
            refused[name] = error
    if refused:
        others = f" ({len(refused)} such)" if len(refused) > 1 else ""
        raise MediaError(f"{path}{others}: {next(iter(refused.values()))}; --root DIR allows another folder")
    for item in items:
        yield item.model_copy(update={"media": real[item.media]})


def media_of(item: Item, clips: Path) -> str:
    """The path of an item's media; a clip of the text world is made in `clips`, unless it is there."""
    if Path(item.media).is_absolute():
        return item.media
    media, _ = clip_file(item.meta["level"], item.meta["seed"], clips)
    return str(media)


def _rows(path: Path) -> Iterator[Item]:
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    item = _item(json.loads(line))
                    _check(item)
                    yield item
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the line"
        raise MediaError(f"{path}:{number}: not a question: {where}: {first['msg']}") from error
    except KeyError as error:
        raise MediaError(f"{path}:{number}: not a question: it lacks {error}") from error
    except UnicodeDecodeError as error:
        raise MediaError(f"{path}: not a text file: {one_line(error)}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise MediaError(f"{path}:{number}: not a question: {one_line(error)}") from error
    except OSError as error:
        raise MediaError(f"{path}: can't be read: {error.strerror}; name a file of questions") from error


def _item(row: dict[str, Any]) -> Item:
    """A row as an Item, whichever of the two forms it has."""
    if not isinstance(row, dict):
        raise TypeError("expected an object with id, video or media, question, answers")
    if "video" not in row:
        return Item.model_validate(row)
    for key in ("answers", "choices"):
        if not isinstance(row.get(key, []), list):
            raise TypeError(f"{key}: give a list of strings")
    known = {
        "text_height": row.get("text_h_px"),
        "category": row.get("category", Path(row["video"]).stem),
        "unanswerable": row.get("unanswerable"),
    }
    return Item(
        id=row["id"],
        media=row["video"],
        question=row["question"],
        answers=tuple(row["answers"]),
        choices=tuple(row.get("choices", ())),
        evidence=tuple(_spans(row)),
        meta={key: value for key, value in known.items() if value is not None},
    )


def _spans(row: dict[str, Any]) -> Iterator[Span]:
    if "t_start" in row:
        yield Span(start=row["t_start"], end=row["t_end"], box=row.get("box"))
    elif "page" in row:
        yield Span(start=row["page"], end=row["page"], box=row.get("box"), unit="page")
    elif "t_end" in row or row.get("box") is not None:
        raise ValueError(
            "where the answer stands lacks a moment: give t_start and t_end, or page (1 of a picture)"
        )


def _check(item: Item) -> None:
    """Raises what asking, scoring or writing down the item would raise, hours later."""
    if not item.question.strip():
        raise ValueError("question: is empty")
    if not item.media.strip():
        raise ValueError("video: is empty; name a file beside this one")
    question_text(item.question, item.choices)
    score_answer(item, "", "answered")
    height = item.meta.get("text_height")
    if height is not None and not (isinstance(height, int | float) and 0 < height < math.inf):
        raise ValueError(f"the height of the text is {height!r}: give pixels, or leave it out")
    item.model_dump_json()
