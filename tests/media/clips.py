"""Clips whose every frame says which one it is, in a form a test can read back.

`draw` paints the number as sixteen black or white blocks and as digits, with a red, a green and a blue
corner that show which way is up and that colours survive. `number_of` reads it back, and fails when the
picture is turned, mirrored or has its colours swapped.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

BITS = 16
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def draw(number: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Frame `number`, at `size` (width, height) of at least 64x48."""
    width, height = size
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    for corner, colour in (((0, 0), RED), ((7, 0), GREEN), ((0, 3), BLUE)):
        pen.rectangle(_cell(*corner, size), fill=colour)
    for bit in range(BITS):
        if number >> bit & 1:
            pen.rectangle(_cell(bit % 8, 1 + bit // 8, size), fill="black")
    font = ImageFont.load_default(size=max(10, height // 5))
    pen.text((width / 2, height * 7 / 8), str(number), fill="black", font=font, anchor="mm")
    return image


def number_of(image: Image.Image) -> int:
    """The number painted by `draw`; AssertionError where the corners are not where they belong."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    for corner, colour in (((0, 0), RED), ((7, 0), GREEN), ((0, 3), BLUE)):
        seen = _middle(pixels, *corner)
        assert np.abs(seen - colour).max() < 80, f"corner {corner} is {seen.round()}, not {colour}"
    return sum((_middle(pixels, bit % 8, 1 + bit // 8).mean() < 128) << bit for bit in range(BITS))


def _cell(column: int, row: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Inclusive corners of one of 8 x 4 cells."""
    width, height = size
    return (
        column * width // 8,
        row * height // 4,
        (column + 1) * width // 8 - 1,
        (row + 1) * height // 4 - 1,
    )


def _middle(pixels: np.ndarray, column: int, row: int) -> np.ndarray:
    """Mean colour of the middle of a cell."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = _cell(column, row, (width, height))
    dx, dy = (x1 - x0) // 3, (y1 - y0) // 3
    return pixels[y0 + dy : y1 - dy, x0 + dx : x1 - dx].mean(axis=(0, 1))


def write_clip(
    path: Path,
    times: Sequence[Fraction | float] | int,
    *,
    size: tuple[int, int] = (320, 240),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotate: int = 0,
    container: dict[str, str] | None = None,
    base: Fraction = Fraction(1, 90_000),
    **options: str,
) -> Path:
    """Encode one frame for each presentation time (or so many frames at 25 a second).

    rotate: degrees counter-clockwise that the file says to turn its frames by; the frames are stored
    turned the other way, so that they are upright when the player obeys.
    """
    if isinstance(times, int):
        times = [Fraction(i, 25) for i in range(times)]
    with av.open(str(path), "w", container_options=container or {}) as out:
        stored = size if rotate % 180 == 0 else size[::-1]
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = stored
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = base
        if rotate:
            stream.set_display_rotation(rotate)
        for number, time in enumerate(times):
            image = draw(number, size).rotate(-rotate, expand=True)
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = round(Fraction(time) / base), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
