"""Viewing: the page of whatever a path is.

Promises: an episode gives its page, a folder an index, a result file its result page; anything else is an
error that says what may be given. Does not: draw.
"""

from collections.abc import Callable
from pathlib import Path

from r4agent.errors import UsageError
from r4agent.evaluation.results import Results
from r4agent.page.episode_page import write_episode_page
from r4agent.page.index import write_index
from r4agent.page.reading import kind_of
from r4agent.page.results_page import write_results_page

Progress = Callable[[int, int], None]


def view(what: Path, out: Path | None = None, *, progress: Progress = lambda done, total: None) -> Path:
    """Make the page of `what`; returns the file to open. out: the page of an episode (default: its id in
    the current folder), or the folder of an index or of results (default: beside them)."""
    if what.is_dir():
        return write_index(what, out, progress=progress)
    match kind_of(what):
        case "episode":
            return write_episode_page(what, out or Path(f"{what.stem}.html"))
        case "results":
            folder = out or what.with_name(f"{what.stem}-page")
            return write_results_page(Results.read(what), folder, progress=progress)
        case _:
            raise UsageError(f"{what}: neither an episode, nor a result file, nor a folder of episodes")
