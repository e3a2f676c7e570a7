"""The page of one episode: what was asked, seen and answered.

Promises: one HTML file that needs nothing else; a damaged, unfinished or failed episode still has a page,
which says so. Does not: run anything.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from r4agent import __version__
from r4agent.errors import RunError, one_line
from r4agent.media.store import MediaStore
from r4agent.page.album import Album
from r4agent.page.reading import raw_lines, read_episode
from r4agent.page.render import is_made_from, made_by, render, write
from r4agent.page.story import tell

RAW = 2_000_000  # characters of the log that a page shows


@dataclass(frozen=True, slots=True)
class Judged:
    """What an evaluation says of the answer. css: right, wrong."""

    css: str
    words: str
    accepted: tuple[str, ...] = ()


def episode_page(path: Path, *, store: MediaStore | None = None, judged: Judged | None = None) -> str:
    """The page of the episode in this file. store: where its pictures are; the one its header names when
    None. Raises RunError when the file is no episode."""
    episode, damage = read_episode(path)
    story = tell(episode, damage)
    store = store or _store_of(episode.header)
    sharp = {s.picture.ref for proof in story.proofs for s in (proof.sight, proof.whole) if s}
    raw, raw_whole = raw_lines(path, RAW)
    return render(
        "episode.html",
        title=story.question,
        stamp=stamp_of(path, judged),
        scripts=("page.js",),
        story=story,
        album=Album(store, story.pictures, sharp),
        pictures=len(story.pictures),
        judged=judged,
        raw=raw,
        raw_whole=raw_whole,
        version=__version__,
        when=f"{story.created:%-d %B %Y, %H:%M}" if story.created else "",
    )


def write_episode_page(
    path: Path, out: Path, *, store: MediaStore | None = None, judged: Judged | None = None
) -> Path:
    """Write the page to `out`, unless what is there was made of the same."""
    if not is_made_from(out, stamp_of(path, judged)):
        write(out, episode_page(path, store=store, judged=judged))
    return out


def stamp_of(path: Path, judged: Judged | None = None) -> str:
    """What a page is made of, in 16 digits: the log, the judgement, and this version."""
    try:
        stat = path.stat()
    except OSError as error:
        raise RunError(f"{path}: can't be read ({one_line(error)})") from error
    made_of = f"{made_by()} {path.name} {stat.st_size} {stat.st_mtime_ns} {judged}"
    return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def _store_of(header: dict[str, object]) -> MediaStore:
    root = header.get("store")
    return MediaStore(root if isinstance(root, str) else None, cache_bytes=64 << 20)
