"""Good files, a few kilobytes each, of every kind that is opened; and what makes them."""

import io
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

KEY = {"preset": "ultrafast"}
VIDEOS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {  # suffix: codec, its options, the muxer's
    "mp4": ("libx264", KEY, {}),
    "faststart.mp4": ("libx264", {"preset": "veryfast", "bf": "2"}, {"movflags": "faststart"}),
    "fragments.mp4": ("libx264", KEY, {"movflags": "frag_keyframe+empty_moov"}),
    "mov": ("mjpeg", {"qscale": "5"}, {}),
    "mkv": ("libx264", KEY, {}),
    "webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, {}),
    "avi": ("mpeg4", {}, {}),
    "ts": ("mpeg2video", {}, {}),
}
STILLS = ("png", "jpg", "tiff", "bmp", "webp", "avif")


def good_files(pictures: list[Image.Image]) -> Iterator[tuple[str, bytes]]:
    for suffix, (codec, options, container) in VIDEOS.items():
        yield suffix, video(pictures * 2, suffix.split(".")[-1], codec, options, container)
    for suffix in STILLS:
        yield suffix, still(pictures[0], suffix)
    for suffix in ("gif", "webp", "png"):
        small = [picture.resize((288, 162)) for picture in pictures]
        yield f"animated.{suffix}", animation(small, suffix)
    yield "pdf", document(pictures[:3])


def video(
    pictures: list[Image.Image],
    suffix: str,
    codec: str = "libx264",
    options: dict[str, str] = KEY,
    container: dict[str, str] | None = None,
    pts: Callable[[int], int] = lambda number: number * 9000,
) -> bytes:
    """Frame k at pts(k) / 90,000 seconds."""
    form = {"mkv": "matroska", "ts": "mpegts"}.get(suffix, suffix)
    with tempfile.NamedTemporaryFile() as out:  # by name: `faststart` opens it a second time
        with av.open(out.name, "w", format=form, container_options=container or {}) as file:
            stream = file.add_stream(codec, rate=25, options=options)
            stream.width, stream.height = pictures[0].size
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.codec_context.gop_size = 12
            timed = codec not in ("mpeg4", "mpeg2video")  # which know no time base as fine as this
            if timed:
                stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
            for number, picture in enumerate(pictures):
                frame = av.VideoFrame.from_image(picture)
                if timed:
                    frame.time_base, frame.pts = Fraction(1, 90_000), pts(number)
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        return Path(out.name).read_bytes()


def still(picture: Image.Image, suffix: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, {"jpg": "jpeg"}.get(suffix, suffix), **options)
    return out.getvalue()


def animation(pictures: list[Image.Image], suffix: str, **options: Any) -> bytes:
    return still(pictures[0], suffix, save_all=True, append_images=pictures[1:], duration=120, **options)


def document(pictures: list[Image.Image], encrypt: StandardEncryption | None = None) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(576, 324), encrypt=encrypt, invariant=1)
    for number, picture in enumerate(pictures):
        canvas.drawImage(ImageReader(picture), 0, 0, 576, 324)
        canvas.drawString(20, 20, f"page {number + 1}")
        canvas.showPage()
    canvas.save()
    return out.getvalue()
