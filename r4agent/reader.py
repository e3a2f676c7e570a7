"""The Reader: the text in a picture, line by line, each picture read once.

Promises: PP-OCRv6 (small) through rapidocr and onnxruntime, with the models that ship in rapidocr's
wheel; no network. Safe to share between threads; several processes may share one cache folder. A
picture with no text, however small or thin, gives an empty tuple.
Does not: turn text: a line upside down is read as it stands.

How a picture is shown to the detector: one of under a million pixels is magnified to that, at most
twice; 16 pixels of its own rim are added; one longer than 1920 pixels is reduced, for finding the lines
only. Recognising them costs three times what finding them does. Against rapidocr's own settings this takes
0.5 to 0.7 of the time on frames and 0.1 on crops, and finds one or two answers of 27 fewer or more.
benchmarks/reader.py measures it; docs/architecture.md has the table.
"""

import contextlib
import hashlib
import json
import os
import secrets
import threading
import time
from collections import OrderedDict
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from r4agent.errors import MissingError, RunError, one_line
from r4agent.geometry import Box
from r4agent.media.store import picture_ref
from r4agent.text import Line, in_reading_order

__all__ = ["Line", "Reader"]

MODEL = "PP-OCRv6 small"
SETTINGS = 3  # raise when what `read` gives for a picture, or a cache file, changes: old files go unused
REMEMBERED = 2048  # pictures whose lines are kept in memory
EDGE = 16  # pixels of the picture's own rim added around it: text that touches the rim is found too
SMALL = 1_000_000  # a picture of fewer pixels is magnified to this,
MAGNIFIED = 2  # but at most twice
LONGEST = 1920 + 2 * EDGE  # the detector sees a longer picture reduced to this; lines are read at full size
INSTALL = 'pip install "r4agent[ocr]"'


class Reader:
    """Reads pictures. The models load at the first picture that no cache knows (about a second).

    cache: a folder for what was read, one small file a picture. threads: CPU threads of the engine;
    default: every core. Raises MissingError when the extra `ocr` is not installed.
    """

    def __init__(self, *, cache: str | Path | None = None, threads: int | None = None) -> None:
        for package in ("rapidocr", "onnxruntime"):
            if not _installed(package):
                raise MissingError(f"the reader needs {package}, which is not installed; run: {INSTALL}")
        self.name = f"rapidocr {metadata.version('rapidocr')} {MODEL} settings {SETTINGS}"
        self.threads = threads
        self._folder = Path(cache) / hashlib.sha256(self.name.encode()).hexdigest()[:12] if cache else None
        self._memory: OrderedDict[str, tuple[Line, ...]] = OrderedDict()
        self._memory_lock = threading.Lock()
        self._engine: Any = None
        self._engine_lock = threading.Lock()
        self.saved = 0.0
        """Seconds that the cache folder has spared since `forget`: what its readings took when made."""

    def forget(self) -> None:
        """Keep nothing in memory but the models, as if nothing had been read; the cache folder stays."""
        with self._memory_lock:
            self._memory.clear()
            self.saved = 0.0

    def read(self, image: Image.Image, *, ref: str | None = None) -> tuple[Line, ...]:
        """The lines of `image` in reading order, boxes in its own pixels (space "shown").

        ref: the picture's `img:<sha256>`, when the caller knows it; else it is computed.
        """
        ref = ref or picture_ref(image)
        lines = self._recall(ref)
        if lines is None:
            with self._engine_lock:  # the engine is not for two at once; a second asker waits for the first
                lines = self._recall(ref)
                if lines is None:
                    self._engine = self._engine or _load(self.threads)
                    started = time.monotonic()
                    lines = in_reading_order(self._recognise(image))
                    self._save(ref, lines, time.monotonic() - started)
        with self._memory_lock:
            self._memory[ref] = lines
            self._memory.move_to_end(ref)
            while len(self._memory) > REMEMBERED:
                self._memory.popitem(last=False)
        return lines

    def _recognise(self, image: Image.Image) -> list[Line]:
        scale = max(1.0, min(MAGNIFIED, (SMALL / (image.width * image.height)) ** 0.5))
        wide, high = round(image.width * scale), round(image.height * scale)
        rgb = np.asarray(image.convert("RGB").resize((wide, high), Image.Resampling.BICUBIC))
        padded = np.pad(rgb[:, :, ::-1], ((EDGE, EDGE), (EDGE, EDGE), (0, 0)), mode="edge")
        # All three flags in every call: rapidocr keeps whatever one call was given for the next.
        found = self._engine(np.ascontiguousarray(padded), use_det=True, use_cls=False, use_rec=True)
        if found.boxes is None or found.txts is None:
            return []
        lines = []
        for corners, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
            x = np.clip((corners[:, 0] - EDGE) * image.width / wide, 0, image.width)
            y = np.clip((corners[:, 1] - EDGE) * image.height / high, 0, image.height)
            x0, y0, x1, y1 = float(x.min()), float(y.min()), float(x.max()), float(y.max())
            if x0 < x1 and y0 < y1 and text.strip():
                lines.append(Line(text.strip(), Box(x0, y0, x1, y1, "shown"), round(float(score), 4)))
        return lines

    def _recall(self, ref: str) -> tuple[Line, ...] | None:
        with self._memory_lock:
            if ref in self._memory:
                return self._memory[ref]
        if self._folder is None:
            return None
        try:
            known = _decode(self._path(ref).read_bytes(), ref)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RunError(
                f"can't read the reader's cache ({one_line(error)}); check its permissions"
            ) from error
        if known is None:
            return None
        with self._memory_lock:
            self.saved += known[1]
        return known[0]

    def _save(self, ref: str, lines: tuple[Line, ...], seconds: float) -> None:
        if self._folder is None:
            return
        path = self._path(ref)
        part = path.with_name(f".{os.getpid()}-{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(_encode(ref, lines, seconds))
            os.replace(part, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise RunError(
                f"can't write the reader's cache ({one_line(error)}); free space, or choose another folder"
            ) from error

    def _path(self, ref: str) -> Path:
        assert self._folder is not None
        # Hashed: a reference from elsewhere must not be able to name a path.
        return self._folder / f"{hashlib.sha256(ref.encode()).hexdigest()}.json"


def _encode(ref: str, lines: tuple[Line, ...], seconds: float) -> bytes:
    """A cache file: the lines, what reading them took, and a hash over both, so that damage is seen."""
    rows = [[line.text, *line.box.corners, line.score] for line in lines]
    body = json.dumps([ref, rows, round(seconds, 4)])
    return f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}\n".encode()


def _decode(data: bytes, ref: str) -> tuple[tuple[Line, ...], float] | None:
    """The lines in a cache file and the seconds that reading them took; None when it is damaged or not
    this picture's: read again then."""
    digest, _, body = data.partition(b"\n")
    body = body.removesuffix(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    owner, rows, seconds = json.loads(body)
    if owner != ref:
        return None
    lines = (Line(text, Box(x0, y0, x1, y1, "shown"), score) for text, x0, y0, x1, y1, score in rows)
    return tuple(lines), seconds


def _installed(package: str) -> bool:
    try:
        return util.find_spec(package) is not None
    except ValueError:  # a module that was put out of reach (sys.modules[name] = None)
        return False


def _load(threads: int | None) -> Any:
    """rapidocr with its bundled models named by path, so that nothing is ever fetched."""
    try:
        import rapidocr
    except ImportError as error:
        raise MissingError(f"the reader can't load rapidocr ({one_line(error)}); run: {INSTALL}") from error
    models = Path(rapidocr.__file__).parent / "models"
    paths = {part: models / f"PP-OCRv6_{part.lower()}_small.onnx" for part in ("Det", "Rec")}
    for path in paths.values():
        if not path.is_file():
            raise MissingError(
                f"rapidocr's bundled model {path.name} is gone; run: {INSTALL} --force-reinstall"
            )
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            # rapidocr's own resizing and padding: it makes a 7680x1 strip 15 megapixels, and mixes up the
            # scales when a picture is both too long and too thin. Ours is in `_recognise`.
            "Global.use_preprocess_img": False,
            "Global.use_vertical_padding": False,
            "Det.ocr_version": rapidocr.OCRVersion.PPOCRV6,
            "Det.model_path": str(paths["Det"]),
            "Det.limit_type": "max",
            "Det.limit_side_len": LONGEST,
            "Rec.ocr_version": rapidocr.OCRVersion.PPOCRV6,
            "Rec.model_path": str(paths["Rec"]),
            "Rec.rec_img_shape": [3, 48, 64],
            "EngineConfig.onnxruntime.intra_op_num_threads": threads or -1,
        }
    )
