"""The collator: from rows to the tensors that a Qwen-VL takes. Nothing is rendered or tokenised again.

Promises: a batch holds each row's own ids, each picture's token repeated as often as its grid says, and the
pixel values of these very pictures from the checkpoint's own image processor. Nothing is cut or left out.
Does not: check that a row may be trained on (`r4agent.training.checks` does), or choose what is trained.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from r4agent.engines import Checkpoint, Shown
from r4agent.engines.pixels import Pixels
from r4agent.errors import RunError
from r4agent.media.store import MediaStore
from r4agent.training.rows import Row

if TYPE_CHECKING:
    import torch


class Expanded(NamedTuple):
    """A row with each picture's run of image tokens: ids, turns and logprobs as in `Row`, of one length."""

    ids: tuple[int, ...]
    turns: tuple[int, ...]
    logprobs: tuple[float, ...]


def expanded(row: Row, checkpoint: Checkpoint) -> Expanded:
    """The row as the model sees it. Raises RunError when it has not one image token for each picture."""
    images = row.ids.count(checkpoint.image_token)
    if images != len(row.grids):
        raise RunError(
            f"episode {row.episode}: {images} image tokens and {len(row.grids)} pictures; its log is "
            "damaged, leave it out"
        )
    runs = iter(checkpoint.tokens(grid) for grid in row.grids)
    places = [
        place
        for place, ident in enumerate(row.ids)
        for _ in range(next(runs) if ident == checkpoint.image_token else 1)
    ]
    return Expanded(
        tuple(row.ids[place] for place in places),
        tuple(row.turns[place] for place in places),
        tuple(row.logprobs[place] for place in places),
    )


def inputs(
    rows: Sequence[Row], checkpoint: Checkpoint, pixels: Pixels, store: MediaStore
) -> "dict[str, torch.Tensor]":
    """What the model's forward takes, on the CPU: B rows, padded on the right to the T of the longest.

    input_ids, attention_mask, mm_token_type_ids (1 at image tokens): (B, T), int64
    pixel_values: (patches of all pictures, values of a patch), float32, row by row in the order shown
    image_grid_thw: (pictures, 3), in patches. These two only where there is a picture.
    """
    import torch

    ids = [expanded(row, checkpoint).ids for row in rows]
    batch = {
        "input_ids": padded(ids, checkpoint.token("<|endoftext|>")),
        "attention_mask": padded([[1] * len(row) for row in ids], 0),
    }
    batch["mm_token_type_ids"] = (batch["input_ids"] == checkpoint.image_token).long()
    shown = [Shown(ref, grid) for row in rows for ref, grid in zip(row.images, row.grids, strict=True)]
    if shown:
        batch["pixel_values"] = torch.cat([pixels(picture, store.get) for picture in shown])
        batch["image_grid_thw"] = torch.tensor([picture.grid for picture in shown])
    return batch


def padded(rows: Sequence[Sequence[int]] | Sequence[Sequence[float]], fill: float) -> "torch.Tensor":
    """(B, T): the rows side by side, filled up on the right; int64 for integers, else float32."""
    import torch

    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])
