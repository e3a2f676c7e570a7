"""Futures of engines: ended from an engine's thread while their callers may cancel them at any moment.

Promises: to settle one that was just cancelled is no error; `wait` and `as_completed` see a cancelled one.
Does not: run anything.
"""

import contextlib
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

T = TypeVar("T")


def begun() -> "Future[Any]":
    """A future for work that goes on elsewhere. It stays pending until it is done, so that it can be
    cancelled; nobody but this would then wake those who wait for it among others."""
    future: Future[Any] = Future()
    future.add_done_callback(lambda one: one.cancelled() and one.set_running_or_notify_cancel())
    return future


def settle(future: "Future[T]", result: T) -> None:
    with contextlib.suppress(InvalidStateError):  # cancelled this very moment
        future.set_result(result)


def fail(future: "Future[Any]", error: Exception) -> None:
    with contextlib.suppress(InvalidStateError):
        future.set_exception(error)
