"""Pixel values: those of transformers' own processor, for pictures of the model's sizes, each made once."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from r4agent.engines import Checkpoint, Shown
from r4agent.engines.pixels import Pixels, pixel_values
from r4agent.errors import MediaError, MissingError, RunError, UsageError


@pytest.fixture
def checkpoint(tiny: Callable[[str], Path], family: str) -> Checkpoint:
    return Checkpoint.load(tiny(family))


def noise(checkpoint: Checkpoint, columns: int, rows: int, seed: int = 0) -> Image.Image:
    """Columns and rows of whole grid cells."""
    grid = checkpoint.profile.grid
    chance = np.random.default_rng(seed)
    return Image.fromarray(chance.integers(0, 256, (rows * grid, columns * grid, 3), dtype=np.uint8))


def shown(checkpoint: Checkpoint, columns: int, rows: int, ref: str = "img:a") -> Shown:
    return Shown(ref, (1, rows * checkpoint.merge, columns * checkpoint.merge))


def test_a_patch_is_the_pixels_of_its_place(checkpoint: Checkpoint) -> None:
    """The order that both families' vision towers want: by cell, then by patch within the cell."""
    picture = noise(checkpoint, 3, 2)
    values = pixel_values(checkpoint, picture).numpy()
    side, merge = checkpoint.patch, checkpoint.merge
    assert values.shape == (3 * 2 * merge**2, 3 * 2 * side**2)
    number = 0
    for row in range(2):
        for column in range(3):
            for y in range(merge):
                for x in range(merge):
                    left, top = (column * merge + x) * side, (row * merge + y) * side
                    pixels = np.asarray(picture)[top : top + side, left : left + side].transpose(2, 0, 1)
                    patch = values[number].reshape(3, 2, side, side)
                    assert np.array_equal(patch[:, 0], patch[:, 1])  # one picture stands for two moments
                    line = np.polynomial.Polynomial.fit(pixels[0].ravel(), patch[0, 0].ravel(), 1)
                    assert np.allclose(line(pixels[0].ravel()), patch[0, 0].ravel(), atol=1e-5)
                    number += 1


def test_a_picture_that_would_be_resized_is_refused(checkpoint: Checkpoint) -> None:
    grid, profile = checkpoint.profile.grid, checkpoint.profile
    large = Image.new("RGB", (grid * 64, grid * 64))
    assert profile.max_pixels < large.width * large.height
    for picture in (Image.new("RGB", (grid * 3 + 4, grid * 3)), Image.new("RGB", (grid, grid)), large):
        with pytest.raises(UsageError, match=r"would resize it to .* ModelProfile\.fit"):
            pixel_values(checkpoint, picture)


def test_each_picture_is_made_once_while_there_is_room(checkpoint: Checkpoint) -> None:
    pictures = {f"img:{seed}": noise(checkpoint, 2, 2, seed) for seed in range(3)}
    size = pixel_values(checkpoint, pictures["img:0"]).nbytes
    pixels = Pixels(checkpoint, cache_bytes=2 * size)
    for name in ("img:0", "img:1", "img:0", "img:1"):
        pixels(shown(checkpoint, 2, 2, name), pictures.__getitem__)
    assert pixels.processed == 2
    pixels(shown(checkpoint, 2, 2, "img:0"), pictures.__getitem__)
    pixels(shown(checkpoint, 2, 2, "img:2"), pictures.__getitem__)  # 1 was used longest ago
    pixels(shown(checkpoint, 2, 2, "img:0"), pictures.__getitem__)
    assert pixels.processed == 3
    pixels(shown(checkpoint, 2, 2, "img:1"), pictures.__getitem__)
    assert pixels.processed == 4
    none = Pixels(checkpoint, cache_bytes=0)
    for _ in range(2):
        values = none(shown(checkpoint, 2, 2, "img:0"), pictures.__getitem__)
        assert (values == pixel_values(checkpoint, pictures["img:0"])).all()
    assert none.processed == 2


def test_threads_share_one(checkpoint: Checkpoint) -> None:
    pictures = {f"img:{seed}": noise(checkpoint, 4, 3, seed) for seed in range(4)}
    pixels = Pixels(checkpoint)
    with ThreadPoolExecutor(8) as pool:
        wanted = [shown(checkpoint, 4, 3, name) for name in list(pictures) * 8]
        made = list(pool.map(lambda one: pixels(one, pictures.__getitem__), wanted))
    assert pixels.processed == 4
    for one, values in zip(wanted, made, strict=True):
        assert (values == pixel_values(checkpoint, pictures[one.ref])).all()


def test_errors_name_the_picture(checkpoint: Checkpoint) -> None:
    pixels = Pixels(checkpoint)
    with pytest.raises(
        UsageError, match=r"picture img:a: .* is a grid of \(1, 4, 6\), and the prompt counts"
    ):
        pixels(shown(checkpoint, 2, 3), lambda ref: noise(checkpoint, 3, 2))

    def unknown(ref: str) -> Image.Image:
        raise FileNotFoundError("gone")

    def refused(ref: str) -> Image.Image:
        raise MediaError("the store has no such picture")

    with pytest.raises(RunError, match="picture img:a: could not be loaded: gone"):
        pixels(shown(checkpoint, 2, 3), unknown)
    with pytest.raises(MediaError, match="the store has no such picture"):
        pixels(shown(checkpoint, 2, 3), refused)


def test_a_checkpoint_without_processor(checkpoint: Checkpoint, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((checkpoint.folder / name).read_bytes())
    bare = Checkpoint.load(tmp_path)
    with pytest.raises(MissingError, match="image processor can't be loaded"):
        pixel_values(bare, noise(checkpoint, 2, 2))


@pytest.mark.slow
def test_without_torchvision_they_are_the_same(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    checkpoints = [Checkpoint.load(tiny(family)) for family in ("qwen2_5_vl", "qwen3_vl")]
    pictures = [noise(checkpoint, 4, 3) for checkpoint in checkpoints]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    code = f"""
import sys
sys.modules["torchvision"] = None  # as if it weren't installed
from PIL import Image
from r4agent.engines import Checkpoint
from r4agent.engines.pixels import pixel_values
import numpy as np
for number, folder in enumerate({[str(checkpoint.folder) for checkpoint in checkpoints]}):
    values = pixel_values(Checkpoint.load(folder), Image.open(f"{tmp_path}/{{number}}.png"))
    np.save(f"{tmp_path}/{{number}}.npy", values.numpy())
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    for number, (checkpoint, picture) in enumerate(zip(checkpoints, pictures, strict=True)):
        without = np.load(tmp_path / f"{number}.npy")
        assert np.abs(without - pixel_values(checkpoint, picture).numpy()).max() < 1e-5
