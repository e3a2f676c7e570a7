"""Viewing: the page of whatever a path is.

Promises: an episode gives its page, a folder an index, a result file its result page; anything else is an
error that says what may be given. Does not: draw.
"""

from collections.abc import Callable
from pathlib import Path

from r4agent.errors import UsageError
from r4agent.page.episode_page import write_episode_page
from r4agent.page.reading import kind_of

Progress = Callable[[int, int], None]


def view(what: Path, out: Path | None = None, *, progress: Progress = lambda done, total: None) -> Path:
    """Make the page of `what`; returns the file to open. out: the page of an episode (default: its id in
    the current folder), or the folder of an index or of results (default: beside them)."""
    if kind_of(what) == "episode":
        return write_episode_page(what, out or Path(f"{what.stem}.html"))
    raise UsageError(f"{what}: neither an episode, nor a result file, nor a folder of episodes")
