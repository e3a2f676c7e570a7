"""The demo clip is what its questions say: each answer can be read in its box, and not in a thumbnail."""

from pathlib import Path

import av
import pytest
from PIL import Image

from r4agent.item import Item, read_items
from r4agent.reader import Reader

pytestmark = pytest.mark.slow

CLIP_SIZE, THUMBNAIL = (1440, 900), (448, 280)
IDS = ("demo-version", "demo-backup", "demo-approver", "demo-port", "demo-latency")


@pytest.fixture(scope="module")
def items(repo: Path) -> dict[str, Item]:
    return {item.id: item for item in read_items(repo / "examples" / "demo.jsonl")}


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


def frame_at(clip: Path, time: float) -> Image.Image:
    """The frame that stands at `time`, decoded from the start so that no seek can be wrong."""
    with av.open(str(clip)) as opened:
        shown = None
        for frame in opened.decode(video=0):
            if shown is not None and frame.time > time:
                break
            shown = frame
        assert shown is not None
        return shown.to_image()


def text_in(reader: Reader, picture: Image.Image) -> str:
    return " ".join(line.text for line in reader.read(picture))


def test_every_question_is_tested(items: dict[str, Item]) -> None:
    assert set(items) == set(IDS)


@pytest.mark.parametrize("name", IDS)
def test_answer_stands_in_its_box_only_at_full_size(
    name: str, items: dict[str, Item], repo: Path, reader: Reader
) -> None:
    item = items[name]
    span = item.evidence[0]
    assert span.box is not None
    picture = frame_at(repo / "examples" / item.media, (span.start + span.end) / 2)
    assert picture.size == CLIP_SIZE
    x0, y0, x1, y1 = span.box
    around = picture.crop((round(x0) - 12, round(y0) - 8, round(x1) + 12, round(y1) + 8))
    assert item.answers[0] in text_in(reader, around)
    assert item.answers[0] not in text_in(reader, picture.resize(THUMBNAIL, Image.Resampling.LANCZOS))


def test_pop_up_stands_under_a_second_and_nowhere_in_eight_frames(items: dict[str, Item]) -> None:
    (span,) = items["demo-backup"].evidence
    assert 0.7 <= span.end - span.start < 0.8
    middles = [14 * (i + 0.5) / 8 for i in range(8)]
    ends = [14 * i / 7 for i in range(8)]
    assert not [t for t in middles + ends if span.start <= t < span.end]
