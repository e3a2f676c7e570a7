"""Decoding: from prompts with pictures to sampled tokens, as one left-padded batch of a transformers model.

Promises: what a row samples depends on its own chance, not on its neighbours, but for rounding: in a batch of
another shape a near-tie may fall the other way. Banned ids are never sampled; a logprob is the model's own,
before bans and temperature. Rows that are done leave the batch.
Does not: know requests or texts, or decide when a row is done (`r4agent.engines.hf` does).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from r4agent.engines.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Row:
    """prompt: with each picture's run of image tokens. pixels, grids: of each picture. take: is told a token
    and its logprob, and says whether the row wants another."""

    prompt: Sequence[int]
    pixels: "Sequence[torch.Tensor]"
    grids: Sequence[tuple[int, int, int]]
    temperature: float
    top_p: float
    chance: Random
    take: Callable[[int, float], bool]


def core_of(model: Any) -> Any:
    """The module of a Qwen-VL that knows the places of tokens, inside whatever a trainer put around it; None
    where there is none."""
    return next((module for module in model.modules() if hasattr(module, "get_rope_index")), None)


def decode(model: Any, checkpoint: Checkpoint, rows: Sequence[Row]) -> None:
    """Samples until no row wants another token."""
    import torch

    inputs = _inputs(rows, pad=checkpoint.token("<|endoftext|>"))
    core = core_of(model)
    device = core.get_input_embeddings().weight.device
    inputs = {name: value.to(device) for name, value in inputs.items()}
    mask = inputs["attention_mask"]
    # Said here, and not left to the model: that keeps the offsets of the last batch, and text would get them.
    positions, offsets = core.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=(inputs["input_ids"] == checkpoint.image_token).int(),
        image_grid_thw=inputs.get("image_grid_thw"),
        attention_mask=mask,
    )
    past = None
    while rows:
        output = model(
            **inputs, position_ids=positions, past_key_values=past, use_cache=True, logits_to_keep=1
        )
        tokens, logprobs = draw(output.logits[:, -1].float(), rows, checkpoint.banned)
        going = [
            number
            for number, row in enumerate(rows)
            if row.take(int(tokens[number]), float(logprobs[number]))
        ]
        past = output.past_key_values
        if len(going) < len(rows):
            left = torch.tensor(going, device=device, dtype=torch.long)
            rows = [rows[number] for number in going]
            tokens, mask, offsets = tokens[left], mask[left], offsets[left]
            past.batch_select_indices(left)
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
        positions = (mask.sum(1, keepdim=True) - 1 + offsets).expand(3, -1, -1)
        inputs = {"input_ids": tokens[:, None], "attention_mask": mask}


def _inputs(rows: Sequence[Row], pad: int) -> "dict[str, torch.Tensor]":
    """The prompts side by side, their ends aligned."""
    import torch

    length = max(len(row.prompt) for row in rows)
    spare = [length - len(row.prompt) for row in rows]
    inputs = {
        "input_ids": torch.tensor(
            [[pad] * blank + list(row.prompt) for blank, row in zip(spare, rows, strict=True)]
        ),
        "attention_mask": torch.tensor([[0] * blank + [1] * (length - blank) for blank in spare]),
    }
    pixels = [values for row in rows for values in row.pixels]
    if pixels:
        inputs["pixel_values"] = torch.cat(pixels)
        inputs["image_grid_thw"] = torch.tensor([grid for row in rows for grid in row.grids])
    return inputs


def draw(
    logits: "torch.Tensor", rows: Sequence[Row], banned: Sequence[int]
) -> "tuple[torch.Tensor, torch.Tensor]":
    """A token for each row, and its logprob before temperature, top_p and bans."""
    import torch

    raw = logits.log_softmax(-1)
    allowed = logits.clone()
    allowed[:, list(banned)] = -float("inf")
    tokens = allowed.argmax(-1)
    if any(row.temperature for row in rows):
        warm = torch.tensor([row.temperature > 0 for row in rows], device=logits.device)
        tokens = _sampled(allowed, rows).where(warm, tokens)
    return tokens, raw.gather(1, tokens[:, None])[:, 0]


def _sampled(logits: "torch.Tensor", rows: Sequence[Row]) -> "torch.Tensor":
    """From the likeliest tokens that together have top_p, the one on which the row's chance falls, a number
    below 1. It takes one number a token, so that neighbours don't matter."""
    import torch

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64, device=logits.device)[:, None]

    warmth = column([row.temperature or 1.0 for row in rows])
    shares, order = (logits.double() / warmth).softmax(-1).sort(dim=-1, descending=True, stable=True)
    before = shares.cumsum(-1) - shares
    shares = shares.where(before < column([row.top_p for row in rows]), 0.0)
    until = shares.cumsum(-1)
    chance = column([row.chance.random() for row in rows])
    places = (until <= chance * until[:, -1:]).sum(-1, keepdim=True)
    return order.gather(1, places)[:, 0]
