"""Views: recipes that survive as text, and pictures cut where they say."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from r4agent.errors import UsageError
from r4agent.geometry import Box, Size
from r4agent.media.view import Picture, View

sides = st.integers(1, 8192)


@st.composite
def views(draw: st.DrawFn) -> View:
    x0, y0 = draw(st.integers(0, 8191)), draw(st.integers(0, 8191))
    region = Box(x0, y0, x0 + draw(sides), y0 + draw(sides))
    time = draw(st.none() | st.floats(-10, 1e6).map(lambda t: round(t, 6)))
    return View(draw(st.integers(0, 10**7)), time, region, Size(draw(sides), draw(sides)))


@given(views())
def test_a_recipe_is_the_view(view: View) -> None:
    assert View.parse(view.recipe) == view


def test_a_recipe_is_short() -> None:
    assert View(120, 4.004, Box(0, 0, 1920, 1080), Size(448, 252)).recipe == "120@4.004 0,0,1920,1080 448x252"


@pytest.mark.parametrize(
    "text", ["", "1@2", "1@2 0,0,1,1 0x5", "x@1 0,0,1,1 4x4", "1@2 0,0,1,1 4x4 ", "1@2 5,0,1,1 4x4"]
)
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        View.parse(text)


def test_a_region_is_cut_from_the_source_and_scaled_once() -> None:
    frame = Image.new("RGB", (400, 300), "white")
    frame.paste("red", (100, 50, 200, 150))
    view = View(0, 0.0, Box(100, 50, 200, 150), Size(56, 28))
    cut = view.cut(frame)
    assert cut.size == (56, 28)
    assert cut.getcolors() == [(56 * 28, (255, 0, 0))]
    half = View(0, 0.0, Box(0, 50, 200, 150), Size(112, 56)).cut(frame)
    assert half.getpixel((20, 20)) == (255, 255, 255)
    assert half.getpixel((90, 20)) == (255, 0, 0)


def test_native_size_is_the_source_to_the_byte() -> None:
    frame = Image.effect_noise((120, 90), 80).convert("RGB")
    view = View(0, 0.0, Box(10, 20, 66, 48), Size(56, 28))
    assert view.cut(frame).tobytes() == frame.crop((10, 20, 66, 48)).tobytes()


def test_the_same_view_is_the_same_pixels() -> None:
    """Pinned: another value means that Pillow resizes differently, and logged hashes no longer hold."""
    frame = Image.linear_gradient("L").convert("RGB")
    cut = View(0, None, Box(3, 5, 251, 255), Size(84, 56)).cut(frame)
    assert hashlib.sha256(cut.tobytes()).hexdigest()[:16] == "d4c9d0168cf2266f"


def test_a_region_outside_its_frame_is_refused() -> None:
    with pytest.raises(UsageError, match="outside the frame, which is 50x50"):
        View(0, 0.0, Box(0, 0, 51, 50), Size(28, 28)).cut(Image.new("RGB", (50, 50)))


def test_a_picture_is_its_block() -> None:
    picture = Picture("v7", View(3, None, Box(0, 0, 9, 9), Size(28, 28)), "img:" + "0" * 64)
    assert Picture.from_block(picture.block()) == picture
    assert set(picture.block()) == {"type", "id", "file_id", "extras"}
