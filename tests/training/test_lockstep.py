"""Lockstep: what is sampled hangs on seats, not on luck; nobody waits for ever."""

import threading
from concurrent.futures import Future, wait
from contextvars import copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4agent.engines import Checkpoint, Request, Sample, Sampling
from r4agent.errors import RunError
from r4agent.training.lockstep import Lockstep, seed_of


class Batches:
    """An engine that answers batches with the seeds it was given."""

    name = "batches"
    closed = False

    def __init__(self, checkpoint: Checkpoint | None = None) -> None:
        self.checkpoint = checkpoint
        self.asked: list[list[tuple[int, ...]]] = []
        self.error: Exception | None = None

    def submit_all(self, requests: list[Request]) -> list["Future[Sample]"]:
        self.asked.append([request.ids for request in requests])
        futures: list[Future[Sample]] = [Future() for _ in requests]
        for future, request in zip(futures, requests, strict=True):
            if self.error:
                future.set_exception(self.error)
            else:
                seed = request.sampling.seed or 0
                future.set_result(Sample((seed,), (0.0,), "stop", request.ids))
        return futures

    def close(self) -> None:
        self.closed = True


def request(*ids: int) -> Request:
    return Request(ids, (), lambda ref: None, Sampling())  # type: ignore[arg-type, return-value]


def sit(lockstep: Lockstep, seat: int, turns: int) -> "Future[list[int]]":
    """One who asks `turns` times in a thread of its own; the seeds of its replies."""
    told: Future[list[int]] = Future()

    def ask() -> None:
        seeds: list[int] = []
        try:
            with lockstep.seat(seat):
                for turn in range(turns):
                    sample = lockstep.submit(request(seat, turn)).result(30)
                    seeds.append(sample.ids[0])
        except Exception as error:
            told.set_exception(error)
        else:
            told.set_result(seeds)

    threading.Thread(target=copy_context().run, args=(ask,), daemon=True).start()
    return told


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_batches_are_of_seats_in_order_whoever_asks_first(order: tuple[int, ...]) -> None:
    """Seats leave after 1, 2 and 3 turns; the others go on without them."""
    engine = Batches()
    lockstep = Lockstep(engine, seed=7)  # type: ignore[arg-type]
    for step in (1, 2):
        lockstep.begin(step, range(3))
        seats = {seat: sit(lockstep, seat, turns=seat + 1) for seat in order}
        for seat, told in seats.items():
            assert told.result(30) == [seed_of(7, step, seat, turn) for turn in range(1, seat + 2)]
    assert engine.asked == [[(0, 0), (1, 0), (2, 0)], [(1, 1), (2, 1)], [(2, 2)]] * 2


def test_one_who_leaves_without_a_word_is_not_waited_for() -> None:
    lockstep = Lockstep(Batches(), seed=0)  # type: ignore[arg-type]
    lockstep.begin(1, range(3))
    waiting = [sit(lockstep, seat, turns=1) for seat in (0, 2)]
    assert not wait(waiting, timeout=0.2).done
    with pytest.raises(ZeroDivisionError), lockstep.seat(1):
        raise ZeroDivisionError
    assert all(told.result(30) for told in waiting)


def test_an_error_reaches_every_seat() -> None:
    engine = Batches()
    engine.error = RunError("out of memory")
    lockstep = Lockstep(engine, seed=0)  # type: ignore[arg-type]
    lockstep.begin(1, range(4))
    for told in [sit(lockstep, seat, turns=2) for seat in range(4)]:
        with pytest.raises(RunError, match="out of memory"):
            told.result(30)
    assert len(engine.asked) == 1


def test_who_no_longer_waits_is_taken_off() -> None:
    """A reply that came too late: its rollout leaves, and the batch goes without it."""
    engine = Batches()
    lockstep = Lockstep(engine, seed=0)  # type: ignore[arg-type]
    lockstep.begin(1, range(2))
    with lockstep.seat(0):
        lockstep.submit(request(0)).cancel()
    assert sit(lockstep, 1, turns=1).result(30)
    assert engine.asked == [[(1, 0)]]


def test_an_engine_without_batches_is_asked_at_once() -> None:
    class Single:
        name, checkpoint, closed = "single", None, False

        def submit(self, request: Request, on_tokens: object = None) -> "Future[Sample]":
            future: Future[Sample] = Future()
            future.set_result(Sample((request.sampling.seed or 0,), (0.0,), "stop", request.ids))
            return future

    lockstep = Lockstep(Single(), seed=3)  # type: ignore[arg-type]
    lockstep.begin(5, range(9))
    assert sit(lockstep, 4, turns=2).result(30) == [seed_of(3, 5, 4, 1), seed_of(3, 5, 4, 2)]


PLACES = st.tuples(*[st.integers(0, 10_000)] * 4)


@given(PLACES, PLACES)
def test_every_place_has_its_own_seed(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    assert (seed_of(*one) == seed_of(*other)) == (one == other)
    assert 0 <= seed_of(*one) < 2**48
