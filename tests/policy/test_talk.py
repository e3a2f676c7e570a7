"""What the ocr policy understands of the system message."""

from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from PIL import Image

from r4agent import Budget, open_source
from r4agent.geometry import QWEN2_5_VL
from r4agent.graphs.dialogue import describe_media
from r4agent.policy.talk import Talk, _extent
from r4agent.protocol import question_text, system_text


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


def test_the_real_prompt_is_understood(tmp_path: Path) -> None:
    """Said by the graph's own words, so that rewording the prompt can't silently leave the policy blind."""
    for n in range(3):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{n}.png")
    demo = Path(__file__).parents[2] / "examples" / "demo.mp4"
    for media, unit, last in (
        (demo, "times", 13.93),
        (tmp_path, "frames", 3),
        (tmp_path / "0.png", "frames", 1),
    ):
        with open_source(media) as source:
            text = system_text(describe_media(source), [{}], QWEN2_5_VL, Budget(turns=5, images=17))
        question = question_text("Which?\n(B) fake", ["red", "blue"])
        talk = Talk.of([SystemMessage(text), HumanMessage([{"type": "text", "text": question}])])
        assert (talk.turns_left, talk.images_left, talk.unit) == (5, 17, unit)
        assert talk.last == pytest.approx(last, abs=0.1)
        assert talk.question.choices == ("red", "blue")
