"""Writes clips as mp4, documents as PDF, beside their records.

Promises: a name ending in .mp4 or .pdf is a whole file, and `world.json` is written last, so a folder
that has it is a whole world. Same seed and fonts: `items.jsonl` and `texts.jsonl` are equal byte for byte,
and so are the frames that go into the encoder. The encoded bytes also depend on the version of libx264, a
PDF's on that of PDFium.
Does not: resume, or add to a folder that holds something.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

import av
import numpy as np
import PIL
from av.video.reformatter import Colorspace

from r4agent.errors import MediaError, UsageError, one_line
from r4agent.item import Item, write_items
from r4agent.textworld.document import Document
from r4agent.textworld.levels import make_clip
from r4agent.textworld.world import Clip, Ink

SEEDS_A_WORLD = 1_000_000
"""Clip i of world s is made from the clip seed s · SEEDS_A_WORLD + i, so two worlds share no clip."""

DRAWING = 1
"""Raise when paints of the same description draw other pixels, so that files made before are not used."""

# crf 12 leaves 12 px text whole after 4:2:0; no B-frames, so the first frame is presented at 0. One
# thread, and bitexact, so that the same libx264 writes the same bytes.
_X264 = {"crf": "12", "preset": "superfast", "bf": "0", "threads": "1"}


def generate(
    level: int,
    n: int,
    seed: int,
    out: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `n` clips of `level` and their records into the new or empty folder `out`; returns it.

    progress: called with the clips done and `n` after each. Files: clips/*.mp4, or at level 1
    clips/*.pdf; items.jsonl (Items), texts.jsonl (every text, a line each), world.json. Raises UsageError
    for a wrong argument and MediaError where `out` can't be written.
    """
    if not 1 <= n <= SEEDS_A_WORLD:
        raise UsageError(f"n {n}: must be 1 to {SEEDS_A_WORLD} clips")
    if seed < 0:
        raise UsageError(f"seed {seed}: must be 0 or more")
    make_clip(level, 0)  # a wrong level is told before anything is written
    out = Path(out)
    fonts: dict[str, str] = {}
    try:
        _claim(out)
        with (out / "texts.jsonl.part").open("w", encoding="utf-8") as texts:
            seeds = range(seed * SEEDS_A_WORLD, seed * SEEDS_A_WORLD + n)
            made = _made(level, seeds, out, texts, fonts, progress)
            items = write_items(out / "items.jsonl.part", made)
        os.replace(out / "texts.jsonl.part", out / "texts.jsonl")
        os.replace(out / "items.jsonl.part", out / "items.jsonl")
        world = {
            "level": level,
            "n": n,
            "seed": seed,
            "items": items,
            "versions": _versions(level),
            "fonts": dict(sorted(fonts.items())),
        }
        write_whole(out / "world.json", (json.dumps(world, indent=2) + "\n").encode())
    except OSError as error:
        raise MediaError(f"{out}: can't be written: {one_line(error)}; choose another folder") from error
    return out


def _versions(level: int) -> dict[str, str]:
    """Of what draws and writes."""
    if level != 1:
        return {"pillow": PIL.__version__, "av": av.__version__}
    from r4agent.textworld.press import PDFIUM

    return {"pillow": PIL.__version__, "pdfium": PDFIUM}


def _claim(out: Path) -> None:
    """Make the folder, or see that it is empty, so that no clip of another world stands among ours."""
    if out.is_file():
        raise UsageError(f"{out}: is a file; choose a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise UsageError(f"{out}: holds something already; choose a new or empty folder")
    (out / "clips").mkdir()


def _made(
    level: int,
    seeds: range,
    out: Path,
    texts: TextIO,
    fonts: dict[str, str],
    progress: Callable[[int, int], None] | None,
) -> Iterator[Item]:
    """Write each clip and its texts, note its fonts, and yield its items."""
    for done, seed in enumerate(seeds, start=1):
        clip = make_clip(level, seed)
        write(clip, out / "clips" / f"{clip.id}.{suffix(clip)}")
        for row in text_rows(clip):
            texts.write(json.dumps(row, ensure_ascii=False) + "\n")
        fonts.update((ink.face.name, ink.face.sha256) for ink in clip.paints if isinstance(ink, Ink))
        yield from clip.items
        if progress:
            progress(done, len(seeds))


def text_rows(clip: Clip | Document) -> Iterator[dict[str, Any]]:
    """The lines of `texts.jsonl` for one clip, in the order in which the texts were drawn."""
    for text in clip.texts:
        row = {"clip": clip.id, "media": f"clips/{clip.id}.{suffix(clip)}", **asdict(text)}
        if isinstance(clip, Document):
            row["shown"] = [{"page": run.stop, "box": run.box} for run in text.shown]
        yield row


def suffix(clip: Clip | Document) -> str:
    """What the name of its file ends in."""
    return "pdf" if isinstance(clip, Document) else "mp4"


def clip_file(level: int, seed: int, folder: Path) -> tuple[Path, tuple[Item, ...]]:
    """The media file of a clip in `folder`, made unless it is there, and its items, whose `media` is that
    file's absolute path.

    The name carries a digest of all that is drawn, so a file that an older generator left is never taken
    for this clip's. Several processes may ask for the same clip at once. Raises UsageError as `make_clip`
    does and MediaError where `folder` can't be written.
    """
    clip = make_clip(level, seed)
    path = Path(folder).absolute() / f"{clip.id}-{digest(clip)[:12]}.{suffix(clip)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            write(clip, path)
    except OSError as error:
        raise MediaError(f"{path}: can't be written: {one_line(error)}; choose another folder") from error
    return path, tuple(item.model_copy(update={"media": str(path)}) for item in clip.items)


def digest(clip: Clip | Document) -> str:
    """A digest of everything that decides the clip's file: what is drawn, with which fonts, and how it is
    encoded."""
    faces = {paint.face for paint in clip.paints if isinstance(paint, Ink)}
    fonts = sorted((face.name, face.sha256) for face in faces)
    how: Any = (clip.fps, _X264, av.__version__) if isinstance(clip, Clip) else (clip.paper, clip.scan)
    parts = DRAWING, PIL.__version__, how, clip.id, clip.size, clip.frames, fonts, clip.paints
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def write(clip: Clip | Document, path: Path) -> None:
    """Write its media file. `path` appears only when whole."""
    if isinstance(clip, Clip):
        encode(clip, path)
    else:
        write_whole(path, clip.file)


def _part(path: Path) -> Path:
    """A name beside `path` that no other process uses."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")


def encode(clip: Clip, path: Path) -> None:
    """Write a clip as mp4 (H.264, 4:2:0), frame i presented at i / fps. `path` appears only when whole."""
    part = _part(path)
    try:
        with av.open(str(part), "w", format="mp4", options={"fflags": "+bitexact"}) as mp4:
            stream = mp4.add_stream("libx264", rate=clip.fps, options=_X264)
            stream.width, stream.height, stream.pix_fmt = clip.size.width, clip.size.height, "yuv420p"
            stream.gop_size = 2 * clip.fps
            stream.codec_context.colorspace = Colorspace.SMPTE170M
            stream.codec_context.time_base = Fraction(1, clip.fps)
            for frame in _frames(clip):
                mp4.mux(stream.encode(frame))
            mp4.mux(stream.encode(None))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _frames(clip: Clip) -> Iterator[av.VideoFrame]:
    """The clip's frames in YUV, converted once for each state."""
    state, frame = None, av.VideoFrame()
    for index in range(clip.frames):
        if (now := clip.state(index)) != state:
            image = av.VideoFrame.from_ndarray(np.asarray(clip.render(index)), format="rgb24")
            state, frame = now, image.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601)
        frame.pts, frame.time_base = index, Fraction(1, clip.fps)
        yield frame


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears only when whole, in a folder that is there."""
    part = _part(path)
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
