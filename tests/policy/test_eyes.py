"""What ChatR4 makes of the pictures in messages, hostile ones included."""

import base64
import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from r4agent import MediaStore
from r4agent.engines import Checkpoint
from r4agent.errors import MediaError, UsageError
from r4agent.geometry import Box, Size
from r4agent.media.stills import FORMATS
from r4agent.media.view import Picture, View
from r4agent.policy.eyes import Eyes

from .scripted_engine import bare_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return bare_checkpoint("qwen2_5_vl", tmp_path_factory.mktemp("bare") / "model")


@pytest.fixture
def eyes(checkpoint: Checkpoint) -> Eyes:
    return Eyes(checkpoint, None, 64)


def block(data: bytes) -> dict[str, Any]:
    return {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": "image/png"}


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose header says this size, whatever its data holds."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def seen(eyes: Eyes, data: bytes) -> Image.Image:
    return eyes.load(eyes.see(block(data)).ref)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(4, 200))
def test_any_picture_gets_a_size_that_stays(
    checkpoint: Checkpoint, width: int, height: int, most: int
) -> None:
    eyes = Eyes(checkpoint, None, most)
    shown = eyes.see(block(saved(Image.new("RGB", (width, height), "red"))))
    image = eyes.load(shown.ref)
    assert shown.grid == (1, image.height // 14, image.width // 14)
    assert 4 <= checkpoint.tokens(shown.grid) <= max(most, 4)
    assert checkpoint.profile.fit(Size(*image.size), checkpoint.tokens(shown.grid)) == Size(*image.size)


def test_what_is_shown_twice_is_one_picture(eyes: Eyes) -> None:
    red = Image.new("RGB", (112, 112), "red")
    shown = {eyes.see(block(saved(red, kind))).ref for kind in ("PNG", "BMP", "PNG")}
    assert len(shown) == 1


def test_a_data_address(eyes: Eyes) -> None:
    data = base64.b64encode(saved(Image.new("RGB", (56, 56)))).decode()
    assert eyes.see({"type": "image", "url": f"data:image/png;base64,{data}"}).grid == (1, 4, 4)


def test_a_picture_that_lies_on_its_side_is_turned(eyes: Eyes) -> None:
    lying = Image.new("RGB", (112, 56), "blue")
    lying.paste("red", (0, 0, 56, 56))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    image = seen(eyes, saved(lying, "PNG", exif=exif))
    assert image.size == (56, 112)
    assert image.getpixel((28, 10)) == (255, 0, 0)


def test_text_on_transparency_can_be_read(eyes: Eyes) -> None:
    clear = Image.new("RGBA", (56, 56), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (0, 0, 20, 56))
    image = seen(eyes, saved(clear))
    assert image.getpixel((40, 20)) == (255, 255, 255)
    assert image.getpixel((5, 20)) == (0, 0, 0)


def test_other_kinds_of_pixels(eyes: Eyes) -> None:
    deep = Image.new("I;16", (56, 56), 32768)
    assert seen(eyes, saved(deep)).getpixel((9, 9)) == (127, 127, 127)
    assert seen(eyes, saved(Image.new("CMYK", (56, 56), (0, 255, 255, 0)), "JPEG")).getpixel((9, 9))[0] > 200
    assert seen(eyes, saved(Image.new("P", (56, 56)))).mode == "RGB"
    assert seen(eyes, saved(Image.new("L", (56, 56), 77))).getpixel((9, 9)) == (77, 77, 77)


def test_of_an_animation_the_first_frame(eyes: Eyes) -> None:
    frames = [Image.new("RGB", (56, 56), colour) for colour in ("red", "green")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert seen(eyes, data).getpixel((9, 9)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (png(20_000, 20_000), "more than 36000000 pixels"),
        (png(10_000, 9_000), "10000x9000: at most 36000000 pixels"),
        (png(100, 100), "can't be decoded"),
        (saved(Image.effect_noise((99, 99), 50))[:500], "can't be decoded"),
        (b"hello", "can't be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "can't be decoded"),
        (b"GIF89a", "can't be decoded"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "can't be decoded"),
    ],
)
def test_hostile_pictures_are_refused(eyes: Eyes, data: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        eyes.see(block(data))


def test_only_formats_that_are_meant(eyes: Eyes) -> None:
    for kind in ("PPM", "TGA", "PCX", "ICO"):
        with pytest.raises(UsageError, match=", ".join(FORMATS)):
            eyes.see(block(saved(Image.new("RGB", (32, 32)), kind)))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damage_of_any_kind_is_a_usage_error(checkpoint: Checkpoint, data: st.DataObject) -> None:
    noise = Image.frombytes("L", (60, 40), bytes(n * n % 251 for n in range(2400)))
    whole = saved(
        noise.convert("RGB"), data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"]))
    )
    damaged = bytearray(whole[: data.draw(st.integers(8, len(whole)))])
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255)), max_size=5)
    ):
        damaged[at] = value
    with suppress(UsageError):  # and nothing else
        Eyes(checkpoint, None, 64).see(block(bytes(damaged)))


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "image"},
        {"type": "image", "url": "https://example.com/x.png"},
        {"type": "image", "url": "file:///etc/passwd"},
        {"type": "image", "file_id": "file-123"},
        {"type": "image", "base64": "§§§"},
        {"type": "image", "base64": "abc"},
        {"type": "image", "url": "data:image/png;base64,"},
    ],
)
def test_what_is_no_picture(eyes: Eyes, odd: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="an image block"):
        eyes.see(odd)


def test_references(checkpoint: Checkpoint, tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    size = Size(56, 84)
    ref = store.put(Image.effect_noise((56, 84), 80).convert("RGB"))
    eyes = Eyes(checkpoint, store, 64)
    picture = Picture("v1", View(0, 1.0, Box(0, 0, 56, 84), size), ref)
    assert eyes.see(picture.block()).grid == (1, 6, 4)
    assert eyes.see({"type": "image", "file_id": ref}).grid == (1, 6, 4)
    assert eyes.load(ref).size == (56, 84)
    with pytest.raises(UsageError, match="no store to find it in"):
        Eyes(checkpoint, None, 64).see({"type": "image", "file_id": ref})
    with pytest.raises(MediaError, match="not in the store"):
        eyes.see({"type": "image", "file_id": "img:" + 64 * "0"})
    with pytest.raises(UsageError, match="not a picture reference"):
        eyes.see({"type": "image", "file_id": "img:../../etc/passwd"})
    odd = store.put(Image.new("RGB", (57, 84)))
    with pytest.raises(UsageError, match="takes multiples of 28 pixels"):
        eyes.see({"type": "image", "file_id": odd})
