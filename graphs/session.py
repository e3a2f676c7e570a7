"""A session: one media file, looked at call by call by someone who has a model of their own.

Promises: the graph's tools, limits, labels and complaints, so that what a client's model learns of looking
holds in the graph too. A session has a budget: pictures and their tokens are checked before they are made;
its turns are the calls.
Does not: ask a policy, answer, or log.
"""

import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from r4agent import protocol
from r4agent.budget import Spent
from r4agent.errors import UsageError
from r4agent.graphs.dialogue import complaint, describe_media, problem_of
from r4agent.graphs.optics import Optics
from r4agent.graphs.sources import Sources
from r4agent.media import Source
from r4agent.media.view import Picture


@dataclass(frozen=True)
class Look:
    """What a call brings: pictures, and what there is to say. failed: no picture, and why."""

    pictures: tuple[Picture, ...]
    text: str
    failed: bool = False


class Session:
    """Looking at one media file. Safe to use from several threads; calls wait for each other."""

    def __init__(self, media: Path, optics: Optics, sources: Sources) -> None:
        self.media = media
        self.optics = optics
        self.seen: dict[str, Picture] = {}
        self.spent = Spent()
        self._sources = sources
        self._source_id: str | None = None
        self._name = f"session-{secrets.token_hex(4)}"
        self._lock = threading.Lock()

    def overview(self) -> Look:
        """What looking begins with: small pictures of the whole media, and how to go on."""
        with self._lock, self._source() as source:
            self._source_id = source.id
            made, problem = self.optics.make(source, self.optics.overview(source), first=1)
            about = f"This is {describe_media(source)}. Boxes are [x0, y0, x1, y1] in "
            return self._shown(made, problem, about + protocol.BOX_SPACES[self.optics.profile.space] + ".")

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Look:
        """Carry out a call of one of the graph's tools."""
        with self._lock:
            started = time.monotonic()
            try:
                self._check_budget()
                with self._source() as source:
                    views = self.optics.choose(tool, arguments, self.seen, source)
                    self.optics.afford(views, self.spent)
                    made, problem = self.optics.make(source, views, first=len(self.seen) + 1)
            except (UsageError, ValidationError) as error:
                made, problem = [], problem_of(error)
            self.spent = self.spent.plus(turns=1, seconds=time.monotonic() - started)
            return self._shown(made, problem, "")

    def close(self) -> None:
        """Let go of the media."""
        self._sources.close(self._name)

    def _source(self) -> AbstractContextManager[Source]:
        return self._sources.lease(self._name, str(self.media), source_id=self._source_id)

    def _check_budget(self) -> None:
        limits, spent = self.optics.budget, self.spent
        if spent.turns >= limits.turns or spent.seconds >= limits.seconds:
            raise UsageError(
                f"{spent.turns} calls in {spent.seconds:.0f} s used up this session; answer from what "
                "you have seen, or begin anew with an overview"
            )

    def _shown(self, made: list[Picture], problem: str | None, about: str) -> Look:
        """The pictures, now seen and paid for, what went wrong, and what is left."""
        self.spent = self.optics.paid(self.spent, made)
        self.seen |= {picture.name: picture for picture in made}
        limits, spent = self.optics.budget, self.spent
        left = f"{limits.turns - spent.turns} calls and {limits.images - spent.images} pictures are left."
        said = [about, complaint(problem) if problem else "", left]
        return Look(tuple(made), "\n".join(filter(None, said)), failed=not made)
