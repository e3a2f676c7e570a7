"""What the nano policy learns by: the loss of what it says, and helps on its inner layers.

Promises: `said` is cross-entropy over the learnt tokens, but that the number of an edge may be a pixel or two
off for part of the credit. The helps make a small model attend to the right place, which it finds by itself
only after far more samples; SFT and GRPO have none of them:
    looked      one head of one layer attends to the image tokens that the next token is read from
    recalled    in the layer before it, that head attends to the word for what is sought, or that is copied
    carried     these image tokens can say, half way up, what is to be read from them: a name, an edge
    placed      every image token can say, there and as it leaves the tower, in which row and column it is
    hued        the tower's tokens can say which colour they show
    spelt       the tower's patches can say which character they show
Does not: train.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from r4agent.engines import Checkpoint
from r4agent.training.nano.forward import Forward, Pass
from r4agent.training.nano.pool import HUES
from r4agent.training.nano.script import EDGES, Batch
from r4agent.training.nano.student import CHARACTERS, HIDDEN, NUMBERS, VISION_HIDDEN

LAYER, HEAD = 2, 0  # of the attention that is taught where to look
LOOKED = (LAYER - 1, LAYER)  # layers whose attention is taught
HALF = 1  # the layer after which an image token is to know what it shows
NONE = 0.15  # weight of what shows nothing: most of a picture
WEIGHTS = {"looked": 0.3, "recalled": 0.3, "carried": 0.5, "placed": 0.3, "hued": 0.5, "spelt": 1.0}
SIDE = 32  # tokens that a picture may be long


class Helps(nn.Module):  # type: ignore[misc]
    """Heads that are thrown away when school is over. numbers: ids of the tokens of an edge, (2, NUMBERS),
    the left one's first. hues: of the token for no colour and of the colours' words. credit: for a
    number, (NUMBERS, NUMBERS)."""

    numbers: Tensor
    hues: Tensor
    credit: Tensor

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.spell = nn.Linear(VISION_HIDDEN, len(CHARACTERS) + 1)
        self.carry = nn.ModuleDict({what: nn.Linear(HIDDEN, HIDDEN, bias=False) for what in ("name", *EDGES)})
        for linear in self.carry.values():
            nn.init.eye_(linear.weight)
        self.place = nn.ModuleList([nn.Linear(HIDDEN, 2 * SIDE) for _ in range(2)])
        numbers = [[checkpoint.token(f"{before}{n}") for n in range(NUMBERS)] for before in ("[", ", ")]
        hues = [checkpoint.token(word) for word in ("<|vision_start|>", *HUES)]
        apart = torch.arange(NUMBERS)[:, None] - torch.arange(NUMBERS)
        near = torch.exp(-(apart**2) / 2.0)
        self.register_buffer("numbers", torch.tensor(numbers), persistent=False)
        self.register_buffer("hues", torch.tensor(hues), persistent=False)
        self.register_buffer("credit", near / near.sum(1, keepdim=True), persistent=False)


@dataclass(frozen=True, slots=True)
class Run:
    """What a batch gives. first: rows of ids and places with pictures in them, and the layer half way up of
    each. half: that layer of the rows and of what they go on from, (B, S, H). tokens, patches: of the
    pictures, a tensor for each size."""

    done: Pass
    first: list[tuple[Batch, Tensor]]
    half: Tensor
    tokens: list[Tensor]
    patches: list[Tensor]


def run(forward: Forward, batch: Batch) -> Run:
    """A batch through the model, after what it goes on from."""
    before, image = batch.before, forward.image_token
    if before is None:
        patches, tokens = forward.see(batch.pictures)
        done = forward.read(forward.embed(batch.ids, tokens, image), batch.places, look=LOOKED)
        return Run(done, [(batch, done.layers[HALF])], done.layers[HALF], tokens, patches)
    patches, tokens = forward.see([*before.pictures, *batch.pictures])
    shown = len(before.pictures)
    start = forward.read(forward.embed(before.ids, tokens[:shown], image), before.places)
    x = forward.embed(batch.ids, tokens[shown:], image).to(tokens[0].dtype)
    done = forward.read(x, batch.places, start.cache, look=LOOKED)
    times = len(batch.ids) // len(before.ids)
    half = torch.cat([start.layers[HALF].repeat_interleave(times, 0), done.layers[HALF]], 1)
    first = [(before, start.layers[HALF]), (batch, done.layers[HALF])]
    return Run(done, first, half, tokens, patches[shown:] if batch.pictures else patches)


def learn(forward: Forward, helps: Helps, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch with its helps, each of them, and the share of learnt tokens that would be said."""
    seen = run(forward, batch)
    loss, right = said(forward, helps, batch, seen.done)
    parts = {"looked": looked(batch, seen.done)}
    if any(what in helps.carry for _, _, what, _ in batch.looks):
        parts["carried"] = carried(forward, helps, batch, seen.half)
    parts["placed"] = placed(forward, helps, seen)
    if batch.recalls:
        parts["recalled"] = recalled(batch, seen.done)
    if batch.letters:
        parts["spelt"] = spelt(helps, seen.patches, batch.letters)
    if batch.hues is not None:
        parts["hued"] = hued(forward, helps, seen.tokens[0], batch.hues)
    told = {"said": loss.item(), "right": right.float().mean().item()}
    for name, part in parts.items():
        loss = loss + WEIGHTS[name] * part
        told[name] = part.item()
    return loss, told


def said(forward: Forward, helps: Helps, batch: Batch, done: Pass) -> tuple[Tensor, Tensor]:
    """The loss, and of each learnt token whether it would be said."""
    rows, at = batch.learnt.nonzero(as_tuple=True)
    wanted = batch.ids[rows, at]
    logits = forward.logits(done.hidden[rows, at - 1])
    loss = F.cross_entropy(logits, wanted, reduction="none")
    for group in helps.numbers:
        number = (wanted[:, None] == group).nonzero(as_tuple=True)
        if len(number[0]):
            logp = logits[number[0]].log_softmax(-1)[:, group]
            loss = loss.index_put((number[0],), -(helps.credit[number[1]] * logp).sum(-1))
    return loss.mean(), logits.argmax(-1) == wanted


def looked(batch: Batch, done: Pass) -> Tensor:
    """The mean of -log of the attention to the image tokens that are to be looked at."""
    weights = done.attention[LAYER][:, HEAD].float()
    mask = torch.zeros(len(batch.looks), weights.shape[-1])
    for number, (_, _, _, tokens) in enumerate(batch.looks):
        mask[number, tokens] = 1
    rows, at = [look[0] for look in batch.looks], [look[1] for look in batch.looks]
    return -((weights[rows, at] * mask).sum(-1) + 1e-6).log().mean()


def recalled(batch: Batch, done: Pass) -> Tensor:
    """The mean of -log of the attention to the word for what is sought, or that is copied."""
    weights = done.attention[LAYER - 1][:, HEAD].float()
    rows, at, words = (list(column) for column in zip(*batch.recalls, strict=True))
    return -(weights[rows, at, words] + 1e-6).log().mean()


def carried(forward: Forward, helps: Helps, batch: Batch, half: Tensor) -> Tensor:
    """How well the image tokens that are to be looked at can say what they are looked at for."""
    parts = []
    for what, linear in helps.carry.items():
        where = [(row, at, token) for row, at, w, tokens in batch.looks if w == what for token in tokens]
        if not where:
            continue
        rows, at, tokens = (list(column) for column in zip(*where, strict=True))
        wanted = batch.ids[rows, [place + 1 for place in at]]
        logits = forward.logits(linear(_unit(half[rows, tokens])))
        if what == "name":
            parts.append(F.cross_entropy(logits, wanted))
        else:
            group = helps.numbers[0 if what == "left" else 1]
            number = (wanted[:, None] == group).int().argmax(-1)
            logp = logits[:, group].log_softmax(-1)
            parts.append(-(helps.credit[number] * logp).sum(-1).mean())
    return torch.stack(parts).mean()


def placed(forward: Forward, helps: Helps, seen: Run) -> Tensor:
    """How well image tokens can say where in their picture they are."""
    rows = [(one.ids == forward.image_token, one.places, layer) for one, layer in seen.first]
    where = [torch.cat([(places[n] - places[0])[at] for at, places, _ in rows]) for n in (1, 2)]
    half = torch.cat([layer[at] for at, _, layer in rows])
    total = half.new_zeros((), dtype=torch.float32)
    towers = torch.cat([group.flatten(0, -2) for group in seen.tokens])
    for linear, tokens in zip(helps.place, (towers, half), strict=True):
        down, right = linear(_unit(tokens)).float().split(SIDE, -1)
        total = total + F.cross_entropy(down, where[0]) + F.cross_entropy(right, where[1])
    return total / 4


def hued(forward: Forward, helps: Helps, tokens: Tensor, hues: Tensor) -> Tensor:
    """How well tokens (…, H) can say which colour they show."""
    words = forward.embedding[helps.hues].to(tokens.dtype)
    logits = F.linear(_unit(tokens), words).float()
    return F.cross_entropy(logits.flatten(0, -2), hues.flatten(), weight=_rare(len(words)))


def spelt(helps: Helps, patches: list[Tensor], letters: list[Tensor]) -> Tensor:
    """How well patches can say which character they show."""
    logits = helps.spell(torch.cat([patch.flatten(0, 1) for patch in patches])).float()
    wanted = torch.cat([one.flatten() for one in letters])
    return F.cross_entropy(logits, wanted, weight=_rare(logits.shape[-1]))


def _rare(classes: int) -> Tensor:
    """Weights of classes of which the first is nothing."""
    return torch.tensor([NONE] + [1.0] * (classes - 1))


def _unit(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:])
