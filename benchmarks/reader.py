"""The reader's settings against rapidocr's own: what is found, and what it costs.

    python benchmarks/reader.py [--quick]

The questions of ../shared/videos (qa.jsonl), each with a moment and a box at which its answer stands; where
that folder is not beside this checkout, as many of the text world, level 2. Of the frame at that moment four
pictures are read: itself, reduced to a long side of 1024 and of 448, and the answer's box with its own
height around it. A hit is an answer that `r4agent.text.contains` finds in the lines with at least 0.9.

The same models read both times; only what stands around them differs (`_recognise` and `_load` in
r4agent/reader.py). Both read at the same time, each on one thread, and the cost is that thread's processor
time, so that a busy machine counts little. A frame that serves several questions is read once. Below that,
the small pictures and crops once more, magnified less and more than the reader does it; and how the time
divides.
--quick takes every seventh question. Ends with one line of JSON.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import rapidocr
from PIL import Image

from r4agent import reader
from r4agent.geometry import Box, Size
from r4agent.media import open_source
from r4agent.text import Line, contains, in_reading_order
from r4agent.textworld import make_clip

REAL = Path(__file__).resolve().parents[2] / "shared" / "videos"
HIT = 0.9
WORLD = 27  # questions of the text world that stand in for the real ones


@dataclass(frozen=True)
class Question:
    """frame: names the picture, for those that share one. box: source pixels."""

    frame: str
    image: Image.Image
    box: Box
    answers: tuple[str, ...]


@dataclass
class Engine:
    """rapidocr, and the seconds it spent on finding, turning and recognising lines."""

    call: Callable[..., Any]
    spent: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])

    def __call__(self, *pixels: np.ndarray, **flags: bool) -> Any:
        found = self.call(*pixels, **flags)
        if found.boxes is not None:
            self.spent = [a + (b or 0.0) for a, b in zip(self.spent, found.elapse_list, strict=True)]
        return found

    def shares(self) -> str:
        return ", ".join(
            f"{part} {100 * seconds / sum(self.spent):.0f} %"
            for part, seconds in zip(("finding", "turning", "recognising"), self.spent, strict=True)
        )


class Ours:
    """The reader as shipped, or with other magnification."""

    def __init__(self, engine: Engine, magnified: float = reader.MAGNIFIED) -> None:
        self._reader = reader.Reader(threads=1)
        self._reader._engine = engine
        self._magnified = magnified

    def read(self, image: Image.Image) -> list[Line]:
        with mock.patch.object(reader, "MAGNIFIED", self._magnified):
            return self._reader._recognise(image)  # `read` without its cache


class Theirs:
    """rapidocr with no setting but the number of threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, image: Image.Image) -> list[Line]:
        found = self._engine(np.ascontiguousarray(np.asarray(image)[:, :, ::-1]))
        if found.boxes is None:
            return []
        corners = [(*box.min(axis=0).tolist(), *box.max(axis=0).tolist()) for box in found.boxes]
        return [
            Line(text, Box(*c, "shown"), score)
            for c, text, score in zip(corners, found.txts, found.scores, strict=True)
            if c[0] < c[2] and c[1] < c[3]
        ]


@dataclass
class Tally:
    """Of one way to read one kind of picture."""

    hits: int = 0
    pictures: int = 0
    seconds: float = 0.0

    @property
    def cost(self) -> float:
        """Processor seconds a picture."""
        return self.seconds / self.pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every seventh question")
    quick = parser.parse_args().quick
    cv2.setNumThreads(1)  # what rapidocr scales with; its threads' time would not be seen
    questions = list(real() if REAL.is_dir() else world())[:: 7 if quick else 1]
    made_with = ", ".join(f"{name} {version(name)}" for name in ("rapidocr", "onnxruntime"))
    print(f"{machine()}; {made_with}, {reader.MODEL}")
    print(f"{len(questions)} questions from {'recordings' if REAL.is_dir() else 'the text world'}\n")
    ours, theirs = Engine(reader._load(1)), Engine(default_engine())
    both = {"r4agent": Ours(ours), "rapidocr": Theirs(theirs)}
    kinds = {
        "native frame": native,
        "long side 1024": reduced(1024),
        "long side 448": reduced(448),
        "crop": crop,
    }
    print(f"{'':16} {'r4agent':>22} {'rapidocr':>22}")
    print(f"{'picture':16}" + f" {'hits':>8} {'s a picture':>13}" * 2)
    result: dict[str, dict[str, Any]] = {}
    for kind, cut in kinds.items():
        with ThreadPoolExecutor() as pool:
            waiting = {name: pool.submit(measured, way, questions, cut) for name, way in both.items()}
            result[kind] = report(kind, {name: tally.result() for name, tally in waiting.items()})
    divided = f"r4agent: {ours.shares()}; rapidocr: {theirs.shares()}"
    others = {f"at most x{k}": Ours(ours, k) for k in (1, 3)}
    print(f"\n{'':16} " + " ".join(f"{name:>22}" for name in others))
    for kind in ("long side 448", "crop"):
        tallies = {name: measured(way, questions, kinds[kind]) for name, way in others.items()}
        result[kind] |= report(kind, tallies)
    print(f"\ntime of a reading: {divided}")
    print(json.dumps({"questions": len(questions), **result}))


def machine() -> str:
    """Processor, cores and Python, for the record."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cpu = model[1] if model else platform.machine()
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}"


def default_engine() -> rapidocr.RapidOCR:
    return rapidocr.RapidOCR(
        params={"Global.log_level": "critical", "EngineConfig.onnxruntime.intra_op_num_threads": 1}
    )


# -- measuring -----------------------------------------------------------------------------------------


def measured(
    way: Ours | Theirs, questions: list[Question], cut: Callable[[Question], tuple[str, Image.Image]]
) -> Tally:
    """What one way to read makes of the pictures that `cut` makes."""
    tally = Tally()
    known: dict[str, tuple[Line, ...]] = {}
    for question in questions:
        picture, image = cut(question)
        if picture not in known:
            start = time.thread_time()
            known[picture] = in_reading_order(way.read(image))
            tally.seconds += time.thread_time() - start
            tally.pictures += 1
        tally.hits += any(contains(known[picture], answer).score >= HIT for answer in question.answers)
    return tally


def report(kind: str, tallies: dict[str, Tally]) -> dict[str, dict[str, float]]:
    """Print a row; the same for the JSON."""
    print(f"{kind:16}" + "".join(f" {t.hits:8} {t.cost:13.2f}" for t in tallies.values()), flush=True)
    return {name: {"hits": t.hits, "cpu_s": round(t.cost, 3)} for name, t in tallies.items()}


def native(question: Question) -> tuple[str, Image.Image]:
    return question.frame, question.image


def reduced(side: int) -> Callable[[Question], tuple[str, Image.Image]]:
    def cut(question: Question) -> tuple[str, Image.Image]:
        image = question.image
        scale = min(1.0, side / max(image.size))
        size = round(image.width * scale), round(image.height * scale)
        return question.frame, image.resize(size, Image.Resampling.BICUBIC)

    return cut


def crop(question: Question) -> tuple[str, Image.Image]:
    box, around = question.box, question.box.height
    region = box.grown(around, around).pixels(Size(*question.image.size))
    return f"{question.frame} {region}", question.image.crop(region.corners)


# -- questions -----------------------------------------------------------------------------------------


def real() -> Iterator[Question]:
    for line in (REAL / "qa.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        with open_source(REAL / row["video"]) as source:
            frame = source.frame(source.nearest(row["t_ref"]))
        yield Question(f"{row['video']} {frame.index}", frame.image, Box(*row["box"]), tuple(row["answers"]))


def world() -> Iterator[Question]:
    clips = (make_clip(2, seed) for seed in range(sys.maxsize))
    items = ((clip, item) for clip in clips for item in clip.items if item.answers and item.evidence)
    for (clip, item), _ in zip(items, range(WORLD), strict=False):
        span = item.evidence[0]
        index = int((span.start + span.end) / 2 * clip.fps)
        assert span.source_box
        yield Question(f"{clip.id} {index}", clip.render(index), span.source_box, item.answers)


if __name__ == "__main__":
    main()
