"""From a picture to the pixel values that a model's vision tower takes.

Promises: the checkpoint's own image processor makes them, and a picture that it would resize is refused, so
that engine and trainer agree on every token; none is processed twice while the cache holds it. One `Pixels`
may be shared by threads. Works with torchvision, without it, and with one that can't load.
Does not: choose a picture's size; `ModelProfile.fit` does.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from r4agent.engines import cpu
from r4agent.engines.checkpoint import Checkpoint
from r4agent.engines.request import Shown
from r4agent.errors import MissingError, R4Error, RunError, UsageError, one_line

if TYPE_CHECKING:
    import torch

CACHE_BYTES = 512 << 20  # about 190 pictures of 144 tokens


def pixel_values(checkpoint: Checkpoint, picture: Image.Image) -> "torch.Tensor":
    """The patches of a picture, one row each, as float32 on the CPU; as many as `Shown.grid` says. Raises
    UsageError for a picture that the processor would resize."""
    done = _processor(checkpoint.folder)(images=[picture], return_tensors="pt")
    values: torch.Tensor = done["pixel_values"]
    _, rows, columns = done["image_grid_thw"][0].tolist()
    size = (columns * checkpoint.patch, rows * checkpoint.patch)
    if size != picture.size:
        raise UsageError(
            f"a picture of {picture.width}x{picture.height}: {checkpoint.name} would resize it to "
            f"{size[0]}x{size[1]}; make it with ModelProfile.fit"
        )
    return values


class Pixels:
    """Pixel values by picture, for one checkpoint.

    processed: how many pictures were turned into pixel values, each time counted.
    """

    def __init__(self, checkpoint: Checkpoint, *, cache_bytes: int = CACHE_BYTES) -> None:
        self.checkpoint = checkpoint
        self.processed = 0
        self._known: OrderedDict[Shown, torch.Tensor] = OrderedDict()
        self._free = cache_bytes
        self._lock = threading.Lock()

    def __call__(self, shown: Shown, load: Callable[[str], Image.Image]) -> "torch.Tensor":
        """Raises an R4Error when there is no such picture, or when its grid is not what the prompt counts."""
        with self._lock:
            values = self._known.pop(shown, None)
            if values is None:
                values = self._made(shown, load)
                self.processed += 1
                self._free -= values.nbytes
            self._known[shown] = values  # now the one used last
            while self._free < 0:
                _, oldest = self._known.popitem(last=False)
                self._free += oldest.nbytes
        return values

    def _made(self, shown: Shown, load: Callable[[str], Image.Image]) -> "torch.Tensor":
        try:
            picture = load(shown.ref)
        except R4Error:
            raise
        except Exception as error:  # of the caller's own store
            raise RunError(f"picture {shown.ref}: could not be loaded: {one_line(error)}") from error
        grid = (1, picture.height // self.checkpoint.patch, picture.width // self.checkpoint.patch)
        if grid != shown.grid:
            raise UsageError(
                f"picture {shown.ref}: {picture.width}x{picture.height} is a grid of {grid}, and the prompt "
                f"counts {shown.grid}; the grid of a picture is its size over {self.checkpoint.patch}"
            )
        return pixel_values(self.checkpoint, picture)


@cache
def _processor(folder: Path) -> Any:
    cpu.prepare()
    try:
        from transformers import AutoImageProcessor
    except ImportError as error:
        raise MissingError('no transformers: pip install "r4agent[transformers]"') from error
    try:
        return AutoImageProcessor.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise MissingError(f"{folder}: its image processor can't be loaded: {one_line(error)}") from error
