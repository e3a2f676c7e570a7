"""The three tools as functions: what they choose, and what they say of a bad request."""

from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from r4agent import Budget, MediaStore, UsageError, open_source
from r4agent.geometry import QWEN2_5_VL, QWEN3_VL, Box, ModelProfile, Size
from r4agent.media import Source
from r4agent.media.view import View
from r4agent.tools import (
    ReEncode,
    SelectFrames,
    Zoom,
    detail_tokens,
    overview,
    re_encode,
    see_again,
    select_frames,
    zoom,
)

WHOLE = View(0, 0.0, Box(0, 0, 1920, 1080), Size(448, 252))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of different sizes, each of one grey."""
    path = tmp_path_factory.mktemp("pages")
    for n in range(5):
        Image.new("RGB", (300 + 50 * n, 200), (n * 50,) * 3).save(path / f"{n + 1}.png")
    return path


@pytest.fixture
def source(folder: Path) -> Source:  # type: ignore[misc]
    with open_source(folder) as opened:
        yield opened


def test_frames_are_chosen_once_each_in_order(source: Source) -> None:
    views = select_frames(source, SelectFrames(frames=[5, 2, 2]), profile=QWEN2_5_VL, max_tokens=576)
    assert [view.frame for view in views] == [1, 4]  # pages are counted from 1
    assert views[1].region == Box(0, 0, 500, 200)


def test_pages_have_no_times(source: Source) -> None:
    with pytest.raises(UsageError, match="give frames from 1 to 5"):
        select_frames(source, SelectFrames(times=[1.0]), profile=QWEN2_5_VL, max_tokens=576)
    with pytest.raises(UsageError, match="frame 6: outside 1 to 5"):
        select_frames(source, SelectFrames(frames=[6]), profile=QWEN2_5_VL, max_tokens=576)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"times": [1], "frames": [1]},
        {"times": [float("nan")]},
        {"frames": [1.5]},
        {"frames": [1] * 17},
        {"path": "/etc"},
    ],
)
def test_bad_arguments_of_select_frames(arguments: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SelectFrames.model_validate(arguments)


@pytest.mark.parametrize(
    ("profile", "box"), [(QWEN2_5_VL, [112, 63, 224, 126]), (QWEN3_VL, [250, 250, 500, 500])]
)
def test_zoom_reads_the_box_in_the_models_space(profile: ModelProfile, box: list[float]) -> None:
    view = zoom(
        WHOLE, Zoom(view="v1", box=box), source_size=Size(1920, 1080), profile=profile, max_tokens=1280
    )
    assert view.region == Box(480, 270, 960, 540)
    assert (view.frame, view.time) == (WHOLE.frame, WHOLE.time)
    assert view.size.width % profile.grid == view.size.height % profile.grid == 0


def test_a_zoom_of_a_zoom_is_in_source_pixels_again() -> None:
    size = Size(1920, 1080)
    once = zoom(
        WHOLE, Zoom(view="v1", box=[112, 63, 224, 126]), source_size=size, profile=QWEN3_VL, max_tokens=600
    )
    twice = zoom(
        once, Zoom(view="v2", box=[500, 500, 1000, 1000]), source_size=size, profile=QWEN3_VL, max_tokens=600
    )
    middle = Box(
        (once.region.x0 + once.region.x1) / 2,
        (once.region.y0 + once.region.y1) / 2,
        once.region.x1,
        once.region.y1,
    )
    assert twice.region.corners == pytest.approx(middle.corners, abs=1)


def test_a_box_that_leaves_the_picture_is_cut_and_one_outside_is_told() -> None:
    size = Size(1920, 1080)
    view = zoom(
        WHOLE, Zoom(view="v1", box=[400, 200, 9e9, 9e9]), source_size=size, profile=QWEN2_5_VL, max_tokens=600
    )
    assert (view.region.x1, view.region.y1) == (1920, 1080)
    with pytest.raises(UsageError, match=r"outside v1, which spans \[0, 0, 448, 252\]"):
        zoom(
            WHOLE, Zoom(view="v1", box=[449, 0, 500, 9]), source_size=size, profile=QWEN2_5_VL, max_tokens=600
        )


def test_seeing_again_keeps_the_region_and_changes_the_detail() -> None:
    budget = Budget()
    sizes = [
        see_again(
            WHOLE,
            ReEncode.model_validate({"view": "v1", "detail": detail}),
            profile=QWEN2_5_VL,
            budget=budget,
        )
        for detail in ("low", "medium", "high")
    ]
    assert all(view.region == WHOLE.region for view in sizes)
    tokens = [QWEN2_5_VL.tokens(view.size) for view in sizes]
    assert tokens == sorted(set(tokens))
    assert all(n <= detail_tokens(d, budget) for n, d in zip(tokens, ("low", "medium", "high"), strict=True))


def test_re_encode_makes_pictures_in_order_and_decodes_each_frame_once(
    source: Source, tmp_path: Path
) -> None:
    store = MediaStore(tmp_path)
    views = overview(source, 5, profile=QWEN2_5_VL, max_tokens=144)
    views = [views[1], views[1], views[3]]
    made = list(re_encode(source, views, store, first=4))
    assert [p.name for p in made] == ["v4", "v5", "v6"]
    assert [p.view for p in made] == views
    assert [store.get(p.ref).getpixel((5, 5)) for p in made] == [(50,) * 3, (50,) * 3, (150,) * 3]
    assert source.decoded == 2


def test_a_view_of_an_open_source_is_made_once(source: Source, tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    views = overview(source, 4, profile=QWEN2_5_VL, max_tokens=144)
    made = [p.ref for p in re_encode(source, views[:3], store, first=1)]
    again = [p.ref for p in re_encode(source, views, store, first=1)]
    assert again[:3] == made
    assert source.decoded == 4
    store.path(made[1]).unlink()  # as `r4 clean` does
    assert [p.ref for p in re_encode(source, views, store, first=1)] == again
    assert source.decoded == 5
    assert all(ref in store for ref in again)
