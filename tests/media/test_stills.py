"""Animations, folders and single pictures: right pixels, right times, any size."""

import random
from pathlib import Path

import numpy as np
import pytest
from clips import draw, number_of
from PIL import Image

from r4agent.errors import MediaError
from r4agent.geometry import Size
from r4agent.media import Limits, open_source, stills

DURATIONS = [20, 500, 40, 1000, 30, 250, 90, 60]  # milliseconds, uneven


def shuffled(count: int) -> list[int]:
    order = list(range(count))
    random.Random(3).shuffle(order)
    return order


def save_animation(path: Path, durations: list[int], **options: object) -> Path:
    first, *rest = [draw(i) for i in range(len(durations))]
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {}), ("still.png", {"default_image": True})],
)
def test_animations_have_their_own_times(tmp_path: Path, name: str, options: dict[str, bool]) -> None:
    durations = [0, *DURATIONS] if options.get("default_image") else DURATIONS
    path = save_animation(tmp_path / name, durations, **options)
    moved = 1 if options.get("default_image") else 0  # the still stands in front of the animation
    with open_source(path) as source:
        assert (source.kind, source.count, source.size) == ("animation", 8, Size(320, 240))
        starts = np.cumsum([0, *DURATIONS[:-1]]) / 1000
        if not moved:
            assert source.times is not None
            assert np.allclose(source.times, starts, rtol=0, atol=1e-9)
            assert source.duration == pytest.approx(sum(DURATIONS) / 1000)
        for index in shuffled(8):
            frame = source.frame(index)
            assert number_of(frame.image) == index + moved
            assert source.times is not None
            assert frame.time == source.times[index]


def test_a_duration_of_zero_counts_as_a_tenth_of_a_second(tmp_path: Path) -> None:
    path = save_animation(tmp_path / "zero.gif", [0, 50, 0])
    with open_source(path) as source:
        assert source.times is not None
        assert source.times.tolist() == [0.0, 0.1, 0.15]
        assert source.duration == 0.25


@pytest.mark.parametrize("disposal", [1, 2, 3])
def test_gif_frames_are_composed_as_a_player_does(tmp_path: Path, disposal: int) -> None:
    """Small dots on a transparent ground: kept (1), cleared (2) or undone (3) before the next frame."""
    dots = []
    for i in range(3):
        dot = Image.new("RGBA", (60, 20), (0, 0, 0, 0))
        dot.paste((255, 0, 0, 255), (20 * i, 0, 20 * i + 20, 20))
        dots.append(dot)
    path = tmp_path / "dots.gif"
    dots[0].save(path, save_all=True, append_images=dots[1:], duration=100, disposal=disposal)
    red_up_to = {1: [1, 2, 3], 2: [1, 1, 1], 3: [1, 1, 1]}[disposal]
    with open_source(path) as source:
        for index in (2, 0, 1):
            pixels = np.asarray(source.frame(index).image)
            red = [tuple(pixels[10, 20 * i + 10]) == (255, 0, 0) for i in range(3)]
            white = [tuple(pixels[10, 20 * i + 10]) == (255, 255, 255) for i in range(3)]
            assert red[index]
            assert sum(red) == red_up_to[index]
            assert sum(white) == 3 - sum(red)


def test_a_folder_in_natural_order_each_picture_of_its_own_size(tmp_path: Path) -> None:
    sizes = {1: (320, 240), 2: (640, 360), 10: (200, 300)}
    for number, size in sizes.items():
        draw(number, size).save(tmp_path / f"page{number}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden.png").write_bytes(b"neither")
    with open_source(tmp_path) as source:
        assert (source.kind, source.count, source.times, source.duration) == ("images", 3, None, None)
        assert [number_of(f.image) for f in source.frames([2, 0, 1])] == [10, 1, 2]
        assert [source.size_of(i) for i in range(3)] == [Size(*s) for s in sizes.values()]
        assert source.frame(1).time is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed(tmp_path: Path, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = draw(77)
    stored = image.transpose(undo[orientation]) if orientation in undo else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    with open_source(tmp_path / "photo.jpg", isolate=False) as source:
        assert source.kind == "image"
        assert source.size == Size(320, 240)
        assert number_of(source.frame(0).image) == 77


def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    draw(5).save(tmp_path / "photo.jpg", exif=exif)
    with open_source(tmp_path / "photo.jpg", isolate=False) as source:
        assert source.size == Size(*source.frame(0).image.size) == Size(320, 240)


@pytest.mark.parametrize("form", ["I;16", "I;16B"])
def test_deep_greys_of_either_byte_order(tmp_path: Path, form: str) -> None:
    shades = np.arange(0, 65536, 64, dtype=np.uint16).repeat(4).reshape(-1, 4)  # higher than a strip
    order = "<u2" if form == "I;16" else ">u2"
    Image.frombytes(form, (4, 1024), shades.astype(order).tobytes()).save(tmp_path / "deep.tiff")
    with open_source(tmp_path / "deep.tiff", isolate=False) as source:
        seen = np.asarray(source.frame(0).image)
    assert np.abs(seen - (shades / 257)[..., None]).max() <= 1


def test_an_animation_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stills, "DRAWN", 7.5 * (320 * 240 + stills.EACH))
    path = save_animation(tmp_path / "long.gif", DURATIONS)
    with pytest.raises(MediaError, match="8 frames of 320x240 takes too long to draw; cut it into parts"):
        open_source(path, isolate=False)


def test_transparency_lies_over_white_and_deep_greys_keep_their_shade(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 255, 0)).save(tmp_path / "1.png")
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "2.png")
    Image.new("LA", (8, 8), (0, 128)).save(tmp_path / "3.png")
    with open_source(tmp_path) as source:
        middle = [f.image.getpixel((4, 4)) for f in source.frames(range(3))]
    assert middle[0] == (255, 255, 255)
    assert middle[1] == (155, 155, 155)  # 40000 / 65535 * 255
    assert all(abs(v - 127) <= 1 for v in middle[2])


def test_the_suffix_does_not_decide(tmp_path: Path) -> None:
    draw(5).save(tmp_path / "picture.mp4", format="PNG")
    with open_source(tmp_path / "picture.mp4") as source:
        assert source.kind == "image"
        assert number_of(source.frame(0).image) == 5


def test_a_cut_gif_keeps_its_whole_frames(tmp_path: Path) -> None:
    path = save_animation(tmp_path / "cut.gif", DURATIONS)
    path.write_bytes(path.read_bytes()[:-2000])
    with open_source(path) as source:
        assert 0 < source.count < 8
        last = source.count - 1
        assert number_of(source.frame(last).image) == last


def test_a_size_above_the_limit_is_refused_from_the_header(tmp_path: Path) -> None:
    draw(1, (400, 300)).save(tmp_path / "big.png")
    with pytest.raises(MediaError, match="400x300 is more than the 100000 pixels"):
        open_source(tmp_path / "big.png", limits=Limits(frame_pixels=100_000))


def test_a_picture_that_declares_a_bomb_is_refused(tmp_path: Path) -> None:
    draw(1).save(tmp_path / "bomb.png")
    data = bytearray((tmp_path / "bomb.png").read_bytes())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    (tmp_path / "bomb.png").write_bytes(data)
    for isolate in (True, False):
        with pytest.raises(MediaError, match=r"bomb\.png: "):
            open_source(tmp_path / "bomb.png", isolate=isolate)


def test_a_cut_picture_is_a_media_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    draw(1).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_source(path) as source, pytest.raises(MediaError, match="damaged picture"):
        source.frame(0)
