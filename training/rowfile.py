"""Datasets of Hugging Face as files: Parquet, or lines of JSON with the pictures beside them.

Promises: pictures go out as the PNG data that the store has, and nothing is compressed again; both kinds of
file give the same dataset back.
Does not: know what the columns mean. Pictures are in a column `images`.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r4agent.errors import MissingError, R4Error, RunError, UsageError, one_line
from r4agent.media.store import MediaStore

if TYPE_CHECKING:
    from datasets import Dataset, Features

Record = dict[str, Any]


def datasets() -> Any:
    """The library. Raises MissingError where it isn't installed."""
    try:
        import datasets
    except ImportError as error:
        raise MissingError('no datasets: pip install "r4agent[train]"') from error
    return datasets


def generated(records: Iterator[Record], columns: "Features") -> "Dataset":
    """A dataset of records as they come; it lies in datasets' own cache, not in memory. The fingerprint is
    its own: by default what looks alike to pickle would share a cached dataset."""
    sets = datasets()
    made: Dataset
    first = next(records, None)
    if first is None:  # of which datasets can't generate one
        made = sets.Dataset.from_dict({name: [] for name in columns}, features=columns)
        return made
    try:
        made = sets.Dataset.from_generator(
            lambda: chain([first], records), features=columns, fingerprint=uuid.uuid4().hex
        )
    except sets.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, R4Error):  # ours, which says what to do
            raise error.__cause__ from None
        raise
    return made


def encoded(ref: str, pictures: MediaStore) -> Record:
    """A picture as a dataset takes it."""
    return {"bytes": pictures.png(ref), "path": None}


def save(dataset: "Dataset", out: Path) -> Path:
    """Write a `.parquet` file, which holds the pictures too, or a `.jsonl` file with them beside it, in the
    folder `<name>-pictures`. Returns `out`."""
    if out.suffix not in (".parquet", ".jsonl"):
        raise UsageError(f"{out}: name a .parquet or a .jsonl file")
    part = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".parquet":
            dataset.to_parquet(part)
        else:
            _save_lines(dataset, out, part)
        part.replace(out)  # whole or not at all
    except OSError as error:
        raise RunError(f"{out}: can't be written: {one_line(error)}") from error
    finally:
        part.unlink(missing_ok=True)
    return out


def load(path: Path, columns: "Features") -> "Dataset":
    """What `save` wrote. Raises UsageError where the columns are others."""
    if path.suffix not in (".parquet", ".jsonl"):
        raise UsageError(f"{path}: name a .parquet or a .jsonl file")
    Dataset = datasets().Dataset
    try:
        if path.suffix == ".jsonl":
            loaded = Dataset.from_list(list(_lines(path, set(columns))), features=columns)
        else:
            loaded = Dataset.from_parquet(str(path))
    except R4Error:
        raise
    except (OSError, ValueError) as error:  # which pyarrow's are
        raise RunError(f"{path}: can't be read as rows: {one_line(error)}") from error
    if missing := set(columns) - set(loaded.column_names):
        raise _other(path, missing)
    return loaded


def _save_lines(dataset: "Dataset", out: Path, part: Path) -> None:
    """Into the file `part`, which will be `out`."""
    sets = datasets()
    raw = dataset.cast_column("images", sets.List(sets.Image(decode=False)))
    with part.open("w", encoding="utf-8") as lines:
        for record in raw:
            paths = [_beside(out, image["bytes"]) for image in record["images"] or ()]
            known = {name: value for name, value in record.items() if value is not None}
            lines.write(json.dumps(known | {"images": paths}, ensure_ascii=False) + "\n")


def _beside(out: Path, png: bytes) -> str:
    """Write a picture into the folder beside `out`; returns its path from there."""
    name = f"{out.stem}-pictures/{hashlib.sha256(png).hexdigest()[:16]}.png"
    path = out.with_name(name.partition("/")[0]) / name.partition("/")[2]
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_bytes(png)
    return name


def _lines(path: Path, columns: set[str]) -> Iterator[Record]:
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(text)
            unknown = set(record) - columns
        except (ValueError, TypeError) as error:
            raise RunError(f"{path}:{number}: not a row: {one_line(error)}") from error
        if unknown:
            raise _other(f"{path}:{number}", unknown)
        if not isinstance(record.get("images"), list):
            raise RunError(f"{path}:{number}: a row without images; an empty list says that there are none")
        images = [{"bytes": _picture(path, number, name), "path": None} for name in record["images"]]
        yield dict.fromkeys(columns) | record | {"images": images}


def _picture(path: Path, number: int, name: str) -> bytes:
    """A picture that a row names. Rows may come from anyone, so their pictures lie under their folder."""
    picture = (path.parent / str(name)).resolve()
    if not picture.is_relative_to(path.parent.resolve()):
        raise RunError(f"{path}:{number}: image {name!r} is outside the file's folder; put it there")
    return picture.read_bytes()


def _other(where: Path | str, names: set[str]) -> UsageError:
    return UsageError(
        f"{where}: has other columns than expected ({', '.join(sorted(names))}); docs/episodes.md names "
        "those of each form"
    )
