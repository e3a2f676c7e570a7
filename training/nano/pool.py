"""A pool of overview frames of level 0, each with one sign: videos are put together of them by lot.

Drawing whole frames is what limits training on frames; those of an overview don't depend on each other.

Promises: frames as an overview shows them, but for the encoding of a video, with the colour of the sign and
where its board is. Drawn once, in parts that appear only when whole; a pool has the clips it is asked for.
Does not: hold text. At this size there is none to read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from r4agent.budget import Budget
from r4agent.geometry import QWEN2_5_VL, Box, Size
from r4agent.media.view import View
from r4agent.textworld.level0 import COLOURS
from r4agent.training.nano.signs import signs

PART = 100  # clips
HUES = tuple(COLOURS)
"""The colours that a sign may have, in the order in which a pool numbers them."""


@dataclass(frozen=True)
class Pool:
    """frames: (N, height, width, 3), uint8. hues: (N,), places in HUES. boards: (N, 4), in source pixels.
    sizes: (N, 2), width and height of the source."""

    frames: np.ndarray
    hues: np.ndarray
    boards: np.ndarray
    sizes: np.ndarray

    @classmethod
    def load(cls, folder: Path, seeds: range) -> "Pool":
        """The frames of these clips, which `draw` has drawn."""
        parts = [np.load(_path(folder, part)) for part in _parts(seeds)]
        return cls(*(np.concatenate([part[key] for part in parts]) for key in cls.__dataclass_fields__))

    def board(self, number: int) -> tuple[Box, View]:
        """The board in frame `number`, in source pixels, and the frame's View."""
        width, height = self.sizes[number].tolist()
        x0, y0, x1, y1 = self.boards[number].tolist()
        high, wide = self.frames.shape[1:3]
        return Box(x0, y0, x1, y1), View(0, None, Box(0, 0, width, height), Size(wide, high))


def draw(folder: Path, seeds: range, budget: Budget) -> Iterator[int]:
    """Draw the frames of these clips into `folder`, unless they are there; yields how many clips are done."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in _parts(seeds):
        path = _path(folder, part)
        if not path.exists():
            draft = path.with_suffix(".part")
            with draft.open("wb") as file:
                made = _drawn(part, budget)
                np.savez(file, frames=made.frames, hues=made.hues, boards=made.boards, sizes=made.sizes)
            draft.replace(path)
        yield part.stop - seeds.start


def _parts(seeds: range) -> Iterator[range]:
    for first in range(seeds.start, seeds.stop, PART):
        yield range(first, min(first + PART, seeds.stop))


def _path(folder: Path, part: range) -> Path:
    return folder / f"{part.start}-{part.stop}.npz"


def _drawn(seeds: range, budget: Budget) -> Pool:
    frames, hues, boards, sizes = [], [], [], []
    for sign in signs(seeds):
        whole = sign.clip.size
        size = QWEN2_5_VL.fit(whole, budget.overview_tokens)
        frames.append(np.asarray(View(sign.frame, None, whole.box, size).cut(sign.clip.render(sign.frame))))
        hues.append(HUES.index(sign.colour))
        boards.append(sign.panel.corners)
        sizes.append((whole.width, whole.height))
    return Pool(np.stack(frames), np.array(hues), np.array(boards, np.float32), np.array(sizes))
