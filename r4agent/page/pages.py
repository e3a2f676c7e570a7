"""Pages: many episodes' pages at once.

Promises: a page that was made of the same is left alone; one that can't be made costs that one, and why is
said. Does not: keep more than a few pages in memory.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from r4agent.errors import R4Error, one_line
from r4agent.page.episode_page import Judged, write_episode_page


@dataclass(frozen=True, slots=True)
class Job:
    """A page to be made of the episode in `log`."""

    log: Path
    out: Path
    judged: Judged | None = None


def write_pages(
    jobs: Sequence[Job], progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[Job, str]:
    """Make them, on every core: most of the time goes to pictures, and Pillow lets other threads run then.
    Returns what could not be made, and why."""
    problems: dict[Job, str] = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        waiting = {pool.submit(write_episode_page, job.log, job.out, judged=job.judged): job for job in jobs}
        for done, future in enumerate(as_completed(waiting), start=1):
            try:
                future.result()
            except R4Error as error:
                problems[waiting[future]] = one_line(error)
            progress(done, len(jobs))
    return problems
