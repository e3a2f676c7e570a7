"""Workers: who ask questions side by side: processes, for policies that keep a core busy, or threads, for a
model whose engine takes many at once.

Promises: rows come as they are done; processes end with the one that began them, also when that is killed;
Ctrl-C is told once, by that process.
Does not: share a model between processes, or decide what is asked.
"""

import os
import signal
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from multiprocessing import connection, get_context
from pathlib import Path

from r4agent.budget import Budget
from r4agent.errors import RunError
from r4agent.evaluation.asker import Asker
from r4agent.evaluation.results import Row
from r4agent.evaluation.subject import Subject
from r4agent.item import Item


def ask_in_processes(
    subject: Subject, path: Path, todo: list[tuple[Item, Budget]], workers: int
) -> Generator[Row]:
    """Rows as they are done. Workers are spawned, as the reader's engine has threads, which a fork loses."""
    spawn = get_context("spawn")
    lifeline, held = spawn.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, spawn, initializer=_begin, initargs=(subject, path, lifeline))
    try:
        with _deaf_to_interrupts():  # as the workers begun here stay: only this process is to say so
            waiting = {pool.submit(_ask, item, budget) for item, budget in todo}
        for future in as_completed(waiting):
            yield future.result()
    except BrokenProcessPool as error:
        raise RunError(
            "a worker process was killed, as happens when memory runs out; resume with fewer workers"
        ) from error
    except KeyboardInterrupt:
        held.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def ask_in_threads(
    subject: Subject, path: Path, todo: list[tuple[Item, Budget]], workers: int
) -> Generator[Row]:
    """Rows as they are done. The threads share the policy, and so its engine's batches."""
    own = threading.local()

    def ask(item: Item, budget: Budget) -> Row:
        if not hasattr(own, "asker"):
            own.asker = Asker(subject, path, threads=1)
        row: Row = own.asker.ask(item, budget)
        return row

    pool = ThreadPoolExecutor(workers)
    try:
        waiting = {pool.submit(ask, item, budget) for item, budget in todo}
        for future in as_completed(waiting):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C in the block arrives after it; processes begun in it never hear one. Where it is ignored, as
    under nohup, it stays so."""
    heard: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # processes inherit this
    try:
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        if ignored or threading.current_thread() is not threading.main_thread():  # which alone hears of it
            yield
            return
        # The mask is this thread's alone: one of numpy's takes the signal, and Python would raise it here.
        handler = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, handler)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if heard:
        raise KeyboardInterrupt


_subject: Subject  # of this worker process, as is its
_path: Path


def _begin(subject: Subject, path: Path, lifeline: connection.Connection) -> None:
    """In a worker, first: nothing that can fail, since the pool would not say why."""
    global _subject, _path
    _subject, _path = subject, path
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


@cache
def _asker() -> Asker:
    """This worker's."""
    return Asker(_subject, _path, threads=1)


def _end_with(lifeline: connection.Connection) -> None:
    """End this worker, whatever it is at, when its parent lets go of the other end or was killed."""
    connection.wait([lifeline])
    os._exit(1)


def _ask(item: Item, budget: Budget) -> Row:
    return _asker().ask(item, budget)
