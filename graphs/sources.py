"""Open sources, one for each running episode.

Promises: a source is opened when first needed (again after a resume), checked to be the file the run
began with, and closed when the episode ends, fails, or was left alone for `IDLE_SECONDS`; at most `MOST`
are open, the idle ones closed first.
Does not: outlive the process; a resumed run opens its source anew.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from r4agent.errors import MediaError
from r4agent.media import Limits, Source, open_source
from r4agent.media.files import fingerprint

MOST = 16  # open sources a graph; each is a small process
IDLE_SECONDS = 60.0  # an abandoned run is seen by nothing but time; opening again costs 0.3 s


class Sources:
    """The open sources of one graph. Safe to use from several threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: OrderedDict[str, Source] = OrderedDict()
        self._leased: dict[str, int] = {}
        self._used: dict[str, float] = {}
        self._sweeper: threading.Timer | None = None
        self._lock = threading.Lock()

    @contextmanager
    def lease(self, episode: str, media: str, *, source_id: str | None = None) -> Iterator[Source]:
        """The source of an episode, kept open while in the block and, if there is room, after it."""
        source = self._take(episode, media)
        try:
            if source_id is not None and (source.id != source_id or _replaced(source)):
                raise MediaError(f"{media}: changed since this run began; ask on a new thread")
            yield source
        finally:
            with self._lock:
                if episode in self._leased:  # else it was closed in the block
                    self._leased[episode] -= 1
                    self._used[episode] = time.monotonic()
                    self._sweep_later()

    def close(self, episode: str) -> None:
        """Close the episode's source, if it is open."""
        with self._lock:
            source = self._open.pop(episode, None)
            self._leased.pop(episode, None)
        if source is not None:
            source.close()

    def _take(self, episode: str, media: str) -> Source:
        with self._lock:
            source = self._open.get(episode)
            if source is not None:
                self._open.move_to_end(episode)
                self._leased[episode] += 1
                return source
        source = open_source(media, limits=self.limits)
        with self._lock:
            self._open[episode] = source
            self._leased[episode] = 1
            idle = [name for name in self._open if not self._leased[name]]
            closing = [self._open.pop(name) for name in idle[: max(0, len(self._open) - MOST)]]
            for name in idle[: len(closing)]:
                del self._leased[name]
        for old in closing:
            old.close()
        return source

    def _sweep_later(self) -> None:
        """Have the idle ones closed in a while, unless that is under way. Called with the lock held."""
        if self._sweeper is None:
            self._sweeper = threading.Timer(IDLE_SECONDS, self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        with self._lock:
            self._sweeper = None
            since = time.monotonic() - IDLE_SECONDS
            idle = [name for name in self._open if not self._leased[name] and self._used[name] <= since]
            closing = [self._open.pop(name) for name in idle]
            for name in idle:
                del self._leased[name]
            if self._open:
                self._sweep_later()
        for source in closing:
            source.close()


def _replaced(source: Source) -> bool:
    """Whether pictures have changed on disk. A video or document stays open, and so stays what it was;
    pictures are opened each time they are looked at."""
    return source.kind in ("image", "images") and fingerprint(source.path) != source.id
