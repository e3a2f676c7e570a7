"""Features of pictures, for the rewards that compare what was seen.

Promises: a frozen vision tower's patches, averaged and brought to unit length, in float32; each picture goes
through the tower once, however often it is asked for.
Does not: follow the policy as it learns: the tower is that of the checkpoint a stage begins with, so that a
reward means the same from its first step to its last.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from r4agent.engines import Checkpoint
from r4agent.engines.pixels import pixel_values
from r4agent.media.store import MediaStore

if TYPE_CHECKING:
    import torch

KEPT = 65_536  # pictures remembered: 5 KB each with a tower of 1280


class VisionFeatures:
    """From n references to an (n, d) array. tower: `model.visual` of a Qwen-VL model. store: the pictures."""

    def __init__(self, tower: "torch.nn.Module", checkpoint: Checkpoint, store: MediaStore) -> None:
        self.tower = tower.eval().requires_grad_(False)
        self.checkpoint = checkpoint
        self.store = store
        self._vector = lru_cache(maxsize=KEPT)(self._made)

    @classmethod
    def load(cls, checkpoint: Checkpoint, store: MediaStore, *, device: str | None = None) -> Self:
        """Those of a checkpoint's own tower. device: None is a GPU where there is one. The whole model is in
        memory while this loads, as it is stored; the tower alone stays, in float32."""
        import torch

        from r4agent.training.weights import load

        half = checkpoint.dtype == "bfloat16"
        tower: Any = load(checkpoint, dtype="bfloat16" if half else "float32").model.visual
        return cls(
            tower.float().to(device or ("cuda" if torch.cuda.is_available() else "cpu")), checkpoint, store
        )

    def __call__(self, refs: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self._vector(ref) for ref in refs])

    def _made(self, ref: str) -> NDArray[np.float32]:
        import torch

        picture = self.store.get(ref)
        patch = self.checkpoint.patch
        grid = torch.tensor([[1, picture.height // patch, picture.width // patch]])
        parameter = next(self.tower.parameters())
        patches = pixel_values(self.checkpoint, picture).to(parameter.device, parameter.dtype)
        with torch.no_grad():
            seen = self.tower(patches, grid_thw=grid.to(parameter.device)).last_hidden_state
        mean = seen.float().mean(dim=0)
        vector: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=0).cpu().numpy()
        return vector
