"""Viewing: the page of whatever a path is.

Promises: an episode gives its page, a folder an index, a result file its result page; anything else is an
error that says what may be given. Does not: draw.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from r4agent.errors import UsageError
from r4agent.evaluation.results import Results
from r4agent.page.episode_page import write_episode_page
from r4agent.page.index import write_index
from r4agent.page.reading import kind_of
from r4agent.page.results_page import write_results_page

Progress = Callable[[int, int], None]


def view(
    what: Path | Sequence[Path],
    out: Path | None = None,
    *,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Make the page of `what`; returns the file to open. out: the page of an episode (default: its id in
    the current folder), or the folder of an index or of results (default: beside them). Several paths must
    be result files: they are shown side by side."""
    paths = [what] if isinstance(what, Path) else list(what)
    first, kinds = paths[0], {kind_of(path) for path in paths}
    if kinds == {"results"}:
        folder = out or first.with_name(f"{first.stem}-page")
        return write_results_page([Results.read(path) for path in paths], folder, progress=progress)
    if len(paths) > 1:
        raise UsageError("several files can be viewed at once only if all are result files; give one")
    if first.is_dir():
        return write_index(first, out, progress=progress)
    if kinds == {"episode"}:
        return write_episode_page(first, out or Path(f"{first.stem}.html"))
    raise UsageError(f"{first}: neither an episode, nor a result file, nor a folder of episodes")
