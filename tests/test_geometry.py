import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from r4agent.errors import UsageError
from r4agent.geometry import MAX_ASPECT, QWEN2_5_VL, QWEN3_VL, Box, ModelProfile, Size, Space, convert

SPACES: tuple[Space, ...] = ("source", "shown", "thousand", "unit")
PROFILES = pytest.mark.parametrize("profile", [QWEN2_5_VL, QWEN3_VL], ids=lambda profile: profile.name)

sizes = st.builds(Size, st.integers(28, 7680), st.integers(28, 4320))
any_sizes = st.builds(Size, st.integers(1, 100_000), st.integers(1, 100_000))
spaces = st.sampled_from(SPACES)
budgets = st.integers(4, 16384)
shares = st.floats(0, 1, allow_nan=False)


@st.composite
def boxes_within(draw: st.DrawFn, outer: Box, least: float = 1.0) -> Box:
    """A box of at least `least` units a side inside `outer`, not aligned to anything."""
    x0 = outer.x0 + draw(shares) * (outer.width - least)
    y0 = outer.y0 + draw(shares) * (outer.height - least)
    x1 = x0 + least + draw(shares) * max(0.0, outer.x1 - x0 - least)
    y1 = y0 + least + draw(shares) * max(0.0, outer.y1 - y0 - least)
    return Box(x0, y0, x1, y1, outer.space)


def assert_same(one: Box, other: Box, tolerance: float) -> None:
    assert one.space == other.space
    for a, b in zip(one.corners, other.corners, strict=True):
        assert abs(a - b) <= tolerance, (one, other)


@given(st.data(), sizes, sizes, spaces)
def test_a_box_comes_back_from_every_space(
    data: st.DataObject, frame: Size, shown: Size, space: Space
) -> None:
    region = data.draw(boxes_within(frame.box))
    box = data.draw(boxes_within(frame.box))  # also one that lies beside the region
    there = convert(box, space, region=region, shown=shown)
    assert there.space == space
    assert_same(
        convert(there, "source", region=region, shown=shown), box, 1e-6 * max(frame.width, frame.height)
    )


@given(sizes, sizes)
def test_the_region_is_the_whole_of_every_space(frame: Size, shown: Size) -> None:
    region = frame.box
    whole = {space: convert(region, space, region=region, shown=shown) for space in SPACES}
    assert_same(whole["shown"], Box(0, 0, shown.width, shown.height, "shown"), 1e-6)
    assert_same(whole["thousand"], Box(0, 0, 1000, 1000, "thousand"), 1e-6)
    assert_same(whole["unit"], Box(0, 0, 1, 1, "unit"), 1e-9)


def test_convert_moves_and_scales() -> None:
    region, shown = Box(100, 200, 300, 300), Size(560, 280)
    assert convert(Box(150, 225, 200, 250), "shown", region=region, shown=shown) == Box(
        140, 70, 280, 140, "shown"
    )
    half = Box(0.25, 0.5, 0.5, 1, "unit")
    assert convert(half, "source", region=region, shown=shown) == Box(150, 250, 200, 300)
    assert convert(half, "thousand", region=region, shown=shown) == Box(250, 500, 500, 1000, "thousand")


@given(st.data(), sizes, sizes, sizes, spaces, spaces)
def test_a_view_of_a_view_composes(
    data: st.DataObject, frame: Size, first: Size, second: Size, said: Space, said_again: Space
) -> None:
    """A box named in a picture of a region, itself named in a picture of the frame, is one source box:
    the picture of the second is the same as if the first had been the frame."""
    outer = data.draw(boxes_within(frame.box, least=2))
    inner = data.draw(boxes_within(outer))
    box = data.draw(boxes_within(inner, least=0.5))

    named = convert(inner, said, region=outer, shown=first)
    found = convert(named, "source", region=outer, shown=first)
    direct = convert(box, said_again, region=inner, shown=second)
    composed = convert(box, said_again, region=found, shown=second)
    scale = {"source": 1, "shown": max(second.width, second.height), "thousand": 1000, "unit": 1}[said_again]
    # Positions in `inner` are relative to its side, so that a thin one magnifies the rounding.
    magnified = max(frame.width, frame.height) / min(inner.width, inner.height)
    assert_same(direct, composed, 1e-9 * scale * magnified + 1e-6)
    assert_same(
        convert(composed, "source", region=found, shown=second), box, 1e-6 * max(frame.width, frame.height)
    )

    # Shown, inside shown: two affine steps are one.
    in_inner = convert(box, "unit", region=inner, shown=second)
    inner_in_outer = convert(inner, "unit", region=outer, shown=first)
    in_outer = convert(box, "unit", region=outer, shown=first)
    two_steps = Box(
        inner_in_outer.x0 + in_inner.x0 * inner_in_outer.width,
        inner_in_outer.y0 + in_inner.y0 * inner_in_outer.height,
        inner_in_outer.x0 + in_inner.x1 * inner_in_outer.width,
        inner_in_outer.y0 + in_inner.y1 * inner_in_outer.height,
        "unit",
    )
    assert_same(two_steps, in_outer, 1e-6)


@given(st.data(), sizes, sizes)
def test_whole_thousandths_cost_half_a_unit(data: st.DataObject, frame: Size, shown: Size) -> None:
    """What a Qwen3-VL can write, integers from 0 to 1000, places a box within half a thousandth of the
    region; a Qwen2.5-VL, whole pixels of the picture, within half of one of those."""
    region = data.draw(boxes_within(frame.box, least=14))
    box = data.draw(boxes_within(region, least=min(region.width, region.height) / 10))
    said: list[tuple[Space, int, int]] = [("thousand", 1000, 1000), ("shown", shown.width, shown.height)]
    for space, across, down in said:
        exact = convert(box, space, region=region, shown=shown)
        x0, y0, x1, y1 = (float(round(v)) for v in exact.corners)
        assume(x0 < x1 and y0 < y1)
        back = convert(Box(x0, y0, x1, y1, space), "source", region=region, shown=shown)
        for a, b, side, units in zip(
            back.corners, box.corners, [region.width, region.height] * 2, [across, down] * 2, strict=True
        ):
            assert abs(a - b) <= side / units / 2 + 1e-6


def test_both_conventions_are_within_a_pixel_when_the_picture_is_at_least_the_region() -> None:
    """The worst case of each: half a unit off, with the region as large as one unit a pixel allows."""
    region = Box(37, 11, 37 + 1000, 11 + 980)
    said: list[tuple[Space, Size]] = [("thousand", Size(320, 320)), ("shown", Size(1008, 980))]
    for space, shown in said:
        exact = convert(Box(137.5, 211.5, 437.5, 611.5), space, region=region, shown=shown)
        x0, y0, x1, y1 = (float(round(v)) for v in exact.corners)
        rounded = Box(x0, y0, x1, y1, space)
        assert_same(
            convert(rounded, "source", region=region, shown=shown), Box(137.5, 211.5, 437.5, 611.5), 1.0
        )


def test_convert_refuses_a_region_that_is_not_source() -> None:
    with pytest.raises(UsageError, match="source pixels, not unit"):
        convert(Box(0, 0, 1, 1), "unit", region=Box(0, 0, 1, 1, "unit"), shown=Size(28, 28))


@pytest.mark.parametrize("corners", [(5, 0, 5, 1), (0, 1, 1, 1), (2, 0, 1, 1), (0, 2, 1, 1)])
def test_an_empty_box_is_refused(corners: tuple[float, float, float, float]) -> None:
    with pytest.raises(UsageError, match="x0 < x1 and y0 < y1"):
        Box(*corners)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", range(4))
def test_a_box_that_is_not_finite_is_refused(bad: float, at: int) -> None:
    x0, y0, x1, y1 = (bad if side == at else side // 2 for side in range(4))
    with pytest.raises(UsageError, match="finite"):
        Box(x0, y0, x1, y1)


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (-3, 5)])
def test_an_empty_size_is_refused(width: int, height: int) -> None:
    with pytest.raises(UsageError, match=f"{width}x{height}"):
        Size(width, height)


@given(st.data(), sizes)
def test_whole_pixels_cover_the_box_and_no_more(data: st.DataObject, frame: Size) -> None:
    box = data.draw(boxes_within(frame.box))
    whole = box.pixels(frame)
    assert all(v == int(v) for v in whole.corners)
    assert 0 <= whole.x0 < whole.x1 <= frame.width
    assert 0 <= whole.y0 < whole.y1 <= frame.height
    assert -1e-5 <= box.x0 - whole.x0 < 1
    assert -1e-5 <= box.y0 - whole.y0 < 1
    assert -1e-5 <= whole.x1 - box.x1 < 1
    assert -1e-5 <= whole.y1 - box.y1 < 1
    assert whole.pixels(frame) == whole


def test_pixels_clips_and_refuses_what_lies_outside() -> None:
    assert Box(-5, -5, 2.5, 3, "source").pixels(Size(10, 10)) == Box(0, 0, 3, 3)
    with pytest.raises(UsageError, match="outside the picture, which is 10x10"):
        Box(10, 0, 12, 5).pixels(Size(10, 10))


@given(st.data(), sizes)
def test_overlap_and_hull(data: st.DataObject, frame: Size) -> None:
    a, b = data.draw(boxes_within(frame.box)), data.draw(boxes_within(frame.box))
    hull = a.hull(b)
    assert hull == b.hull(a)
    assert a.overlap(hull) == a
    common = a.overlap(b)
    assert common == b.overlap(a)
    apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
    assert (common is None) == apart
    if common is not None:
        assert common.overlap(a) == common
        assert common.area <= min(a.area, b.area)


def test_boxes_of_two_spaces_do_not_mix() -> None:
    with pytest.raises(UsageError, match="source and unit"):
        Box(0, 0, 1, 1).overlap(Box(0, 0, 1, 1, "unit"))
    with pytest.raises(UsageError, match="source and unit"):
        Box(0, 0, 1, 1).hull(Box(0, 0, 1, 1, "unit"))


def smart_resize(size: Size, factor: int, min_pixels: int, max_pixels: int) -> Size:
    """Qwen's published rule (the Qwen2-VL image processor of transformers): what engine and trainer do
    to every picture they are given."""
    width, height = size.width, size.height
    if max(height, width) / min(height, width) > 200:
        raise ValueError("absolute aspect ratio must be smaller than 200")
    high, wide = round(height / factor) * factor, round(width / factor) * factor
    if high * wide > max_pixels:
        beta = math.sqrt((height * width) / max_pixels)
        high = max(factor, math.floor(height / beta / factor) * factor)
        wide = max(factor, math.floor(width / beta / factor) * factor)
    elif high * wide < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        high = math.ceil(height * beta / factor) * factor
        wide = math.ceil(width * beta / factor) * factor
    return Size(wide, high)


@PROFILES
@given(size=any_sizes, max_tokens=budgets, enlarge=st.floats(1, 16))
def test_fit_gives_a_size_that_the_processor_leaves_alone(
    profile: ModelProfile, size: Size, max_tokens: int, enlarge: float
) -> None:
    fitted = profile.fit(size, max_tokens, enlarge=enlarge)
    assert fitted.width % profile.grid == fitted.height % profile.grid == 0
    assert 4 <= profile.tokens(fitted) <= max_tokens
    assert profile.min_pixels <= fitted.pixels <= profile.max_pixels
    assert max(fitted.width / fitted.height, fitted.height / fitted.width) <= MAX_ASPECT
    assert smart_resize(fitted, profile.grid, profile.min_pixels, profile.max_pixels) == fitted


@PROFILES
@given(size=any_sizes, max_tokens=budgets, enlarge=st.floats(1, 16))
def test_fit_is_idempotent(profile: ModelProfile, size: Size, max_tokens: int, enlarge: float) -> None:
    fitted = profile.fit(size, max_tokens, enlarge=enlarge)
    assert profile.fit(fitted, max_tokens) == fitted


@PROFILES
@given(columns=st.integers(1, 200), rows=st.integers(1, 200), spare=st.integers(0, 1000))
def test_fit_keeps_a_size_that_qualifies(profile: ModelProfile, columns: int, rows: int, spare: int) -> None:
    assume(4 <= columns * rows <= 16384 and max(columns / rows, rows / columns) <= MAX_ASPECT)
    size = Size(columns * profile.grid, rows * profile.grid)
    assert profile.fit(size, columns * rows + spare) == size


@PROFILES
@given(size=any_sizes, max_tokens=budgets, enlarge=st.floats(1, 16))
def test_fit_keeps_the_shape_within_a_cell(
    profile: ModelProfile, size: Size, max_tokens: int, enlarge: float
) -> None:
    """Some exact scaling of the region is within one cell of the result, in width and in height."""
    aspect = size.width / size.height
    assume(1 / MAX_ASPECT <= aspect <= MAX_ASPECT)
    fitted = profile.fit(size, max_tokens, enlarge=enlarge)
    columns, rows = fitted.width // profile.grid, fitted.height // profile.grid
    low = max((columns - 1) / aspect, rows - 1)
    high = min((columns + 1) / aspect, rows + 1)
    assert low <= high + 1e-9, (size, fitted)


@PROFILES
@given(size=any_sizes, max_tokens=budgets, enlarge=st.floats(1, 16))
def test_fit_magnifies_no_more_than_asked_and_uses_what_it_may(
    profile: ModelProfile, size: Size, max_tokens: int, enlarge: float
) -> None:
    assume(1 / MAX_ASPECT <= size.width / size.height <= MAX_ASPECT)
    grid = profile.grid
    fitted = profile.fit(size, max_tokens, enlarge=enlarge)
    asked = Size(math.ceil(size.width * enlarge / grid), math.ceil(size.height * enlarge / grid))
    if size.pixels * enlarge**2 >= profile.min_pixels:
        assert fitted.width <= asked.width * grid
        assert fitted.height <= asked.height * grid
    # What may be used: the region at its magnified size, or the token limit. Of that, a whole row and a
    # whole column of cells can be lost to rounding, no more.
    cells = min(size.pixels * enlarge**2 / grid**2, max_tokens)
    scale = math.sqrt(cells * grid**2 / size.pixels)
    columns, rows = size.width * scale / grid, size.height * scale / grid
    if min(columns, rows) >= 1 and max(columns, rows) <= MAX_ASPECT:
        assert profile.tokens(fitted) >= math.floor(columns) * math.floor(rows)


@PROFILES
def test_fit_refuses_a_budget_below_the_processors_minimum(profile: ModelProfile) -> None:
    with pytest.raises(UsageError, match=r"max_tokens 3: .* needs at least 4"):
        profile.fit(Size(640, 480), 3)


@PROFILES
def test_fit_on_common_frames(profile: ModelProfile) -> None:
    """The overview (144 tokens) and the largest picture (1280 tokens) of a 1080p frame."""
    overview = profile.fit(Size(1920, 1080), 144)
    assert (overview.width // profile.grid, overview.height // profile.grid) == (16, 9)
    assert 1200 <= profile.tokens(profile.fit(Size(1920, 1080), 1280)) <= 1280


def test_the_oracle_is_live() -> None:
    """The rule above does change sizes that do not qualify, so that agreeing with it means something."""
    assert smart_resize(Size(1000, 1000), 28, 4 * 784, 16384 * 784) == Size(1008, 1008)
    assert smart_resize(Size(28, 28), 28, 4 * 784, 16384 * 784) == Size(56, 56)
    assert smart_resize(Size(280, 280), 28, 4 * 784, 16 * 784) == Size(112, 112)
    with pytest.raises(ValueError, match="aspect"):
        smart_resize(Size(28 * 201, 28), 28, 4 * 784, 16384 * 784)
