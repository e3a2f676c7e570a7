"""What the ocr policy understands of the system message."""

import pytest

from r4agent.policy.talk import _extent


@pytest.mark.parametrize(
    ("about", "extent"),
    [
        ("a video of 10.00 s, 640x480 pixels, 100 frames", ("times", 0.0, 9.9, 0.2)),
        ("a video of 10.00 s that starts at 5.00 s, 640x480 pixels, 100 frames", ("times", 5.0, 14.9, 0.2)),
        ("a video of 2.00 s that starts at -0.50 s, 64x48 pixels, 2 frames", ("times", -0.5, 0.5, 2.0)),
        ("a document of 40 pages", ("frames", 1, 40, 2)),
        ("a question about 7 pictures", ("frames", 1, 7, 2)),
        ("a picture of 640x480 pixels", ("frames", 1, 1, 2)),
    ],
)
def test_what_there_is_to_be_seen(about: str, extent: tuple[str, float, float, float]) -> None:
    assert _extent(f"You answer a question about {about}. You are shown") == (
        extent[0],
        *map(pytest.approx, extent[1:]),
    )
