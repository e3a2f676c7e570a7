"""Open sources, shared by the episodes that look at the same media.

Promises: a source is opened when first needed (again after a resume), checked to be the file the run
began with, and closed when the last of its episodes ends or fails, or when it was left alone for
`IDLE_SECONDS`; at most `MOST` are open, the idle ones closed first. Where a file has ended its decoder, the
other episodes open it anew.
Does not: outlive the process; a resumed run opens its source anew.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from r4agent.errors import MediaError
from r4agent.media import Limits, Source, open_source
from r4agent.media.files import check, fingerprint

MOST = 64  # open sources a graph; each is a process of some 30 MB
IDLE_SECONDS = 60.0  # an abandoned run is seen by nothing but time; opening again costs 0.2 s


@dataclass(eq=False)
class _Shared:
    """A source that is open or being opened: whose it is, and how many look at it now."""

    source: Future[Source] = field(default_factory=Future)
    episodes: set[str] = field(default_factory=set)
    leases: int = 0
    used: float = 0.0

    def spent_for(self, episode: str) -> bool:
        """Whether its decoder has ended, and another episode may be why."""
        return self.source.done() and self.source.result().ended and self.episodes != {episode}


class Sources:
    """The open sources of one graph. Safe to use from several threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: OrderedDict[tuple[str, str], _Shared] = OrderedDict()  # by path and id
        self._sweeper: threading.Timer | None = None
        self._lock = threading.Lock()

    @contextmanager
    def lease(self, episode: str, media: str, *, source_id: str | None = None) -> Iterator[Source]:
        """The source of an episode, kept open while in the block and, if there is room, after it."""
        if source_id is None:
            check(Path(media), self.limits)
        key = (media, source_id or fingerprint(Path(media)))
        shared = self._take(episode, key)
        try:
            source = shared.source.result()
            if source_id is not None and (source.id != source_id or _replaced(source)):
                raise MediaError(f"{media}: changed since this run began; ask on a new thread")
            yield source
        finally:
            with self._lock:
                shared.leases -= 1
                shared.used = time.monotonic()
                self._sweep_later()
            self._close_unused()

    def close(self, episode: str) -> None:
        """The episode has ended: close its source, unless others look at it."""
        with self._lock:
            for shared in self._open.values():
                shared.episodes.discard(episode)
        self._close_unused()

    def _take(self, episode: str, key: tuple[str, str]) -> _Shared:
        with self._lock:
            shared = self._open.get(key)
            to_open = shared is None or shared.spent_for(episode)
            if shared is None or to_open:
                shared = self._open[key] = _Shared()
            self._open.move_to_end(key)
            shared.episodes.add(episode)
            shared.leases += 1
        if to_open:
            try:
                shared.source.set_result(open_source(key[0], limits=self.limits))
            except BaseException as error:
                with self._lock:
                    self._open.pop(key, None)
                shared.source.set_exception(error)  # for all who wait for it
        return shared

    def _close_unused(self) -> None:
        with self._lock:
            idle = [key for key, shared in self._open.items() if not shared.leases]
            surplus = idle[: max(0, len(self._open) - MOST)]
            unused = [key for key in idle if not self._open[key].episodes]
            closing = [self._open.pop(key) for key in {*surplus, *unused}]
        for shared in closing:
            shared.source.result().close()

    def _sweep_later(self) -> None:
        """Have the abandoned ones closed in a while, unless that is under way. Called with the lock held."""
        if self._open and self._sweeper is None:
            self._sweeper = threading.Timer(IDLE_SECONDS, self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        with self._lock:
            self._sweeper = None
            since = time.monotonic() - IDLE_SECONDS
            for shared in self._open.values():
                if not shared.leases and shared.used <= since:
                    shared.episodes.clear()
        self._close_unused()
        with self._lock:
            self._sweep_later()


def _replaced(source: Source) -> bool:
    """Whether pictures have changed on disk. A video or document stays open, and so stays what it was;
    pictures are opened each time they are looked at."""
    return source.kind in ("image", "images") and fingerprint(source.path) != source.id
