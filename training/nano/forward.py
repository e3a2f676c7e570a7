"""The student's forward pass by hand: Qwen2.5-VL's own weights and arithmetic, batched for short rows.

Promises: what transformers computes from the same weights (tests compare the logits). Pictures of all sizes
are encoded together; many rows can go on from one beginning that is computed once; hidden states and
attention of inner layers can be had, for losses that are of use only while a model of this size learns.
Does not: serve, or take part in SFT and GRPO of the user's own models. It is for the nano curriculum alone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

Cache = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, (B, groups, T, head)."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass over rows gives. hidden: the last, normed, (B, T, H). layers: what each layer gave out.
    attention: of the layers asked for, (B, heads, T, S). cache: to go on from."""

    hidden: Tensor
    layers: list[Tensor]
    attention: dict[int, Tensor]
    cache: Cache


class Forward:
    """Over one model's weights."""

    def __init__(self, model: Any) -> None:
        self.vision = model.model.visual
        self.text = model.model.language_model
        self.embedding: Tensor = self.text.embed_tokens.weight
        self.image_token: int = model.config.image_token_id
        rope = model.config.text_config.rope_parameters
        self.sections: list[int] = rope["mrope_section"]
        self._turns: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def see(self, pictures: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Pictures (B, height, width, 3), uint8, a tensor for each size: their patches (B, N, vision width)
        in the order of the tower, four that become one token side by side, and their tokens (B, N/4, H)."""
        grids = [(len(group), group.shape[1] // 14, group.shape[2] // 14) for group in pictures]
        x = torch.cat(
            [_patches(group, *grid).flatten(0, 1) for group, grid in zip(pictures, grids, strict=True)]
        )
        weight = self.vision.patch_embed.proj.weight.sum(2).flatten(1)  # a still picture is two equal frames
        x = F.linear(x, weight)
        heads = self.vision.blocks[0].attn.num_heads
        turned = [self._turned(rows, columns, x.shape[-1] // heads) for _, rows, columns in grids]
        for block in self.vision.blocks:
            qkv = block.attn.qkv(_rms(x, block.norm1.weight))
            seen = [
                _among(part, number, heads, *turn)
                for part, (number, *_), turn in zip(_apart(qkv, grids), grids, turned, strict=True)
            ]
            x = x + block.attn.proj(torch.cat(seen))
            x = x + _mlp(block.mlp, _rms(x, block.norm2.weight))
        merger = self.vision.merger
        merged = merger.mlp(_rms(x, merger.ln_q.weight).view(-1, 4 * x.shape[-1]))
        patches = [p.unflatten(0, (grid[0], -1)) for p, grid in zip(_apart(x, grids), grids, strict=True)]
        tokens = _apart(merged, grids, 4)
        return patches, [t.unflatten(0, (grid[0], -1)) for t, grid in zip(tokens, grids, strict=True)]

    def embed(self, ids: Tensor, images: Sequence[Tensor], image_token: int) -> Tensor:
        """Rows of ids (B, T) as vectors, with the tokens of `images` in the order shown in place of
        `image_token`."""
        x = F.embedding(ids, self.embedding)
        if images:
            tokens = torch.cat([image.reshape(-1, image.shape[-1]) for image in images])
            x = x.to(tokens.dtype).masked_scatter((ids == image_token)[..., None], tokens)
        return x

    def read(
        self, x: Tensor, places: Tensor, before: Cache | None = None, look: Collection[int] = ()
    ) -> Pass:
        """Rows (B, T, H), padded on the right if at all, at places (3, B, T). before: what they go on from,
        as many of them from each of its rows. look: layers whose attention is kept."""
        cos, sin = self._places(places, x.dtype)
        layers, attention, cache = list[Tensor](), dict[int, Tensor](), Cache()
        for number, layer in enumerate(self.text.layers):
            own, wide = layer.self_attn, layer.self_attn.head_dim
            y = _rms(x, layer.input_layernorm.weight)
            q, k, v = (
                p(y).unflatten(-1, (-1, wide)).transpose(1, 2) for p in (own.q_proj, own.k_proj, own.v_proj)
            )
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            cache.append((k, v))
            seen, weights = _attend(q, k, v, _causal(q.shape[2]), before[number] if before else None)
            if number in look:
                attention[number] = weights
            x = x + own.o_proj(seen.transpose(1, 2).flatten(2))
            x = x + _mlp(layer.mlp, _rms(x, layer.post_attention_layernorm.weight))
            layers.append(x)
        return Pass(_rms(x, self.text.norm.weight), layers, attention, cache)

    def logits(self, hidden: Tensor) -> Tensor:
        """Over the vocabulary, float32."""
        return F.linear(hidden, self.embedding.to(hidden.dtype)).float()

    def _turned(self, rows: int, columns: int, wide: int) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the tower's rotary embedding, (N, wide)."""
        if (rows, columns) not in self._turns:
            down = torch.arange(rows)[:, None].expand(rows, columns)
            right = torch.arange(columns)[None].expand(rows, columns)
            inverse = 1 / 10000 ** (torch.arange(0, wide // 2, 2) / (wide // 2))
            angles = torch.cat([ordered(p)[:, None] * inverse for p in (down, right)], -1).repeat(1, 2)
            self._turns[rows, columns] = angles.cos(), angles.sin()
        return self._turns[rows, columns]

    def _places(self, places: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the multimodal rotary embedding, (B, 1, T, head)."""
        angles = places[..., None].float() * self.text.rotary_emb.inv_freq.float()
        parts = angles.split(self.sections, -1)
        angles = torch.cat([part[number] for number, part in enumerate(parts)], -1).repeat(1, 1, 2)[:, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)


def places(ids: Sequence[int], grids: Sequence[tuple[int, int]], image_token: int, start: int = 0) -> Tensor:
    """Places (3, T) of a row with its image tokens spelt out, from `start` on. grids: rows and columns of
    tokens of each picture. As `get_rope_index` of transformers has them."""
    out: list[Tensor] = []
    left, at, here = iter(grids), 0, start
    while at < len(ids):
        if ids[at] == image_token:
            rows, columns = next(left)
            down = torch.arange(rows)[:, None].expand(rows, columns).flatten()
            right = torch.arange(columns)[None].expand(rows, columns).flatten()
            out.append(torch.stack([torch.zeros_like(down), down, right]) + here)
            here += max(rows, columns)
            at += rows * columns
        else:
            stop = at
            while stop < len(ids) and ids[stop] != image_token:
                stop += 1
            out.append((torch.arange(stop - at) + here).expand(3, -1))
            here += stop - at
            at = stop
    return torch.cat(out, 1)


def _apart(x: Tensor, grids: Sequence[tuple[int, int, int]], merged: int = 1) -> tuple[Tensor, ...]:
    """What stands one after another, by size of the pictures."""
    parts: tuple[Tensor, ...] = x.split(
        [number * rows * columns // merged for number, rows, columns in grids]
    )
    return parts


def _among(qkv: Tensor, number: int, heads: int, cos: Tensor, sin: Tensor) -> Tensor:
    """Attention of the patches of each of `number` pictures to each other."""
    q, k, v = qkv.view(number, -1, 3, heads, qkv.shape[-1] // heads // 3).permute(2, 0, 3, 1, 4)
    seen, _ = _attend(_rotate(q, cos, sin), _rotate(k, cos, sin), v, None)
    return seen.transpose(1, 2).flatten(2).flatten(0, 1)


def _patches(pictures: Tensor, number: int, rows: int, columns: int) -> Tensor:
    """(B, N, 588): normalised patches, the four of a token side by side."""
    x = (pictures.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    x = x.view(-1, rows // 2, 2, 14, columns // 2, 2, 14, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    return x.reshape(number, rows * columns, 588)


def ordered(grid: Tensor) -> Tensor:
    """Of each patch a value, (…, rows, columns), in the tower's order, (…, N)."""
    rows, columns = grid.shape[-2:]
    return grid.unflatten(-1, (columns // 2, 2)).unflatten(-3, (rows // 2, 2)).transpose(-3, -2).flatten(-4)


def _rms(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    square = torch.linalg.vector_norm(x, 2, -1, keepdim=True, dtype=torch.float32).square() / x.shape[-1]
    return x * torch.rsqrt(square + eps).to(x.dtype) * weight.to(x.dtype)


def _mlp(mlp: Any, x: Tensor) -> Tensor:
    out: Tensor = mlp.down_proj(F.silu(mlp.gate_proj(x)) * mlp.up_proj(x))
    return out


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return x * cos.to(x.dtype) + torch.cat((-b, a), -1) * sin.to(x.dtype)


def _causal(length: int) -> Tensor:
    """True where a token may not look."""
    return torch.ones(length, length, dtype=torch.bool).triu(1)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None, before: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Attention and its weights, over the keys and values of what the rows go on from and their own. On rows
    this short it is faster spelt out than torch's own on a CPU; the queries that share keys are stacked, so
    that keys and values are not copied."""
    batch, heads, length, wide = q.shape
    groups = k.shape[1]
    q = q * wide**-0.5
    own = q.reshape(batch, groups, -1, wide) @ k.transpose(-1, -2)
    scores = own.view(batch, heads, length, -1)
    if hidden is not None:
        scores = scores.masked_fill(hidden, -1e4)
    if before is not None:
        stacked = _stacked(q, len(before[0]), groups) @ before[0].transpose(-1, -2)
        scores = torch.cat([_unstacked(stacked, batch, heads, length), scores], -1)
    weights = scores.softmax(-1, dtype=torch.float32).to(v.dtype)
    mine = weights[..., -k.shape[2] :].reshape(batch, groups, -1, k.shape[2])
    seen = (mine @ v).view(batch, heads, length, wide)
    if before is not None:
        stacked = _stacked(weights[..., : -k.shape[2]], len(before[0]), groups) @ before[1]
        seen = seen + _unstacked(stacked, batch, heads, length)
    return seen, weights


def _stacked(x: Tensor, first: int, groups: int) -> Tensor:
    """(B, heads, T, D) as (first, groups, all that share keys, D)."""
    batch, heads, length, wide = x.shape
    x = x.reshape(first, batch // first, groups, heads // groups * length, wide)
    return x.transpose(1, 2).reshape(first, groups, -1, wide)


def _unstacked(x: Tensor, batch: int, heads: int, length: int) -> Tensor:
    """`_stacked` undone."""
    first, groups, _, wide = x.shape
    x = x.view(first, groups, batch // first, heads // groups * length, wide)
    return x.transpose(1, 2).reshape(batch, heads, length, wide)
