"""The gallery: one file, nothing fetched, every answer named and shown."""

import re
from html import escape
from pathlib import Path

import pytest

from r4agent.command import main
from r4agent.errors import MediaError, UsageError
from r4agent.textworld import make_clip
from r4agent.textworld.gallery import _chosen, gallery
from r4agent.textworld.levels import LEVELS


def test_it_shows_a_clip_of_each_level_with_its_answers(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    out = gallery(tmp_path / "new" / "g.html", n=1, progress=lambda done, n: calls.append((done, n)))
    assert calls == [(done, len(LEVELS)) for done in range(1, len(LEVELS) + 1)]
    page = out.read_text("utf-8")
    for level in LEVELS:
        clip = make_clip(level, 0)
        assert clip.id in page
        for item in _chosen(clip.items):
            assert escape(item.question) in page
            assert all(escape(answer) in page for answer in item.answers)
    assert page.count("<img") == page.count('src="data:image/jpeg;base64,') >= 2 * len(LEVELS)
    assert not re.search(r"https?://|<script|src=\"(?!data:)", page)
    assert [path.name for path in out.parent.iterdir()] == ["g.html"]


def test_a_question_with_distractors_comes_first_and_kinds_differ() -> None:
    for level in LEVELS:
        chosen = _chosen(make_clip(level, 3).items)
        assert len({item.meta["kind"] for item in chosen}) == len(chosen) == 2
        assert "distractors" in chosen[0].meta


def test_a_wrong_argument_or_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="n 0: must be 1 to 100"):
        gallery(tmp_path / "g.html", n=0)
    with pytest.raises(UsageError, match="seed -1"):
        gallery(tmp_path / "g.html", seed=-1)
    with pytest.raises(UsageError, match="is a folder; name a file"):
        gallery(tmp_path)
    with pytest.raises(UsageError, match="level 9"):
        gallery(tmp_path / "g.html", levels=(9,))
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match=r"can't be written: .*; choose another place"):
        gallery(tmp_path / "file" / "g.html", levels=(0,), n=1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "g.html"
    assert main(["textworld", "--gallery", str(out), "--level", "0", "--n", "1"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert "Level 0" in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "DIR"], "give --level and --n"),
        (["--out", "DIR", "--level", "0"], "give --level and --n"),
        (["--out", "FILE", "--level", "0", "--n", "1"], "is a file; choose a new or empty folder"),
        (["--gallery", "DIR/g.html", "--level", "7"], "level 7: the text world has levels 0, 1, 2, 3"),
    ],
)
def test_a_wrong_command_is_told(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "FILE").write_text("")
    paths = [word.replace("DIR", f"{tmp_path}/d").replace("FILE", f"{tmp_path}/FILE") for word in arguments]
    assert main(["textworld", *paths]) == 2
    assert message in capsys.readouterr().err
