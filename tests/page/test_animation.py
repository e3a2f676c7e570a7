"""The evidence as an animation: small, of the right file, and it ends close up."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from r4agent.command import main
from r4agent.errors import MediaError, UsageError
from r4agent.page import write_gif
from r4agent.page.animation import LONG_SIDE, MOST_BYTES

from .conftest import call, lines_of, written


def orange(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Where the box is, without the caption below."""
    picture = np.asarray(image.convert("RGB").crop((0, 0, image.width, image.height - 58)), dtype=int)
    near = (abs(picture - (255, 122, 51)) < 24).all(axis=2)
    return Image.fromarray(near).getbbox()


def test_a_video_moves_then_the_box_grows(episode: Path, tmp_path: Path) -> None:
    out = write_gif(episode, tmp_path / "deep" / "e.gif")
    assert out.stat().st_size <= MOST_BYTES
    with Image.open(out) as gif:
        frames = [frame.copy() for frame in ImageSequence.Iterator(gif)]
        assert max(gif.size) <= LONG_SIDE
        assert gif.info["loop"] == 0
        lengths = []
        for at in range(gif.n_frames):
            gif.seek(at)
            lengths.append(gif.info["duration"])
    assert lengths[-1] >= 3000  # long enough to read
    assert 5_000 < sum(lengths) < 12_000
    boxes = [orange(frame) for frame in frames]
    assert boxes[0] is None
    first = next(box for box in boxes if box)
    last = boxes[-1]
    assert last is not None
    assert last[2] - last[0] > 1.5 * (first[2] - first[0])


def test_a_page_is_shown_then_the_box(pdf: Path, asked: Callable[..., Path], tmp_path: Path) -> None:
    zoom = call("zoom", view="v2", box=[20, 20, 120, 60])
    made = asked(pdf, [zoom, '<evidence>{"view": "v6"}</evidence><answer>page 2</answer>'])
    with Image.open(write_gif(made, tmp_path / "e.gif")) as gif:
        frames = [frame.copy() for frame in ImageSequence.Iterator(gif)]
    assert orange(frames[0]) is None
    assert orange(frames[-1]) is not None


def test_a_clip_that_does_not_compress_is_still_small(
    tmp_path: Path, asked: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "noise"
    folder.mkdir()
    Image.effect_noise((1600, 900), 120).convert("RGB").save(folder / "1.png")
    made = asked(folder, ['<evidence>{"view": "v1"}</evidence><answer>noise</answer>'])
    assert write_gif(made, tmp_path / "e.gif").stat().st_size <= MOST_BYTES


def test_without_evidence_there_is_nothing_to_draw(
    clip: Path, asked: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = asked(clip, ["<not_found>no</not_found>"])
    with pytest.raises(UsageError, match="no evidence"):
        write_gif(made, tmp_path / "e.gif")
    assert main(["view", str(made), "--gif", str(tmp_path / "e.gif")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "e.gif").exists()


def test_another_file_under_the_same_name_is_refused(episode: Path, tmp_path: Path, pdf: Path) -> None:
    lines = lines_of(episode)
    lines[0]["media"]["path"] = str(pdf)
    with pytest.raises(MediaError, match="not the file"):
        write_gif(written(tmp_path / "x.jsonl", lines), tmp_path / "e.gif")
    lines[0]["media"]["path"] = str(tmp_path / "gone.mp4")
    with pytest.raises(MediaError, match="gone"):
        write_gif(written(tmp_path / "x.jsonl", lines), tmp_path / "e.gif")
