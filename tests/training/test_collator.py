"""The collator: what a model is given for a batch of rows."""

import random
from dataclasses import replace

import pytest

from r4agent.engines import Checkpoint
from r4agent.engines.pixels import Pixels
from r4agent.errors import RunError
from r4agent.training.collator import expanded, inputs
from r4agent.training.rows import Row, replies

from .conftest import Played


@pytest.fixture(scope="module")
def rows(episodes: Played) -> list[Row]:
    return [Row.of(episode) for episode in episodes.episodes]


def test_a_batch_is_what_the_engine_saw(episodes: Played, rows: list[Row], checkpoint: Checkpoint) -> None:
    batch = inputs(rows, checkpoint, Pixels(checkpoint), episodes.pictures)
    lengths = batch["attention_mask"].sum(1).tolist()
    assert len(set(lengths)) > 1  # so that there is padding to be seen
    assert max(lengths) == batch["input_ids"].shape[1]
    for row, length, ids, kinds in zip(
        rows, lengths, batch["input_ids"], batch["mm_token_type_ids"], strict=True
    ):
        assert ids[:length].tolist() == list(expanded(row, checkpoint).ids)
        assert set(ids[length:].tolist()) <= {checkpoint.token("<|endoftext|>")}
        features = sum(checkpoint.tokens(grid) for grid in row.grids)
        assert int(kinds.sum()) == int((ids == checkpoint.image_token).sum()) == features
    patches = [grid[1] * grid[2] for row in rows for grid in row.grids]
    assert batch["pixel_values"].shape[0] == sum(patches)
    assert [tuple(grid) for grid in batch["image_grid_thw"].tolist()] == [
        g for row in rows for g in row.grids
    ]


def test_turns_and_logprobs_stay_with_their_ids(rows: list[Row], checkpoint: Checkpoint) -> None:
    for row in rows:
        whole = expanded(row, checkpoint)
        kept = [place for place, ident in enumerate(whole.ids) if ident != checkpoint.image_token]
        given = [place for place, ident in enumerate(row.ids) if ident != checkpoint.image_token]
        for long, short in zip(whole, (row.ids, row.turns, row.logprobs), strict=True):
            assert [long[place] for place in kept] == [short[place] for place in given]
        assert len(whole.ids) == len(whole.turns) == len(whole.logprobs)


def test_a_row_gets_the_same_logits_alone_and_in_any_batch(
    episodes: Played, rows: list[Row], checkpoint: Checkpoint
) -> None:
    """Pictures go to their own row: rows of different numbers of pictures, shuffled."""
    import torch

    from r4agent.training import weights

    model = weights.load(checkpoint).eval()
    pixels = Pixels(checkpoint)

    def logits(batch: list[Row]) -> "list[torch.Tensor]":
        given = inputs(batch, checkpoint, pixels, episodes.pictures)
        with torch.no_grad():
            found = model(**given).logits
        return [row[: int(mask.sum())] for row, mask in zip(found, given["attention_mask"], strict=True)]

    order = random.Random(0).sample(rows, len(rows))
    for row, together in zip(order, logits(order), strict=True):
        assert (together - logits([row])[0]).abs().max() < 1e-4


def test_a_row_with_another_number_of_pictures_is_refused(rows: list[Row], checkpoint: Checkpoint) -> None:
    row, count = replace(rows[0], grids=rows[0].grids[:-1]), len(rows[0].grids)
    words = f"episode {row.episode}: {count} image tokens and {count - 1} pictures"
    with pytest.raises(RunError, match=words):
        expanded(row, checkpoint)


def test_without_pictures_there_are_no_pixels(rows: list[Row], checkpoint: Checkpoint) -> None:
    from r4agent.media.store import MediaStore

    row = Row("text", (5, 6, 7), (0, 1, 1), (0.0, 0.0, 0.0), (), (), taught=False)
    batch = inputs([row], checkpoint, Pixels(checkpoint), MediaStore("nowhere"))
    assert set(batch) == {"input_ids", "attention_mask", "mm_token_type_ids"}


def test_sampled_ids_are_the_log_s(episodes: Played, rows: list[Row], checkpoint: Checkpoint) -> None:
    for episode, row in zip(episodes.episodes, rows, strict=True):
        whole = expanded(row, checkpoint)
        sampled = [ident for ident, turn in zip(whole.ids, whole.turns, strict=True) if turn]
        logged = [
            ident for reply in replies(episode) for ident in reply["response_metadata"]["span"]["token_ids"]
        ]
        assert sampled == logged
