"""Time to index, overviews, and what `frames` holds while it works."""

from pathlib import Path

import numpy as np
import pytest
from clips import draw, number_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from r4agent.errors import UsageError
from r4agent.geometry import Size
from r4agent.media import Source, open_source
from r4agent.media.decoders import Kind


class Numbers:
    """A decoder whose picture i is a single pixel of value i, and that notes what was asked of it."""

    name = "numbers"

    def __init__(self, times: list[float] | None, count: int, duration: float | None) -> None:
        self.kind: Kind = "pdf" if times is None else "video"
        self.times = None if times is None else np.array(times)
        self.count, self.duration = count, duration
        self.asked: list[int] = []

    def size_of(self, index: int) -> Size:
        return Size(1, 1)

    def picture(self, index: int) -> NDArray[np.uint8]:
        self.asked.append(index)
        return np.full((1, 1, 3), index % 256, np.uint8)

    def close(self) -> None:
        pass


def made(tmp: Path, times: list[float] | None = None, count: int = 0, end: float = 0.0) -> Source:
    length = None if times is None else end - times[0]
    return Source(tmp, Numbers(times, len(times or ()) or count, length))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "file"
    path.write_bytes(b"content")
    return path


def test_nearest_is_the_frame_on_screen(file: Path) -> None:
    source = made(file, [5.0, 5.1, 7.0], end=8.0)
    expect = {5.0: 0, 5.05: 0, 5.1: 1, 6.99: 1, 7.0: 2, 7.9: 2, 8.3: 2, 4.6: 0}
    assert {time: source.nearest(time) for time in expect} == expect


@pytest.mark.parametrize("time", [4.4, 8.6, -1.0, float("nan"), float("inf")])
def test_a_time_outside_says_what_is_inside(file: Path, time: float) -> None:
    with pytest.raises(UsageError, match=r"must be 5\.000 to 8\.000 seconds"):
        made(file, [5.0, 5.1, 7.0], end=8.0).nearest(time)


def test_pages_have_no_times(file: Path) -> None:
    with pytest.raises(UsageError, match="have no times"):
        made(file, None, count=3).nearest(1.0)


@given(rate=st.sampled_from([1, 23.976, 29.97, 60, 120]), index=st.integers(0, 999))
def test_a_time_written_with_three_decimals_names_its_frame(file: Path, rate: float, index: int) -> None:
    source = made(file, [i / rate for i in range(1000)], end=1000 / rate)
    assert source.times is not None
    assert source.nearest(round(float(source.times[index]), 3)) == index


@given(
    gaps=st.lists(st.floats(0.01, 50), min_size=1, max_size=40),
    start=st.floats(0, 100),
    n=st.integers(1, 60),
)
def test_an_overview_is_even_in_time(file: Path, gaps: list[float], start: float, n: int) -> None:
    times = [start + sum(gaps[:i]) for i in range(len(gaps))]
    end = start + sum(gaps)
    source = made(file, times, end=end)
    shown = source.overview(n)
    assert shown == sorted(set(shown))
    assert 1 <= len(shown) <= n
    for part in range(n):  # on screen at the middle of each part
        middle = times[0] + (part + 0.5) / n * (end - start)
        assert any(
            times[i] <= middle + 1e-6 and (i + 1 == len(times) or times[i + 1] > middle - 1e-6) for i in shown
        )


def test_an_overview_of_pages(file: Path) -> None:
    assert made(file, None, count=40).overview(4) == [5, 15, 25, 35]
    assert made(file, None, count=2).overview(8) == [0, 1]
    with pytest.raises(UsageError, match="at least 1"):
        made(file, None, count=2).overview(0)


@given(st.lists(st.integers(0, 30), max_size=20))
def test_frames_come_as_asked_decoded_once_in_ascending_order(file: Path, asked: list[int]) -> None:
    source = made(file, None, count=31)
    assert [f.index for f in source.frames(asked)] == asked
    decoder = source._decoder
    assert isinstance(decoder, Numbers)
    assert decoder.asked == sorted(set(asked))
    assert source.decoded == len(set(asked))


def test_nothing_is_decoded_ahead_of_its_turn(file: Path) -> None:
    source = made(file, None, count=31)
    frames = source.frames(range(31))
    next(frames)
    assert source.decoded == 1


def test_an_index_out_of_range_is_said_before_anything_is_decoded(file: Path) -> None:
    source = made(file, None, count=31)
    with pytest.raises(UsageError, match="frame 31: must be 0 to 30"):
        source.frames([0, 31])
    with pytest.raises(UsageError, match="frame -1"):
        source.frame(-1)
    assert source.decoded == 0


def test_times_cannot_be_changed(file: Path) -> None:
    source = made(file, [0.0, 1.0], end=2.0)
    assert source.times is not None
    with pytest.raises(ValueError, match="read-only"):
        source.times[0] = 9


def test_a_source_says_what_it_is(tmp_path: Path) -> None:
    draw(9).save(tmp_path / "one.png")
    with open_source(tmp_path / "one.png", isolate=False) as source:
        assert repr(source) == "Source('one.png', image, 1 x 320x240)"
        assert source.decoder.startswith("pillow ")
        assert number_of(source.frame(0).image) == 9
