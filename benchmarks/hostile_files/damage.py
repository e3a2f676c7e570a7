"""Damage to good files: cut, flipped, overwritten, zeroed and padded; an mp4's tables; impossible times."""

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import av
from PIL import Image

from hostile_files import SEED, Case, write
from hostile_files.good import video

BOXES = [
    "mvhd",
    "tkhd",
    "mdhd",
    "hdlr",
    "elst",
    "stsd",
    "avcC",
    "stts",
    "stss",
    "ctts",
    "stsc",
    "stsz",
    "stco",
]


def mutated(folder: Path, name: str, data: bytes) -> Iterator[Case]:
    """Cut, flipped, overwritten, zeroed and padded, at places that follow from the name."""
    rng, size = random.Random(f"{SEED} {name}"), len(data)
    for length in (20, 200, size // 3, size * 3 // 4, size - 3):
        yield Case("cut", f"{name} at {length}", write(folder / f"cut{length}.{name}", data[:length]))

    def flipped(bits: int, end: int) -> bytes:
        out = bytearray(data)
        for _ in range(bits):
            out[rng.randrange(min(end, size))] ^= 1 << rng.randrange(8)
        return bytes(out)

    def patched(start: int, block: bytes) -> bytes:
        return data[:start] + block[: size - start] + data[start + len(block) :]

    third = rng.randrange(size // 3, size * 2 // 3)
    damage = {
        "4 bits of its head": flipped(4, 300),
        "40 bits anywhere": flipped(40, size),
        "noise in its head": patched(rng.randrange(8, 100), rng.randbytes(16)),
        "noise in its tail": patched(size - min(800, size // 8), rng.randbytes(60)),
        "noise in its middle": patched(third, rng.randbytes(size // 10)),
        "zeros in its middle": patched(third, bytes(size // 5)),
        "zeros to its end": patched(third, bytes(size)),
        "halves swapped": data[size // 2 :] + data[: size // 2],
        "noise behind it": data + rng.randbytes(2000),
    }
    for number, (what, changed) in enumerate(damage.items()):
        yield Case("damaged", f"{name}, {what}", write(folder / f"damaged{number}.{name}", changed))


def boxes(folder: Path, good: dict[str, bytes]) -> Iterator[Case]:
    """An mp4's tables, each filled with ones, with zeros, its entries only, and with a wrong length."""
    data = good["faststart.mp4"]
    for box in BOXES:
        at = data.index(box.encode()) - 4
        size = int.from_bytes(data[at : at + 4], "big")
        for what, start, byte in (("ones", 12, 255), ("zeros", 12, 0), ("ones in entries", 16, 255)):
            block = bytes([byte]) * (size - start)
            changed = data[: at + start] + block + data[at + size :]
            yield Case("mp4 tables", f"{box}, {what}", write(folder / f"{box}-{start}-{byte}.mp4", changed))
        for length in (1, 9, 2**31):
            changed = data[:at] + length.to_bytes(4, "big") + data[at + 4 :]
            yield Case("mp4 tables", f"{box}, {length} bytes", write(folder / f"{box}-{length}.mp4", changed))


def times(folder: Path, good: dict[str, bytes]) -> Iterator[Case]:
    pictures = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue", "white")]
    jumps: dict[str, Callable[[int], int]] = {
        "27 years apart": lambda k: k * 90_000 * 86_400 * 9000,
        "far in the future": lambda k: 2**58 + k,
        "before zero": lambda k: (k - 1000) * 90_000,
        "a tick apart": lambda k: k,
        "one second, then a year": lambda k: 90_000 * (k if k < 2 else 31_536_000),
    }
    for what, pts in jumps.items():
        for suffix in ("mp4", "mkv", "ts"):
            try:
                data = video(pictures, suffix, pts=pts)
            except av.FFmpegError:
                continue  # the muxer would not write it
            yield Case("times", f"{suffix}, {what}", write(folder / f"{what}.{suffix}", data))
    avi = good["avi"]
    for what, at in (("scale", avi.index(b"strh") + 28), ("rate", avi.index(b"strh") + 32)):
        for value in (0, 0xFFFFFFFF):
            data = avi[:at] + struct.pack("<I", value) + avi[at + 4 :]
            yield Case("times", f"avi, {what} {value}", write(folder / f"{what}{value}.avi", data))
