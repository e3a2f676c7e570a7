"""Each invariant of training, broken once: the error names episode, turn and picture."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from r4agent import MediaStore
from r4agent.engines import Checkpoint
from r4agent.engines.pixels import Pixels
from r4agent.errors import MediaError, RunError, UsageError
from r4agent.training.checks import check, check_inputs
from r4agent.training.collator import inputs
from r4agent.training.rows import Row

from .conftest import SCRIPTS, Played, play

Put = Callable[[Image.Image], str]


@pytest.fixture
def row(episodes: Played) -> Row:
    """Four turns, six pictures: the overview v1 and v2, v3 in turn 2, v4 and v5 in turn 3, v6 in turn 4."""
    return Row.of(episodes.episodes[0])


def changed(values: tuple[Any, ...], at: int, value: Any) -> tuple[Any, ...]:
    return (*values[:at], value, *values[at + 1 :])


def test_real_rows_pass(episodes: Played, checkpoint: Checkpoint) -> None:
    for episode in episodes.episodes:
        check(Row.of(episode), checkpoint, episodes.pictures, for_rl=True)


def first_of(row: Row, turn: int) -> int:
    """Where a turn's sampled ids begin."""
    return row.turns.index(turn)


@pytest.mark.parametrize("kind", ["ids", "turns", "logprobs"])
def test_lengths_that_differ(row: Row, episodes: Played, checkpoint: Checkpoint, kind: str) -> None:
    short = replace(row, **{kind: getattr(row, kind)[:-1]})
    with pytest.raises(RunError, match=rf"episode {row.episode}: \d+ ids, \d+ turns and \d+ logprobs"):
        check(short, checkpoint, episodes.pictures)


@pytest.mark.parametrize("kind", ["images", "grids"])
def test_a_picture_without_a_token(row: Row, episodes: Played, checkpoint: Checkpoint, kind: str) -> None:
    fewer = replace(row, **{kind: getattr(row, kind)[:-1]})
    with pytest.raises(RunError, match=rf"episode {row.episode}: 6 image tokens, \d pictures and \d grids"):
        check(fewer, checkpoint, episodes.pictures)


def test_a_fork(row: Row, episodes: Played, checkpoint: Checkpoint) -> None:
    """A history that was edited starts anew: earlier turns are gone, or come again."""
    begun = first_of(row, 3)
    kept = {name: getattr(row, name)[begun:] for name in ("ids", "turns", "logprobs")}
    images = kept["ids"].count(checkpoint.image_token)
    anew = replace(row, **kept, images=row.images[6 - images :], grids=row.grids[6 - images :])
    with pytest.raises(
        RunError, match=f"episode {row.episode}: its turns are not in order, or one is missing"
    ):
        check(anew, checkpoint, episodes.pictures)
    swapped = replace(row, turns=tuple({1: 2, 2: 1}.get(turn, turn) for turn in row.turns))
    with pytest.raises(RunError, match="its history was edited"):
        check(swapped, checkpoint, episodes.pictures)


def test_nothing_was_sampled(row: Row, episodes: Played, checkpoint: Checkpoint) -> None:
    with pytest.raises(RunError, match=f"episode {row.episode}: nothing in it was sampled"):
        check(replace(row, turns=(0,) * len(row.ids)), checkpoint, episodes.pictures)


def test_an_id_that_the_model_has_not(row: Row, episodes: Played, checkpoint: Checkpoint) -> None:
    foreign = replace(row, ids=changed(row.ids, first_of(row, 3), checkpoint.vocabulary))
    with pytest.raises(RunError, match=rf"episode {row.episode}, turn 3: token \d+, and .* has \d+; train"):
        check(foreign, checkpoint, episodes.pictures)


def test_ids_of_another_tokenizer(row: Row, episodes: Played, checkpoint: Checkpoint) -> None:
    assert row.tokenizer == checkpoint.tokenizer_digest
    check(replace(row, tokenizer=None), checkpoint, episodes.pictures)  # of an older log, which says nothing
    with pytest.raises(RunError, match=f"episode {row.episode}: its ids are not those of .*; train"):
        check(replace(row, tokenizer="0" * 16), checkpoint, episodes.pictures)


def test_a_vision_token_that_was_sampled(row: Row, episodes: Played, checkpoint: Checkpoint) -> None:
    banned = checkpoint.token("<|vision_start|>")
    sampled = replace(row, ids=changed(row.ids, first_of(row, 2), banned))
    with pytest.raises(RunError, match=rf"episode {row.episode}, turn 2: <\|vision_start\|> was sampled"):
        check(sampled, checkpoint, episodes.pictures)


def test_more_tokens_than_the_model_takes(row: Row, episodes: Played, checkpoint: Checkpoint) -> None:
    text = checkpoint.config["text_config"]
    small = {**checkpoint.config, "text_config": {**text, "max_position_embeddings": len(row.ids)}}
    with pytest.raises(UsageError, match=rf"episode {row.episode}, turn 4: \d+ tokens, and .* takes \d+;"):
        check(row, replace(checkpoint, config=small), episodes.pictures)


@pytest.mark.parametrize(("number", "turn"), [(0, 1), (2, 2), (4, 3), (5, 4)])
def test_a_picture_that_is_gone(
    row: Row, checkpoint: Checkpoint, episodes: Played, tmp_path: Path, number: int, turn: int
) -> None:
    store = MediaStore(tmp_path)
    gone = row.images[number]
    for ref in set(row.images) - {gone}:
        store.put(episodes.pictures.get(ref))
    place = rf"episode {row.episode}, turn {turn}, image {number + 1} \({gone}\): "
    with pytest.raises(MediaError, match=place + ".*not in the store"):
        check(row, checkpoint, store)


def test_a_picture_whose_pixels_are_others(
    row: Row, checkpoint: Checkpoint, episodes: Played, tmp_path: Path
) -> None:
    store = MediaStore(tmp_path)
    for ref in row.images:
        store.put(episodes.pictures.get(ref))
    picture = store.get(row.images[2])
    picture.putpixel((3, 3), (1, 2, 3))
    picture.save(store.path(row.images[2]))
    with pytest.raises(MediaError, match=r"turn 2, image 3 \(img:.*holds other pixels than its name says"):
        check(row, checkpoint, MediaStore(tmp_path))


def test_a_grid_that_is_not_the_pictures(row: Row, episodes: Played, checkpoint: Checkpoint) -> None:
    rows, columns = row.grids[4][1:]
    turned = replace(row, grids=changed(row.grids, 4, (1, columns, rows)))
    with pytest.raises(
        RunError, match=r"turn 3, image 5 \(img:.*is 280x168, a grid of .* counts \(1, 20, 12\)"
    ):
        check(turned, checkpoint, episodes.pictures)


@pytest.mark.parametrize("size", [(70, 84), (28, 28)])  # a half cell; too few pixels
def test_a_picture_that_would_be_resized(
    row: Row, episodes: Played, checkpoint: Checkpoint, size: tuple[int, int]
) -> None:
    ref = episodes.pictures.put(Image.new("RGB", size))
    grid = (1, size[1] // 14, size[0] // 14)
    other = replace(row, images=changed(row.images, 0, ref), grids=changed(row.grids, 0, grid))
    with pytest.raises(
        RunError, match=rf"turn 1, image 1 \({ref}\): {size[0]}x{size[1]} would be resized by"
    ):
        check(other, checkpoint, episodes.pictures)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"taught": True}, "a teacher dictated it"),
        ({"temperature": 0.0}, "sampled at temperature 0 and top_p 1; RL needs 1 and 1"),
        ({"top_p": 0.9}, "sampled at temperature 1 and top_p 0.9"),
    ],
)
def test_what_was_sampled_otherwise_is_for_sft_only(
    row: Row, episodes: Played, checkpoint: Checkpoint, change: dict[str, Any], told: str
) -> None:
    other = replace(row, **change)
    check(other, checkpoint, episodes.pictures)
    with pytest.raises(UsageError, match=f"episode {row.episode}: {told}"):
        check(other, checkpoint, episodes.pictures, for_rl=True)


@pytest.mark.parametrize("logprob", [math.nan, -math.inf, 0.5])
def test_a_logprob_that_is_none(row: Row, episodes: Played, checkpoint: Checkpoint, logprob: float) -> None:
    other = replace(row, logprobs=changed(row.logprobs, first_of(row, 2) + 3, logprob))
    check(other, checkpoint, episodes.pictures)
    with pytest.raises(RunError, match=f"episode {row.episode}, turn 2: a logprob of {logprob}"):
        check(other, checkpoint, episodes.pictures, for_rl=True)


def test_greedy_episodes_say_so_in_their_log(checkpoint: Checkpoint, tmp_path: Path) -> None:
    played = play(SCRIPTS[2:], checkpoint, tmp_path, temperature=0.0)
    with pytest.raises(UsageError, match="sampled at temperature 0"):
        check(Row.of(played.episodes[0]), checkpoint, played.pictures, for_rl=True)


def test_a_batch_that_was_cut(episodes: Played, checkpoint: Checkpoint) -> None:
    rows = [Row.of(episode) for episode in episodes.episodes]
    batch = inputs(rows, checkpoint, Pixels(checkpoint), episodes.pictures)
    check_inputs(batch, rows, checkpoint)
    with pytest.raises(RunError, match=rf"episode {rows[0].episode}: \d+ image tokens and \d+ features"):
        check_inputs({**batch, "input_ids": batch["input_ids"][:, :1000]}, rows, checkpoint)
    with pytest.raises(
        RunError, match=rf"{rows[0].episode}, .*: \d+ patches of pixels where their pictures have"
    ):
        check_inputs({**batch, "pixel_values": batch["pixel_values"][:-4]}, rows, checkpoint)
    with pytest.raises(RunError, match="0 patches of pixels"):
        check_inputs({name: t for name, t in batch.items() if name != "pixel_values"}, rows, checkpoint)
