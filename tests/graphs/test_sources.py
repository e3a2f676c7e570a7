"""Sources are shared by the episodes that look at the same media, and closed when nobody needs them."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from r4agent.errors import MediaError
from r4agent.graphs import sources as module
from r4agent.graphs.sources import Sources
from r4agent.media import Limits, Source, open_source

Opened = list[Source]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Every source that was opened."""
    found: Opened = []

    def noted(media: str, *, limits: Limits) -> Source:
        found.append(open_source(media, limits=limits))
        return found[-1]

    monkeypatch.setattr(module, "open_source", noted)
    yield found
    for source in found:
        source.close()


def test_episodes_at_once_share_a_source_until_the_last_has_ended(clip: Path, opened: Opened) -> None:
    sources = Sources(Limits())
    together = threading.Barrier(4)

    def look(episode: str) -> Source:
        together.wait()
        with sources.lease(episode, str(clip)) as source:
            return source

    with ThreadPoolExecutor(4) as pool:
        [source] = set(pool.map(look, "abcd"))
    assert opened == [source]
    for episode in "abc":
        sources.close(episode)
    assert not source.ended
    sources.close("d")
    assert source.ended


def test_an_ended_decoder_is_not_handed_to_others(clip: Path, opened: Opened) -> None:
    sources = Sources(Limits())
    with sources.lease("a", str(clip)) as source:
        pass
    os.kill(source._decoder._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    with pytest.raises(MediaError, match="died"), sources.lease("a", str(clip), source_id=source.id) as same:
        same.frame(0)
    assert same is source
    with sources.lease("b", str(clip)) as other:
        assert other.frame(0)
    with sources.lease("a", str(clip), source_id=source.id) as again:
        assert again is other
    assert len(opened) == 2


def test_what_cannot_be_opened_is_tried_again(tmp_path: Path, clip: Path, opened: Opened) -> None:
    sources, path = Sources(Limits()), tmp_path / "late.mp4"
    path.write_bytes(b"no media at all")
    for _ in range(2):
        with pytest.raises(MediaError), sources.lease("a", str(path)):
            pass
    path.write_bytes(clip.read_bytes())
    with sources.lease("a", str(path)) as source:
        assert source.count


def test_the_idle_ones_are_closed_first(
    tmp_path: Path, clip: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    sources = Sources(Limits())
    paths = [tmp_path / f"{n}.mp4" for n in range(3)]
    for path in paths:
        path.write_bytes(clip.read_bytes())
        with sources.lease(path.stem, str(path)):
            pass
    assert [source.ended for source in opened] == [True, False, False]
    with sources.lease("0", str(paths[0]), source_id=opened[0].id) as again:
        assert not again.ended
