"""The Ledger: every token of a conversation as the policy's engine saw it, folded from its replies.

A reply of a token policy carries a *span* in `response_metadata["span"]`: what it added to the conversation,
prompt and sampled ids. The ledger is the fold over the spans, so a conversation is never rendered again from
its text: what is trained on is what was sampled.

Promises: `Ledger.of(replies).ids` is the prompt that the last reply was sampled after, and that reply; it
grows linearly with the conversation. A history that was edited shows as a fork, and is counted.
Does not: know messages that no policy has replied to, or expand images (a Checkpoint says to how many
tokens).
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from langchain_core.messages import AIMessage, BaseMessage

from r4agent.errors import UsageError

Grid = tuple[int, int, int]


class Span(TypedDict):
    """at: how many tokens of the ledger before it stand; 0 after an edit, else all. prompt_ids: the tokens
    that were put after them, one for each picture. token_ids, logprobs: as sampled, the end of the turn
    included. images, image_grid_thw: the pictures of `prompt_ids`, as `img:<sha256>` and in patches.
    opening: the end of `prompt_ids` that is the reply's own beginning, as text. said: a digest of the reply
    as text."""

    at: int
    prompt_ids: list[int]
    token_ids: list[int]
    logprobs: list[float]
    images: list[str]
    image_grid_thw: list[list[int]]
    opening: str
    said: str


@dataclass
class Ledger:
    """ids: of the conversation, one for each picture. sampled: which of them a policy sampled. logprobs: of
    each, 0.0 where not sampled. images, grids: the pictures in order. forks: how often the history before a
    reply was not the one that earlier replies were sampled in."""

    ids: list[int] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    forks: int = 0

    @classmethod
    def of(cls, replies: Iterable[AIMessage | Mapping[str, Any]]) -> "Ledger":
        """Fold replies: AIMessages, or an episode's lines of them. UsageError names one that can't be
        trained on: without a span, or held to a schema."""
        ledger = cls()
        for number, reply in enumerate(replies, start=1):
            span = span_of(reply)
            if span is None:
                raise UsageError(
                    f"reply {number} has no token ids: its policy is not token-exact. Ask with ChatR4 for "
                    "episodes to train on"
                )
            if span["opening"]:
                raise UsageError(
                    f"reply {number} was held to a schema: its logprobs are those of the tokens allowed, not "
                    "the model's own. Ask without tool_choice for episodes to train on"
                )
            ledger.add(span)
        return ledger

    def fits(self, span: Span) -> bool:
        """Whether the span goes on from here, or begins anew; if neither, a reply before it is missing."""
        return span["at"] in (0, len(self.ids))

    def add(self, span: Span) -> None:
        """Put a reply's span after what stands."""
        if not self.fits(span):
            raise UsageError(
                f"a span begins at token {span['at']} of {len(self.ids)}: a reply before it is missing"
            )
        if span["at"] < len(self.ids):
            for kept in (self.ids, self.sampled, self.logprobs, self.images, self.grids):
                kept.clear()
            self.forks += 1
        given, sampled = span["prompt_ids"], span["token_ids"]
        self.ids += given + sampled
        self.sampled += [False] * len(given) + [True] * len(sampled)
        self.logprobs += [0.0] * len(given) + span["logprobs"]
        self.images += span["images"]
        self.grids += [(grid[0], grid[1], grid[2]) for grid in span["image_grid_thw"]]

    def ahead(self, prompt: list[int], images: list[str]) -> int:
        """How many tokens of the ledger a prompt with these pictures goes on from: all, or 0 when the history
        is another."""
        same = prompt[: len(self.ids)] == self.ids and images[: len(self.images)] == self.images
        return len(self.ids) if same else 0


def digest(message: BaseMessage) -> str:
    """What a reply says, in 16 letters: a span belongs to a message that still says it. Calls that stand in
    the text need no second mention. Whether content is a text or blocks of it makes no difference."""
    calls = message.tool_calls if isinstance(message, AIMessage) and "<tool_call>" not in message.text else []
    said = [message.text, [[call["name"], call["args"]] for call in calls]]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def span_of(reply: AIMessage | Mapping[str, Any]) -> Span | None:
    """The span that a reply carries, if its policy was token-exact."""
    metadata = reply.response_metadata if isinstance(reply, AIMessage) else reply.get("response_metadata")
    span: Span | None = (metadata or {}).get("span")
    return span


def confidence(reply: AIMessage | Mapping[str, Any]) -> float | None:
    """The geometric mean of the probabilities of a reply's tokens, under the model itself; None without
    them."""
    span = span_of(reply)
    if span is None or not span["logprobs"]:
        return None
    return math.exp(sum(span["logprobs"]) / len(span["logprobs"]))
