"""Controls: calls bring what the control says, and everything else is as in a true run."""

from pathlib import Path
from typing import Any

import pytest

from r4agent import Episode, MediaStore
from r4agent.geometry import QWEN2_5_VL, Size
from r4agent.graphs.controls import GREY, NO_PICTURE, elsewhere
from r4agent.media import open_source
from r4agent.media.view import Picture
from r4agent.tools.select_frames import whole

from .conftest import EVERY_NODE

OVERVIEW = 8


class Seen:
    """The pictures and the words of a run's episode."""

    def __init__(self, result: dict[str, Any]) -> None:
        self.episode = Episode.read(result["episode"])
        blocks = [
            block for line in self.episode.messages for block in line["content"] if isinstance(block, dict)
        ]
        self.pictures = [Picture.from_block(block) for block in blocks if block["type"] == "image"]
        self.words = "\n".join(block["text"] for block in blocks if block["type"] == "text")
        self.store = MediaStore(Path(self.episode.header["store"]))


@pytest.fixture
def run(graph_of: Any, clip: Path) -> Any:
    def run(control: str | None) -> Seen:
        graph = graph_of([*EVERY_NODE, "<answer>42</answer>"], control=control)
        return Seen(graph.invoke({"media": str(clip), "question": "What does the red sign say?"}))

    return run


def test_the_overview_is_the_same_and_the_header_says_which_control(run: Any) -> None:
    true = run(None)
    for control in ("no-tool", "blank-crop", "random-crop"):
        spoilt = run(control)
        assert spoilt.pictures[:OVERVIEW] == true.pictures[:OVERVIEW]
        assert spoilt.episode.header["control"] == control
    assert true.episode.header["control"] is None


def test_no_tool_brings_no_picture_and_says_so(run: Any) -> None:
    seen = run("no-tool")
    assert len(seen.pictures) == OVERVIEW
    assert seen.words.count(NO_PICTURE) == 2  # zoom named a picture that there is not, and was told that
    assert seen.episode.status == "answered"


def test_blank_crop_brings_grey_of_the_size_asked_for(run: Any) -> None:
    true, spoilt = run(None), run("blank-crop")
    assert [p.view for p in spoilt.pictures] == [p.view for p in true.pictures]
    for picture in spoilt.pictures[OVERVIEW:]:
        image = spoilt.store.get(picture.ref)
        assert image.getcolors() == [(image.width * image.height, GREY)]
        assert Size(image.width, image.height) == picture.view.size


def test_random_crop_brings_as_large_a_place_elsewhere_and_labels_it_truly(run: Any, clip: Path) -> None:
    true, spoilt = run(None), run("random-crop")
    chosen, wanted = spoilt.pictures[OVERVIEW:], true.pictures[OVERVIEW:]
    assert [p.view.size for p in chosen] == [p.view.size for p in wanted]
    assert {p.view.recipe for p in chosen}.isdisjoint(p.view.recipe for p in wanted)
    region = chosen[2].view
    assert (region.region.width, region.region.height) == (
        wanted[2].view.region.width,
        wanted[2].view.region.height,
    )
    with open_source(clip) as source:
        for picture in chosen:  # the recipe makes the very picture that was shown
            frame = next(iter(source.frames([picture.view.frame])))
            assert picture.view.cut(frame.image).tobytes() == spoilt.store.get(picture.ref).tobytes()
            assert f"[{picture.name}] frame {picture.view.frame} " in spoilt.words


def test_random_crop_never_brings_the_frame_asked_for_where_there_is_another(clip: Path) -> None:
    with open_source(clip) as source:
        source.count = 2  # so that one draw in two would hit it
        frames = whole(source, [0, 1], profile=QWEN2_5_VL, max_tokens=100)
        for seed in map(str, range(20)):
            for view in frames:
                (moved,) = elsewhere([view], source, QWEN2_5_VL, seed)
                assert moved.frame == 1 - view.frame


def test_random_crop_draws_the_same_places_again(run: Any) -> None:
    assert run("random-crop").pictures == run("random-crop").pictures
