"""Rows for others, and back: a store's episodes as a Hugging Face dataset of token-exact rows with pictures.

    dataset = to_dataset(store.select(supported=["yes"]), MediaStore())
    save(dataset, Path("rows.parquet"))
    for row in rows(load(Path("rows.parquet")), MediaStore()):  # on another machine
        ...

Promises: what comes back is equal: rows, items, rewards, whole episodes, and pictures to the pixel. A picture
that was changed on the way, as by JPEG, is an error that names it and its episode. docs/episodes.md has the
schema.
Does not: need a tokenizer, or know chat templates (`r4agent.training.messages` does).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r4agent.episode import Episode
from r4agent.errors import RunError, UsageError, one_line
from r4agent.item import Item
from r4agent.media.store import MediaStore
from r4agent.training.rowfile import Record, datasets, encoded, generated
from r4agent.training.rows import Row, thread
from r4agent.training.store import Stored

if TYPE_CHECKING:
    from datasets import Dataset, Features

TOKENS = ("ids", "turns", "logprobs", "grids", "taught", "temperature", "top_p")


def features() -> "Features":
    """The columns of a row: the item, how the episode ended, its tokens, its pictures, its log. An item alone
    has the first; an episode whose item nobody knows, the rest."""
    sets = datasets()
    Features, Image, List, Value = sets.Features, sets.Image, sets.List, sets.Value
    text, number = Value("string"), Value("float64")
    span = {"start": number, "end": number, "box": List(number), "unit": text}
    return Features(
        {
            **dict.fromkeys(("id", "media", "question"), text),
            **dict.fromkeys(("answers", "choices"), List(text)),
            "evidence": List(span),
            "meta": text,
            **dict.fromkeys(("episode", "stage", "status", "supported"), text),
            "rewards": List({"name": text, "value": number}),
            "ids": List(Value("int32")),
            "turns": List(Value("int32")),
            "logprobs": List(number),
            "refs": List(text),
            "grids": List(List(Value("int32"))),
            "taught": Value("bool"),
            "temperature": number,
            "top_p": number,
            "images": List(Image()),
            "log": text,
        }
    )


def to_dataset(things: "Iterable[Stored | Item]", pictures: MediaStore) -> "Dataset":
    """Token-exact episodes, or items that were not asked yet, one a row. Raises UsageError for an episode
    whose policy was not token-exact, MediaError for a picture that is not in `pictures`."""

    def records() -> Iterator[Record]:
        for thing in things:
            yield _of_item(thing) if isinstance(thing, Item) else _of_stored(thing, pictures)

    return generated(records(), features())


def rows(dataset: "Dataset", pictures: MediaStore) -> Iterator[Row]:
    """The rows of a dataset, their pictures put into `pictures`. Items alone are passed over."""
    for record in dataset:
        if record["ids"] is not None:
            row = _row(record, _tokenizer(record))
            _keep(record, pictures)
            yield row


def episodes(dataset: "Dataset", pictures: MediaStore) -> Iterator[Stored]:
    """The episodes of a dataset, whole, their pictures put into `pictures`. Raises RunError where the tokens
    are no longer those of the log."""
    for record in dataset:
        if record["log"] is None:
            continue
        stored = _stored(record)
        row = Row.of(stored.episode)
        if row != _row(record, row.tokenizer):
            raise RunError(
                f"episode {record['episode']}: its tokens are not those of its log; export it anew"
            )
        _keep(record, pictures)
        yield stored


def items(dataset: "Dataset") -> Iterator[Item]:
    """The items of a dataset, asked or not; episodes without one are passed over."""
    return (_item(record) for record in dataset if record["id"] is not None)


def _of_item(item: Item) -> Record:
    known = item.model_dump(mode="json")
    return dict.fromkeys(features()) | known | {"meta": json.dumps(item.meta)}


def _of_stored(stored: Stored, pictures: MediaStore) -> Record:
    episode = stored.episode
    row = Row.of(episode)
    given = _of_item(stored.item) if stored.item else dict.fromkeys(features())
    rewards = stored.rewards
    return given | {
        "episode": row.episode,
        "stage": stored.stage,
        "status": episode.status,
        "supported": (episode.end or {}).get("supported"),
        "rewards": None if rewards is None else [{"name": n, "value": v} for n, v in rewards.items()],
        **{name: getattr(row, name) for name in TOKENS},
        "refs": row.images,
        "images": [encoded(ref, pictures) for ref in row.images],
        "log": json.dumps([part.lines for part in thread(episode)]),
    }


def _row(record: Mapping[str, Any], tokenizer: str | None) -> Row:
    try:
        return Row(
            episode=record["episode"],
            images=tuple(record["refs"]),
            grids=tuple((grid[0], grid[1], grid[2]) for grid in record["grids"]),
            ids=tuple(record["ids"]),
            turns=tuple(record["turns"]),
            logprobs=tuple(record["logprobs"]),
            taught=record["taught"],
            temperature=record["temperature"],
            top_p=record["top_p"],
            tokenizer=tokenizer,
        )
    except (KeyError, TypeError, IndexError) as error:
        raise UsageError(f"a row without tokens, or not of r4 episodes export: {one_line(error)}") from error


def _tokenizer(record: Mapping[str, Any]) -> str | None:
    """Whose tokens a row has stands in its log alone, whose first line is its own episode's header. Rows
    without a log don't say."""
    if not record.get("log"):
        return None
    try:
        digest: str | None = json.loads(record["log"])[0][0]["model"].get("tokenizer")
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise UsageError(f"a row whose log can't be read: {one_line(error)}; export it anew") from error
    return digest


def _item(record: Mapping[str, Any]) -> Item:
    known = {name: record[name] for name in ("id", "media", "question", "answers", "choices", "evidence")}
    return Item.model_validate(known | {"meta": json.loads(record["meta"])})


def _stored(record: Mapping[str, Any]) -> Stored:
    parts = {lines[0]["id"]: lines for lines in json.loads(record["log"])}

    def episode(ident: str) -> Episode:
        return Episode.of(parts[ident], Path(f"{ident}.jsonl"), episode)

    rewards = record["rewards"]
    return Stored(
        episode(record["episode"]),
        record["stage"],
        _item(record) if record["id"] is not None else None,
        None if rewards is None else {reward["name"]: reward["value"] for reward in rewards},
    )


def _keep(record: Mapping[str, Any], pictures: MediaStore) -> None:
    """Put a record's pictures into the store; they must be what their names say."""
    for number, (ref, image) in enumerate(zip(record["refs"], record["images"], strict=True), start=1):
        if pictures.put(image) != ref:
            raise RunError(
                f"episode {record['episode']}, image {number}: its pixels are not those of {ref}; was it "
                "compressed on the way? Keep pictures as PNG"
            )
