"""Pictures that Pillow opens: one image, a folder of them, an animated GIF, WebP or PNG.

Promises: upright (EXIF orientation applied), RGB, transparency over white. An animation's times are the
sums of its own frame durations; a duration of 0 counts as 100 ms, as browsers play it.
Does not: load a picture before its header's size is checked, or hold more than one.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps

from r4agent.errors import MediaError, one_line
from r4agent.geometry import Size
from r4agent.media.files import pictures_in
from r4agent.media.limits import Limits

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
# What Pillow raises on a damaged file. DecompressionBombError is none of these classes.
DAMAGE = (OSError, EOFError, SyntaxError, ValueError, IndexError, KeyError, TypeError, struct.error,
          OverflowError, Image.DecompressionBombError)  # fmt: skip
STRIP = 256  # rows converted at a time
# A frame of an animation is reached through all before it, and drawing one costs its canvas and a little
# more. What is allowed takes about ten seconds to go through: 100,000 tiny frames, or 1,900 of 1080p.
DRAWN = 4_000_000_000  # pixels
EACH = 40_000  # pixels that cost as much as the smallest frame
NAME = f"pillow {PIL.__version__}"


class Pictures:
    """One image or a folder's pictures, each of its own size."""

    name = NAME
    times: NDArray[np.float64] | None = None
    duration: float | None = None

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        self.kind: Literal["image", "images"] = "images" if path.is_dir() else "image"
        self._paths = pictures_in(path) if path.is_dir() else [path]
        self.count = len(self._paths)

    def size_of(self, index: int) -> Size:
        with _opened(self._paths[index], self._limits) as image:
            turned = image.getexif().get(0x0112) in (5, 6, 7, 8)  # the orientations that swap the sides
            return Size(*(image.size[::-1] if turned else image.size))

    def picture(self, index: int) -> NDArray[np.uint8]:
        path = self._paths[index]
        with _opened(path, self._limits) as image:
            try:
                ImageOps.exif_transpose(image, in_place=True)
                return rgb_of(image)
            except DAMAGE as error:
                raise _damaged(path, error) from error

    def close(self) -> None:
        pass


class Animation:
    """An animated GIF, WebP or PNG. Going back in one means starting again from its first frame."""

    kind: Literal["animation"] = "animation"
    name = NAME

    def __init__(self, path: Path, limits: Limits, durations: list[float]) -> None:
        self._path, self._limits = path, limits
        self._image = _opened(path, limits)
        pixels = self._image.width * self._image.height
        if len(durations) > limits.frames or len(durations) * (pixels + EACH) > DRAWN:
            self._image.close()
            raise MediaError(
                f"{path}: an animation of {len(durations)} frames of {Size(*self._image.size)} takes too "
                "long to draw; cut it into parts, or convert it to H.264 in mp4"
            )
        # A PNG may carry a still for viewers that know no animation; Pillow counts it as frame 0.
        self._skip = int(bool(getattr(self._image, "default_image", False)))
        ends = np.cumsum([d or 0.1 for d in durations]).round(6)
        self.count = len(durations)
        self.times: NDArray[np.float64] = np.concatenate([[0.0], ends[:-1]])
        self.duration = float(ends[-1])

    def size_of(self, index: int) -> Size:
        return Size(*self._image.size)

    def picture(self, index: int) -> NDArray[np.uint8]:
        if index + self._skip < self._image.tell():  # Pillow 13 loses its place when an APNG goes back
            self._image.close()
            self._image = _opened(self._path, self._limits)
        try:
            self._image.seek(index + self._skip)
            return rgb_of(self._image)
        except DAMAGE as error:
            raise _damaged(self._path, error) from error

    def close(self) -> None:
        self._image.close()


def open_still(path: Path, limits: Limits) -> Pictures | Animation:
    """An Animation when the file holds more than one timed frame, else Pictures of one."""
    durations = frame_durations(path)
    return Animation(path, limits, durations) if len(durations) > 1 else Pictures(path, limits)


def _opened(path: Path, limits: Limits) -> Image.Image:
    """The picture with its header read and its size checked, its pixels not yet decoded."""
    try:
        image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise MediaError(
            f"{path}: declares more than the {limits.frame_pixels} pixels allowed; scale it down first"
        ) from error
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if image.width * image.height > limits.frame_pixels:
        image.close()
        raise MediaError(
            f"{path}: {image.width}x{image.height} is more than the {limits.frame_pixels} pixels allowed; "
            "scale it down first"
        )
    return image


def _damaged(path: Path, error: Exception) -> MediaError:
    return MediaError(f"{path}: a damaged picture ({one_line(error)}); check that the file is complete")


def rgb_of(image: Image.Image) -> NDArray[np.uint8]:
    """Height x width x 3, made by strips, so that a large picture is held twice and not six times."""
    image.load()
    high = 255.0
    if _is_deep(image):  # 16 bits and more: keep the upper eight
        image = image.convert("I") if image.mode == "I;16B" else image  # which can't be cut into strips
        high = 65535.0 if _brightest(image) > 255 else 255.0
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, STRIP):
        strip = image.crop((0, top, image.width, min(top + STRIP, image.height)))
        rgb[top : top + STRIP] = _strip(strip, high)
    return rgb


def _strip(image: Image.Image, high: float) -> NDArray[np.uint8]:
    if _is_deep(image):
        grey = (np.asarray(image, dtype=np.float64).clip(0, high) * (255.0 / high)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(image.convert("RGB"))


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _brightest(image: Image.Image) -> float:
    _, brightest = image.getextrema()
    return float(brightest)  # type: ignore[arg-type]  # a number for pictures of one band


# -- durations, from the containers' own blocks --------------------------------------------------------


def frame_durations(path: Path) -> list[float]:
    """Seconds each frame is shown, in order, read without decoding; empty for a single picture."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            if data[:3] == b"GIF":
                return list(_gif(data))
            if data[:4] == b"RIFF":
                return [int.from_bytes(b[12:15], "little") / 1000 for n, b in _riff(data) if n == b"ANMF"]
            if data[:4] == b"\x89PNG":
                controls = [b for n, b in _png(data) if n == b"fcTL"]
                return [a / (b or 100) for a, b in (struct.unpack(">HH", c[20:24]) for c in controls)]
        except (IndexError, struct.error) as error:
            raise _damaged(path, error) from error
    return []


def _gif(data: mmap.mmap) -> Iterator[float]:
    """One delay for each image whose data is complete."""
    at = 13 + _palette(data[10])
    delay = 0.0
    while at < len(data) and data[at] in b"\x21\x2c":
        if data[at] == 0x21:
            if data[at + 1] == 0xF9:  # graphic control: the next image's delay, in hundredths
                delay = int.from_bytes(data[at + 4 : at + 6], "little") / 100
            at += 2
        else:
            at += 11 + _palette(data[at + 9])
            at = _past_blocks(data, at)
            if at <= len(data):
                yield delay
            delay = 0.0
            continue
        at = _past_blocks(data, at)


def _palette(flags: int) -> int:
    return 3 << (flags % 8 + 1) if flags & 0x80 else 0


def _past_blocks(data: mmap.mmap, at: int) -> int:
    """The offset behind a row of sub-blocks; beyond the end when the row is cut off."""
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _riff(data: mmap.mmap) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + min(size, 16)]
        at += 8 + size + size % 2


def _png(data: mmap.mmap) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + min(size, 26)]
        at += 12 + size
