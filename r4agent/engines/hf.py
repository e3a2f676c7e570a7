"""transformers as an engine: for machines without vLLM, and for training, whose own model it can sample from.

Promises: what waits is run as one batch; a request's seed gives the same reply in any batch, but for rounding
(`r4agent.engines.decode`). Image tokens are never sampled; logprobs are the model's own, before temperature.
A request that fails or is cancelled leaves the others alone.
Does not: hold a reply to a JSON schema, keep prompts between requests, or let requests join a running batch.
"""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from r4agent.engines import cpu
from r4agent.engines.chatml import ChatML
from r4agent.engines.checkpoint import Checkpoint
from r4agent.engines.decode import Row, core_of, decode
from r4agent.engines.futures import begun, fail, settle
from r4agent.engines.pixels import Pixels
from r4agent.engines.request import Request, Sample, Tokens
from r4agent.errors import MissingError, R4Error, RunError, UsageError, one_line

ENDS = ("<|im_end|>", "<|endoftext|>")  # what ends a turn, in both families' generation configs


@dataclass
class _Running:
    request: Request
    future: "Future[Sample]"
    on_tokens: Tokens | None
    prompt: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class TransformersEngine:
    """A model of transformers', run in a thread of its own.

    model: one that is loaded already, such as a trainer's; it is in eval mode during a batch, then as before.
    dtype, device: of one that is loaded here; "auto" is as it was saved, None a GPU where there is one.
    batch: the most requests at once.
    """

    name = "transformers"

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        model: Any = None,
        dtype: str = "auto",
        device: str | None = None,
        batch: int = 16,
    ) -> None:
        if batch < 1:
            raise UsageError(f"batch {batch}: must be at least 1")
        self.checkpoint = checkpoint
        self.pixels = Pixels(checkpoint)
        self.model = _checked(_loaded(checkpoint, dtype, device) if model is None else model, checkpoint)
        self._ends = {checkpoint.token(name) for name in ENDS}
        self._batch = batch
        self._jobs: queue.SimpleQueue[list[_Running] | None] = queue.SimpleQueue()
        self._taken: list[_Running] = []
        self.closed = False
        self._thread = threading.Thread(target=self._work, name="transformers", daemon=True)
        self._thread.start()

    def submit(self, request: Request, on_tokens: Tokens | None = None) -> "Future[Sample]":
        """Begin a request. See `Engine`."""
        return self._submit([_Running(request, begun(), on_tokens)])[0]

    def submit_all(self, requests: Sequence[Request]) -> "list[Future[Sample]]":
        """Begin these at once: where nobody else asks, batches are theirs in this order, and so the same in
        every run, to the last bit."""
        return self._submit([_Running(request, begun(), None) for request in requests])

    def _submit(self, job: list[_Running]) -> "list[Future[Sample]]":
        self._jobs.put(job)
        if self.closed:  # its thread may not take these any more
            for running in job:
                fail(running.future, RunError("the engine was closed"))
        return [running.future for running in job]

    def close(self) -> None:
        """Stop after the step under way. Requests that are not done fail."""
        self.closed = True
        self._jobs.put(None)
        self._thread.join()
        self.model = None

    def _work(self) -> None:
        """The engine's thread: what waits makes the next batch."""
        while not self.closed:
            waiting = self._waiting()
            rows = [row for running in waiting if (row := self._row(running)) is not None]
            if rows:
                self._run(rows, waiting)
        while not self._jobs.empty():
            self._taken += self._jobs.get() or ()
        for running in self._taken:
            fail(running.future, RunError("the engine was closed"))

    def _waiting(self) -> list[_Running]:
        """At least one, unless the engine is closed, and at most a batch."""
        while len(self._taken) < self._batch and not (self._taken and self._jobs.empty()):
            job = self._jobs.get()
            if job is None:
                break
            self._taken += job
        waiting, self._taken = self._taken[: self._batch], self._taken[self._batch :]
        return waiting

    def _row(self, running: _Running) -> Row | None:
        """A request as a row of a batch; None when it has ended already."""
        request, sampling = running.request, running.request.sampling
        if running.future.cancelled():
            return None
        try:
            self._check(request)
            running.prompt = self._spelt_out(request)
            return Row(
                running.prompt,
                [self.pixels(picture, request.load) for picture in request.pictures],
                [picture.grid for picture in request.pictures],
                sampling.temperature,
                sampling.top_p,
                Random(sampling.seed),
                lambda token, logprob: self._take(running, token, logprob),
            )
        except R4Error as error:
            fail(running.future, error)
        except Exception as error:
            fail(running.future, _failure(error))
        return None

    def _check(self, request: Request) -> None:
        if request.sampling.json_schema is not None:
            raise UsageError(
                "engine transformers can't hold a reply to a JSON schema: use engine vllm or http, or ask "
                "without with_structured_output and tool_choice"
            )
        images = request.ids.count(self.checkpoint.image_token)
        if images != len(request.pictures):
            raise UsageError(f"a prompt with {images} image tokens, and {len(request.pictures)} pictures")
        size = self.model.get_input_embeddings().num_embeddings
        if not request.ids or min(request.ids) < 0 or max(request.ids) >= size:
            raise UsageError(f"a prompt must have ids, each from 0 to {size - 1}")

    def _spelt_out(self, request: Request) -> list[int]:
        """The prompt with each picture's run of image tokens."""
        ids = ChatML.of(self.checkpoint).expand(request.ids, request.pictures)
        if len(ids) >= self.checkpoint.context:
            raise RunError(
                f"a prompt of {len(ids)} tokens, and {self.checkpoint.name} takes "
                f"{self.checkpoint.context - 1}: lower the budget's image_tokens"
            )
        return ids

    def _run(self, rows: Sequence[Row], waiting: Sequence[_Running]) -> None:
        """A batch. Its failure is the failure of all that are not done."""
        import torch

        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()  # no dropout, and no gradient checkpointing, which forgets the keys
        try:
            with torch.no_grad():
                decode(self.model, self.checkpoint, rows)
        except Exception as error:
            failure = _failure(error, rows)
            for running in waiting:
                fail(running.future, failure)
        finally:
            for module, training in modes.items():
                module.training = training

    def _take(self, running: _Running, token: int, logprob: float) -> bool:
        """Add a token to a reply; whether it wants another."""
        if self.closed:
            fail(running.future, RunError("the engine was closed"))
        elif not logprob > -float("inf"):
            fail(
                running.future,
                RunError("the model gave a token no probability (NaN): look at its weights and dtype"),
            )
        if running.future.done():
            return False
        running.ids.append(token)
        running.logprobs.append(logprob)
        finish = self._finish(running)
        self._tell(running)
        if finish:
            sample = Sample(
                tuple(running.ids), tuple(running.logprobs), finish, tuple(running.prompt), cached=0
            )
            settle(running.future, sample)  # unless cancelled, or failed by on_tokens
        return not running.future.done()

    def _finish(self, running: _Running) -> Literal["stop", "length"] | None:
        asked, ids = running.request.sampling, running.ids
        if ids[-1] in self._ends:
            return "stop"
        if asked.stop:  # may begin some tokens ago: a character is at most four tokens, each at least a byte
            recent = ids[-4 * (max(map(len, asked.stop)) + 1) :]
            text = self.checkpoint.tokenizer.decode(recent, skip_special_tokens=False)
            if any(stop in text for stop in asked.stop):
                return "stop"
        full = len(ids) >= asked.max_tokens or len(running.prompt) + len(ids) >= self.checkpoint.context
        return "length" if full else None

    def _tell(self, running: _Running) -> None:
        try:
            if running.on_tokens:
                running.on_tokens(tuple(running.ids))
        except Exception as error:  # the caller's own: only its request ends
            fail(running.future, RunError(f"on_tokens failed: {type(error).__name__}: {one_line(error)}"))


def _loaded(checkpoint: Checkpoint, dtype: str, device: str | None) -> Any:
    cpu.prepare()
    try:
        import torch
        from transformers import AutoModelForImageTextToText
    except ImportError as error:
        raise MissingError(
            f'transformers can\'t be imported ({one_line(error)}): pip install "r4agent[transformers]"'
        ) from error
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return AutoModelForImageTextToText.from_pretrained(checkpoint.weights, dtype=dtype).to(place)
    except Exception as error:
        if _out_of_memory(error):
            raise RunError(
                f"{checkpoint.name} does not fit into the memory of {place}: give dtype='bfloat16', or take "
                "a smaller model"
            ) from error
        raise MissingError(f"{checkpoint.name}: its weights can't be loaded: {one_line(error)}") from error


def _checked(model: Any, checkpoint: Checkpoint) -> Any:
    config = getattr(core_of(model), "config", None)
    family = getattr(config, "model_type", type(model).__name__)
    if family != checkpoint.family:
        raise UsageError(
            f"the model is a {family!r}, and {checkpoint.name} a {checkpoint.family!r}: give its own"
        )
    return model


def _failure(error: Exception, rows: Sequence[Row] = ()) -> R4Error:
    if _out_of_memory(error) and rows:  # without the error itself, whose traceback would hold the memory
        longest = max(len(row.prompt) for row in rows)
        return RunError(
            f"out of memory with {len(rows)} requests of up to {longest} prompt tokens at once: give the "
            "engine a smaller batch, or lower the budget's image_tokens"
        )
    failure = RunError(f"transformers failed: {type(error).__name__}: {one_line(error)}")
    failure.__cause__ = error
    return failure


def _out_of_memory(error: Exception) -> bool:
    """CUDA has a class for it; the CPU's allocator only says so."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
