"""Pages: what was asked, seen and answered, as files that a browser opens from disk.

Promises: one self-contained HTML file, no network; whatever text a video holds is shown as text.
Does not: run anything or change a log.
"""

from r4agent.page.animation import write_gif
from r4agent.page.episode_page import Judged, episode_page, write_episode_page
from r4agent.page.index import write_index
from r4agent.page.results_page import write_results_page
from r4agent.page.viewing import view

__all__ = [
    "Judged",
    "episode_page",
    "view",
    "write_episode_page",
    "write_gif",
    "write_index",
    "write_results_page",
]
