"""Pictures and animations that cost more than they say, or say more than they hold."""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import av
from PIL import Image

from hostile_files import Case, write
from hostile_files.good import KEY, animation, still, video
from r4agent.media import Limits

HUGE = 100_000  # pixels a side, declared
EDGE = math.isqrt(Limits().frame_pixels)  # pixels a side of the largest square that is accepted


def png(
    width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"", more: bytes = b""
) -> bytes:
    """A PNG of that header and image data; `more` stands between them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gif(width: int, height: int, frames: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff" + frames + b";"


def gif_frame(width: int, height: int, delay: int = 2, data: bytes = b"\x02\x02\x44\x01\0") -> bytes:
    """One image at 0,0; `data` is a white pixel unless told otherwise."""
    return (
        b"!\xf9\4\4"
        + struct.pack("<H", delay)
        + b"\0\0,"
        + struct.pack("<HHHHB", 0, 0, width, height, 0)
        + data
    )


def tiff(*tags: tuple[int, int, int, int], following: int = 0) -> bytes:
    """Entries of (tag, type, count, value) and the offset of the next directory."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + bytes(64)


def tiff_of(side: int, rows: int, strips: int = 1, following: int = 0) -> bytes:
    shape = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    return tiff(
        *shape,
        (273, 4, strips, 64),
        (277, 3, 1, 1),
        (278, 4, 1, rows),
        (279, 4, strips, 8),
        following=following,
    )


def declared(folder: Path, good: dict[str, bytes]) -> Iterator[Case]:
    """Sizes and counts that the file does not hold."""
    jpeg = good["jpg"]
    frame = jpeg.index(b"\xff\xc0") + 5
    riff = b"RIFF\x40\0\0\0WEBP"
    canvas = (2**24 - 1).to_bytes(3, "little") * 2
    big = {
        "huge.png": png(HUGE, HUGE),
        "most.png": png(2**31 - 1, 2**31 - 1),
        "huge.gif": gif(65535, 65535, gif_frame(1, 1)),
        "frame.gif": gif(1, 1, gif_frame(65535, 65535)),
        "outside.gif": gif(9, 9, gif_frame(60000, 60000) * 2),
        "huge.bmp": b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, HUGE, HUGE, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(40),
        "upside-down.bmp": b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, HUGE, -HUGE, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(40),
        "huge.tiff": tiff_of(HUGE, HUGE),
        "strips.tiff": tiff_of(8000, 1, 0xFFFFFFF),
        "tags.tiff": tiff((256, 4, 2**32 - 1, 8)),
        "circle.tiff": tiff_of(HUGE, 1, following=8),
        "huge.webp": riff + b"VP8X\x0a\0\0\0\2\0\0\0" + canvas + bytes(40),
        "lossless.webp": riff + b"VP8L\x20\0\0\0\x2f\xff\xff\xff\x0f" + bytes(40),
        "huge.jpg": jpeg[:frame] + b"\xff\xff\xff\xff" + jpeg[frame + 4 :],
        "no-size.png": png(0, 0),
        "truncated.png": png(EDGE, EDGE, data=bytes(1000)),
        "line.png": png(EDGE * EDGE, 1),
        "column.png": png(1, EDGE * EDGE),
        "frames.png": good["animated.png"].replace(b"acTL\0\0\0", b"acTL\xff\xff\xff", 1),
        "huge.avif": resized(good["avif"], b"ispe", 8, ">II", HUGE),
        "huge.mp4": resized(good["mp4"], b"avc1", 28, ">HH", 65535),
        "huge.mov": resized(good["mov"], b"jpeg", 28, ">HH", 65535),
        "huge.mkv": good["mkv"].replace(
            b"\xb0\x82\x02\x40\xba\x82\x01\x44", b"\xb0\x82\xff\xff\xba\x82\xff\xff"
        ),
        "huge.avi": resized(good["avi"], b"strf", 12, "<ii", HUGE),
        "huge.ivf": b"DKIF\0\0\x20\0VP90\xff\xff\xff\xff" + bytes(99),
    }
    may_open = {"frame.gif", "frames.png", "huge.avif", "huge.mp4", "huge.mov", "huge.mkv", "huge.avi"}
    for name, data in big.items():
        yield Case("declared size", name, write(folder / name, data), name not in may_open)


def resized(data: bytes, mark: bytes, offset: int, form: str, value: int) -> bytes:
    """`data` with two numbers, `offset` bytes behind the start of `mark`, replaced by `value`."""
    at = data.index(mark) + offset
    block = struct.pack(form, value, value)
    return data[:at] + block + data[at + len(block) :]


def bombs(folder: Path, good: dict[str, bytes]) -> Iterator[Case]:
    """Small files of large pictures: far beyond what is accepted, and exactly as much as is."""
    yield Case(
        "bomb",
        "20,000 square",
        write(folder / "20k.png", png(20_000, 20_000, 1, 0, bytes(2501 * 20_000))),
        True,
    )
    for mode, depth, colour in (
        ("grey", 8, 0),
        ("RGB", 8, 2),
        ("RGBA", 8, 6),
        ("16 bit", 16, 0),
        ("16 bit RGB", 16, 2),
        ("16 bit RGBA", 16, 6),
        ("grey and alpha", 8, 4),
    ):
        width = {0: 1, 2: 3, 4: 2, 6: 4}[colour] * depth // 8 * EDGE + 1
        yield Case(
            "bomb",
            f"png, {mode}",
            write(folder / f"{mode}.png", png(EDGE, EDGE, depth, colour, bytes(width * EDGE))),
        )
    flat = Image.new("RGB", (EDGE, EDGE), "white")
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, data in {
        "plain.jpg": still(flat, "jpg", exif=turned),
        "progressive.jpg": still(flat, "jpg", progressive=True, subsampling=0),
        "cmyk.jpg": still(flat.convert("CMYK"), "jpg"),
        "deflate.tiff": still(flat, "tiff", compression="tiff_adobe_deflate"),
        "float.tiff": still(flat.convert("F"), "tiff", compression="tiff_adobe_deflate"),
        "int.tiff": still(flat.convert("I"), "tiff", compression="tiff_adobe_deflate"),
        "lossless.webp": still(flat, "webp", lossless=True, method=0, quality=0),
        "large.avif": still(flat, "avif", speed=10),
        "alpha.webp": still(flat.convert("RGBA"), "webp", lossless=True, method=0, quality=0),
    }.items():
        yield Case("bomb", name, write(folder / name, data))
    large = [Image.new("RGB", (EDGE // 2 * 2, EDGE // 2 * 2), colour) for colour in ("red", "blue")] * 5
    yield Case(
        "bomb",
        "mp4, 16 references",
        write(folder / "refs.mp4", video(large, "mp4", options={**KEY, "refs": "16"})),
    )
    vp9 = {"deadline": "realtime", "cpu-used": "8"}
    yield Case("bomb", "webm", write(folder / "large.webm", video(large[:2], "webm", "libvpx-vp9", vp9)))
    text = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(500_000_000), 1))
    yield Case("bomb", "png, text", write(folder / "text.png", png(8, 8, data=bytes(200), more=text)))
    colours = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(500_000_000), 1))
    yield Case(
        "bomb", "png, profile", write(folder / "profile.png", png(8, 8, data=bytes(200), more=colours))
    )
    for value in (0, 9, 65535):
        turned[0x0112] = value
        made = write(folder / f"turned{value}.jpg", still(Image.new("RGB", (90, 60)), "jpg", exif=turned))
        yield Case("bomb", f"orientation {value}", made)


def endless(folder: Path, good: dict[str, bytes]) -> Iterator[Case]:
    """Animations of more frames than anyone would wait for."""
    dot, line = gif_frame(1, 1), gif_frame(EDGE, 1)
    full = still(Image.new("P", (EDGE, EDGE)), "gif")
    two = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    for name, data in {
        "dots.gif": gif(1, 1, dot * 40_000),
        "million.gif": gif(1, 1, dot * 1_000_000),
        "late.gif": gif(9, 9, gif_frame(1, 1, 65535) * 5000),
        "canvas.gif": gif(EDGE, EDGE, dot * 300),
        "lines.gif": gif(EDGE, EDGE, line * 3000),
        "full.gif": full,
        "fulls.gif": animation([Image.new("P", (EDGE, EDGE), k) for k in range(6)], "gif"),
        "no-end.gif": gif(9, 9, dot * 500)[:-1],
        "no-time.gif": gif(9, 9, gif_frame(1, 1, 0) * 500),
        "frames.webp": animation(two * 1000, "webp", lossless=True, method=0),
        "frames.png": animation(two * 1500, "png"),
        "canvas.png": animation(
            [Image.new("RGB", (EDGE, EDGE), c) for c in ("red", "blue", "red")], "png", compress_level=1
        ),
        "frames.mp4": video(two * 10_000, "mp4"),
        "uncounted.avi": video(two * 5000, "avi", "mpeg4", {"bf": "2"}),
        "frames.h264": annex_b(video(two * 5000, "mp4", options={**KEY, "g": "10000"})),
    }.items():
        yield Case("endless", name, write(folder / name, data))


def annex_b(mp4: bytes) -> bytes:
    """The H.264 stream of an mp4, without a container."""
    out = io.BytesIO()
    with av.open(io.BytesIO(mp4)) as source, av.open(out, "w", format="h264") as file:
        copy = file.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                file.mux(packet)
    return out.getvalue()
