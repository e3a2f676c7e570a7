"""Worker processes: Ctrl-C while they begin."""

import os
import signal
import threading
import time

import pytest

from r4agent.evaluation.workers import _deaf_to_interrupts


def test_an_interrupt_that_another_thread_takes_waits_for_the_end_of_the_block() -> None:
    """numpy's threads take signals too, and Python raises in the main thread whoever took them."""
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()  # before the block, so that it has the signal unmasked
    told: list[str] = []

    def interrupted() -> None:
        with _deaf_to_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)  # time for Python to notice
            told.append("in the block")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert told == ["in the block"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
        interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
        done.set()
        other.join()


def test_workers_may_be_begun_from_another_thread() -> None:
    entered: list[bool] = []

    def enter() -> None:
        with _deaf_to_interrupts():
            entered.append(True)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [True]
