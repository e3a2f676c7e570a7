"""A pool of overview frames of level 0, each with one sign: new videos are put together from it by lot.

Drawing whole frames is what limits training on frames; frames of an overview don't depend on each other.

Promises: frames as `select_frames` and the overview would show them, but for the encoding of a video; where
the sign's board is in it, and its colour. Built once, in parts that appear only when whole.
Does not: hold text: at this size there is none to read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from r4agent.budget import Budget
from r4agent.geometry import QWEN2_5_VL, convert
from r4agent.media.view import View
from r4agent.textworld.level0 import COLOURS
from r4agent.training.nano.signs import signs

PART = 100  # clips


@dataclass(frozen=True)
class Pool:
    """frames: (N, height, width, 3), uint8. colours: (N,), places in `NAMES`. boards: (N, 4), in pixels of
    the frame."""

    frames: np.ndarray
    colours: np.ndarray
    boards: np.ndarray

    @classmethod
    def load(cls, folder: Path) -> "Pool":
        parts = [np.load(path) for path in sorted(folder.glob("*.npz"))]
        return cls(
            *(np.concatenate([part[key] for part in parts]) for key in ("frames", "colours", "boards"))
        )


NAMES = tuple(COLOURS)


def build(folder: Path, clips: int, seed: int, budget: Budget) -> Iterator[int]:
    """Frames of `clips` clips from `seed` on, into `folder`; yields how many clips are done."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(seed, seed + clips, PART):
        path = folder / f"{first:010d}.npz"
        if not path.exists():
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                made = _frames(range(first, min(first + PART, seed + clips)), budget)
                np.savez(file, frames=made.frames, colours=made.colours, boards=made.boards)
            part.rename(path)
        yield min(first + PART, seed + clips) - seed


def _frames(seeds: range, budget: Budget) -> Pool:
    frames, colours, boards = [], [], []
    for sign in signs(seeds):
        whole = sign.clip.size
        size = QWEN2_5_VL.fit(whole, budget.overview_tokens)
        shown = View(sign.frame, None, whole.box, size).cut(sign.clip.render(sign.frame))
        frames.append(np.asarray(shown))
        colours.append(NAMES.index(sign.colour))
        boards.append(convert(sign.panel, "shown", region=whole.box, shown=size).corners)
    return Pool(np.stack(frames), np.array(colours), np.array(boards, np.float32))
