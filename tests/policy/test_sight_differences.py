"""Where two pictures differ: text of any contrast that changes is seen, a codec's noise is not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from r4agent.policy.sight import differences


def screen(text: str, ink: int, paper: int) -> Image.Image:
    image = Image.new("RGB", (560, 280), (paper,) * 3)
    ImageDraw.Draw(image).text((40, 100), text, (ink,) * 3, ImageFont.load_default(size=24))
    return image


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0), (208, 245), (60, 30), (120, 150)])
@pytest.mark.parametrize(("old", "new"), [("total 48.20", "total 61.75"), ("total 48.20", "total 48.21")])
def test_changed_text_is_seen(old: str, new: str, ink: int, paper: int) -> None:
    boxes = differences(screen(old, ink, paper), screen(new, ink, paper))
    assert boxes
    assert all(box.y0 < 140 and box.y1 > 90 for box in boxes)


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (208, 245)])
def test_noise_is_not(ink: int, paper: int) -> None:
    clean = screen("total 48.20", ink, paper)
    noise = np.random.default_rng(0).normal(0, 2.5, (280, 560, 3))
    noisy = Image.fromarray((np.asarray(clean) + noise).clip(0, 255).astype(np.uint8))
    assert differences(clean, noisy) == []
