"""Checks: what must hold of a row, and of a batch, before a model is updated with it.

Promises: each failure is one error that names the episode, and where it has one the turn and the picture;
nothing is dropped or cut. Equal tokens and features, equal pixels, own logprobs: what training on
conversations with pictures gets wrong without a word.
Does not: mend anything, or run a model.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from r4agent.engines import Checkpoint
from r4agent.errors import R4Error, RunError, UsageError, one_line
from r4agent.geometry import Size
from r4agent.media.store import MediaStore
from r4agent.training.rows import Row

if TYPE_CHECKING:
    import torch


def check(row: Row, checkpoint: Checkpoint, store: MediaStore, *, for_rl: bool = False) -> None:
    """Raises an R4Error unless the row can be trained on. store: where its pictures are. for_rl: also what
    policy gradients need, the logprobs of an own sample at temperature 1 and top_p 1."""
    check_tokenizer(row, checkpoint)
    _check_shape(row, checkpoint)
    _check_ids(row, checkpoint)
    _check_length(row, checkpoint)
    for number in range(len(row.images)):
        _check_picture(row, number, checkpoint, store)
    if for_rl:
        _check_sampling(row)


def check_tokenizer(row: Row, checkpoint: Checkpoint) -> None:
    """Raises RunError where the row's ids are another tokenizer's. A log that does not say whose passes."""
    if row.tokenizer not in (None, checkpoint.tokenizer_digest):
        raise RunError(
            f"{where(row)}: its ids are not those of {checkpoint.name}'s tokenizer; train the model that the "
            "episode was sampled from"
        )


def check_inputs(inputs: "Mapping[str, torch.Tensor]", rows: Sequence[Row], checkpoint: Checkpoint) -> None:
    """Raises RunError unless a batch has, for each row, as many image tokens as its pictures have features,
    and the pixel values of all pictures. inputs: as the collator makes them; row i is `rows[i]`."""
    patches = 0
    for row, ids in zip(rows, inputs["input_ids"].tolist(), strict=True):
        tokens = ids.count(checkpoint.image_token)
        features = sum(checkpoint.tokens(grid) for grid in row.grids)
        if tokens != features:
            raise RunError(
                f"episode {row.episode}: {tokens} image tokens and {features} features in the batch; was it "
                "cut? Train with max_length=None"
            )
        patches += sum(math.prod(grid) for grid in row.grids)
    found = len(inputs["pixel_values"]) if "pixel_values" in inputs else 0
    if found != patches:
        names = ", ".join(row.episode for row in rows)
        raise RunError(f"episodes {names}: {found} patches of pixels where their pictures have {patches}")


def where(row: Row, *, turn: int | None = None, image: int | None = None) -> str:
    """A place in a row, as errors name it. image: counted from 0 in the order shown."""
    parts = [f"episode {row.episode}"]
    if turn is not None:
        parts.append(f"turn {turn}")
    if image is not None:
        parts.append(f"image {image + 1} ({row.images[image]})")
    return ", ".join(parts)


def _check_shape(row: Row, checkpoint: Checkpoint) -> None:
    if not len(row.ids) == len(row.turns) == len(row.logprobs):
        raise RunError(
            f"{where(row)}: {len(row.ids)} ids, {len(row.turns)} turns and {len(row.logprobs)} logprobs; its "
            "log is damaged, leave it out"
        )
    tokens = row.ids.count(checkpoint.image_token)
    if not tokens == len(row.images) == len(row.grids):
        raise RunError(
            f"{where(row)}: {tokens} image tokens, {len(row.images)} pictures and {len(row.grids)} grids; "
            "its log is damaged, leave it out"
        )
    numbers = [turn for turn in row.turns if turn]
    if numbers != sorted(numbers) or set(numbers) != set(range(1, max(numbers, default=0) + 1)):
        raise RunError(
            f"{where(row)}: its turns are not in order, or one is missing: its history was edited; "
            "leave it out"
        )
    if not numbers:
        raise RunError(f"{where(row)}: nothing in it was sampled; leave it out")


def _check_ids(row: Row, checkpoint: Checkpoint) -> None:
    for ident, turn in zip(row.ids, row.turns, strict=True):
        if not 0 <= ident < checkpoint.vocabulary:
            raise RunError(
                f"{where(row, turn=turn)}: token {ident}, and {checkpoint.name} has {checkpoint.vocabulary}; "
                "train the model that the episode was sampled from"
            )
        if turn and ident in checkpoint.banned:
            name = checkpoint.tokenizer.id_to_token(ident)
            raise RunError(f"{where(row, turn=turn)}: {name} was sampled, and has no picture; leave it out")


def _check_length(row: Row, checkpoint: Checkpoint) -> None:
    """All of a row's tokens, pictures expanded, must fit the model."""
    length = len(row.ids) + sum(checkpoint.tokens(grid) - 1 for grid in row.grids)
    if length > checkpoint.context:
        raise UsageError(
            f"{where(row, turn=row.turns[-1])}: {length} tokens, and {checkpoint.name} takes "
            f"{checkpoint.context}; select episodes with max_tokens, or ask with a smaller budget"
        )


def _check_picture(row: Row, number: int, checkpoint: Checkpoint, store: MediaStore) -> None:
    """The store has the very pixels that were logged, and they are as many features as there are tokens."""
    ref, grid = row.images[number], row.grids[number]
    place = where(row, turn=_shown_before(row, number, checkpoint), image=number)
    try:
        picture = store.get(ref)
    except R4Error as error:
        raise type(error)(f"{place}: {one_line(error)}") from error
    shown = (1, picture.height // checkpoint.patch, picture.width // checkpoint.patch)
    size = Size(picture.width, picture.height)
    profile = checkpoint.profile
    whole = size.width % profile.grid == size.height % profile.grid == 0
    if shown != grid:
        raise RunError(f"{place}: is {size}, a grid of {shown}, and its log counts {grid}; leave it out")
    if not (whole and profile.min_pixels <= size.pixels <= profile.max_pixels):
        raise RunError(
            f"{place}: {size} would be resized by {checkpoint.name}, which takes multiples of {profile.grid} "
            f"pixels, {profile.min_pixels} to {profile.max_pixels} in all; sample again with this checkpoint"
        )


def _shown_before(row: Row, number: int, checkpoint: Checkpoint) -> int:
    """The turn that a picture was first seen in: that of the next sampled id."""
    places = [at for at, ident in enumerate(row.ids) if ident == checkpoint.image_token]
    return next((turn for turn in row.turns[places[number] :] if turn), max(row.turns))


def _check_sampling(row: Row) -> None:
    if row.taught:
        raise UsageError(f"{where(row)}: a teacher dictated it; use it for SFT, and sample episodes for RL")
    if (row.temperature, row.top_p) != (1.0, 1.0):
        raise UsageError(
            f"{where(row)}: sampled at temperature {row.temperature:g} and top_p {row.top_p:g}; RL needs 1 "
            "and 1"
        )
    for turn, logprob in zip(row.turns, row.logprobs, strict=True):
        if not (math.isfinite(logprob) and logprob <= 0) or (logprob and not turn):
            raise RunError(
                f"{where(row, turn=turn)}: a logprob of {logprob}; its log is damaged, leave it out"
            )
