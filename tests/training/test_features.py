"""Features: of the frozen tower, unit length, each picture once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from r4agent import MediaStore
from r4agent.engines import Checkpoint
from r4agent.training.features import VisionFeatures


@pytest.fixture(scope="module")
def features(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> VisionFeatures:
    return VisionFeatures.load(checkpoint, MediaStore(tmp_path_factory.mktemp("pictures")))


def picture(features: VisionFeatures, seed: int, size: tuple[int, int] = (112, 56)) -> str:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return features.store.put(Image.fromarray(noise))


def test_rows_have_unit_length(features: VisionFeatures) -> None:
    refs = [picture(features, 0), picture(features, 1, (56, 140))]
    rows = features(refs)
    assert rows.shape == (2, rows.shape[1])
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert not np.allclose(rows[0], rows[1])


def test_they_are_the_mean_of_the_towers_patches(features: VisionFeatures, checkpoint: Checkpoint) -> None:
    import torch

    from r4agent.engines.pixels import pixel_values
    from r4agent.training.weights import load

    ref = picture(features, 2)
    patches = pixel_values(checkpoint, features.store.get(ref))
    with torch.no_grad():
        tower = load(checkpoint).model.visual
        seen = tower(patches, grid_thw=torch.tensor([[1, 4, 8]])).last_hidden_state
    mean = seen.mean(dim=0)
    assert features([ref])[0] == pytest.approx((mean / mean.norm()).numpy(), abs=1e-6)


def test_a_picture_goes_through_the_tower_once(features: VisionFeatures) -> None:
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    ref = picture(features, 3)
    handle = features.tower.register_forward_hook(count)
    first, again = features([ref]), features([ref, ref])
    handle.remove()
    assert passes == 1
    assert (again == first).all()


def test_the_tower_is_frozen(features: VisionFeatures) -> None:
    assert not any(p.requires_grad for p in features.tower.parameters())


def test_qwen3_has_a_tower_too(tiny: object, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(tiny("qwen3_vl"))  # type: ignore[operator]
    features = VisionFeatures.load(checkpoint, MediaStore(tmp_path))
    rows = features([picture(features, 0, (128, 64)), picture(features, 1, (64, 64))])
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1], abs=1e-6)


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_a_model_is_loaded_as_it_is_stored(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    """A 7B model in float32 would take twice its file; the tower works in float32 all the same."""
    from r4agent.training import weights

    asked: list[str] = []

    def load(checkpoint: Checkpoint, *, dtype: weights.Dtype) -> object:
        asked.append(dtype)
        return whole(checkpoint, dtype=dtype)

    whole = weights.load
    monkeypatch.setattr(weights, "load", load)
    config = {key: value for key, value in checkpoint.config.items() if key != "torch_dtype"}
    tower = VisionFeatures.load(
        replace(checkpoint, config=config | {"dtype": stored}), MediaStore(tmp_path)
    ).tower
    assert asked == [stored]
    assert {str(parameter.dtype) for parameter in tower.parameters()} == {"torch.float32"}
