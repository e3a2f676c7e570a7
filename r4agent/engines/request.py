"""What an engine is asked and what it gives back. Tokens in, tokens out.

Promises: a Request says everything an engine needs, by value; a Sample holds the very ids that were sampled,
their raw logprobs, and the prompt as the engine saw it, so that a caller can compare it with its own ledger.
Does not: know text, messages or a chat template (`r4agent.engines.chatml` does).
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from PIL import Image

from r4agent.engines.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. temperature 0 is greedy. stop: strings that end the reply. json_schema: what the
    whole reply must follow; an engine that can't hold a model to a schema refuses it."""

    max_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture in a prompt: its content (`img:<sha256>`), and its grid as Qwen's `image_grid_thw` counts it,
    in patches: (1, rows, columns)."""

    ref: str
    grid: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Request:
    """ids: the prompt, with one image token for each of `pictures`. load: the RGB pixels of a picture; an
    engine calls it only for what it has not seen or has forgotten."""

    ids: tuple[int, ...]
    pictures: tuple[Shown, ...]
    load: Callable[[str], Image.Image]
    sampling: Sampling = Sampling()


@dataclass(frozen=True, slots=True)
class Sample:
    """ids: as sampled, the end-of-turn token included. logprobs: of each, under the model itself, before
    temperature. prompt: the ids as the engine saw them, with each picture's run of image tokens.
    cached: how many of those it had from earlier requests; None where it does not say."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Literal["stop", "length"]
    prompt: tuple[int, ...]
    cached: int | None = None


Tokens = Callable[[tuple[int, ...]], None]
"""Is told the ids sampled so far, all of them each time, from a thread of the engine's."""


class Engine(Protocol):
    """Runs a model. Every method may be called from any thread; requests under way at once share batches.

    A failed future holds an R4Error that says what to do. Cancelling a future stops its request. Once closed
    an engine takes nothing: `submit` raises, or its future fails.
    """

    name: str
    checkpoint: Checkpoint
    closed: bool

    def submit(self, request: Request, on_tokens: Tokens | None = None) -> "Future[Sample]":
        """Begin a request."""
        ...

    def close(self) -> None:
        """Stop the model and give its memory back."""
        ...
