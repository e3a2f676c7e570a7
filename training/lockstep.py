"""Lockstep: an engine whose callers sit at numbered seats, so that many rollouts at once can be repeated.

Promises: what is sampled follows from the run's seed, the step, the seat and the turn, whoever asks first. An
engine that takes whole batches (transformers) gets the requests of all seats at once, in their order, so that
a run repeats to the last bit. What goes wrong with a batch reaches every seat that waits for it.
Does not: know episodes, or tell tokens as they come where it holds requests back.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from r4agent.engines import Engine, Request, Sample
from r4agent.engines.futures import begun, fail, settle
from r4agent.engines.request import Tokens

_seat: ContextVar[int] = ContextVar("seat")


class Lockstep:
    """An engine for the seats of one step after another. Each seat asks for one thing at a time, in a `with
    seat(n)` block; once it has left, nobody waits for it.

    seed: of the run. held: whether requests wait until every seat that is still taken has one.
    """

    def __init__(self, engine: Engine, *, seed: int) -> None:
        self.engine = engine
        self.seed = seed
        self.name, self.checkpoint = engine.name, engine.checkpoint
        self._submit_all: Callable[[Sequence[Request]], list[Future[Sample]]] | None
        self._submit_all = getattr(engine, "submit_all", None)
        self._step = 0
        self._turns: Counter[int] = Counter()
        self._taken: set[int] = set()
        self._waiting: dict[int, tuple[Request, Future[Sample]]] = {}
        self._lock = threading.Lock()

    @property
    def held(self) -> bool:
        return self._submit_all is not None

    @property
    def closed(self) -> bool:
        return self.engine.closed

    def begin(self, step: int, seats: Iterable[int]) -> None:
        """The next step, with these seats. To be called while none is taken."""
        self._step, self._taken, self._turns = step, set(seats), Counter()

    @contextmanager
    def seat(self, number: int) -> Iterator[None]:
        """What asks in this block, and in tasks begun in it, sits at this seat."""
        token = _seat.set(number)
        try:
            yield
        finally:
            _seat.reset(token)
            with self._lock:
                self._taken.discard(number)
                self._waiting.pop(number, None)
            self._go()

    def submit(self, request: Request, on_tokens: Tokens | None = None) -> "Future[Sample]":
        """Begin a request, or hold it until all seats have one. See `Engine`."""
        seat = _seat.get()
        with self._lock:
            self._turns[seat] += 1
            seed = seed_of(self.seed, self._step, seat, self._turns[seat])
        request = replace(request, sampling=replace(request.sampling, seed=seed))
        if not self.held:
            return self.engine.submit(request, on_tokens)
        future: Future[Sample] = begun()
        with self._lock:
            self._waiting[seat] = (request, future)
        self._go()
        return future

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def _go(self) -> None:
        """Hand over what waits, once every seat has something."""
        with self._lock:
            if not self._waiting or self._waiting.keys() != self._taken:
                return
            batch = [self._waiting[seat] for seat in sorted(self._waiting)]
            self._waiting = {}
        assert self._submit_all is not None
        running = self._submit_all([request for request, _ in batch])
        for (_, asked), future in zip(batch, running, strict=True):
            _join(asked, future)


def seed_of(run: int, step: int, seat: int, turn: int) -> int:
    """A request's seed: another for each place in a run, the same in every run of it."""
    digest = hashlib.sha256(f"{run} {step} {seat} {turn}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


def _join(asked: "Future[Sample]", running: "Future[Sample]") -> None:
    """What the engine's future comes to is what was asked for; who no longer asks stops it."""

    def done(future: "Future[Sample]") -> None:
        if future.cancelled():
            asked.cancel()
        elif error := future.exception():
            assert isinstance(error, Exception)
            fail(asked, error)
        else:
            settle(asked, future.result())

    running.add_done_callback(done)
    asked.add_done_callback(lambda future: future.cancelled() and running.cancel())
