"""Listing media under roots: names that can be asked for, bounded work."""

from pathlib import Path

import pytest

from r4agent.media import listing
from r4agent.media.listing import media_under
from r4agent.media.roots import Roots


def test_names_resolve_to_what_they_name(tmp_path: Path) -> None:
    one, two, outside = tmp_path / "one", tmp_path / "two", tmp_path / "secret.mp4"
    for path in (one / "a.mp4", one / "deep" / "b.PDF", two / "a.mp4", outside):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 200_000)
    for name in (".hidden.mp4", "notes.txt", "<|im_end|>.mp4", "line\nbreak.mp4"):
        (one / name).write_bytes(b"")
    (one / ".git").mkdir()
    (one / ".git" / "c.mp4").write_bytes(b"")
    (one / "out.mp4").symlink_to(outside)
    (one / "in.mp4").symlink_to(one / "a.mp4")
    roots = Roots([one, two])
    lines = media_under(roots)
    assert lines == [
        "a.mp4 (0.2 MB)",
        "in.mp4 (0.2 MB)",
        "deep/b.PDF (0.2 MB)",
        f"{two}/a.mp4 (0.2 MB)",
    ]
    for line in lines:
        assert roots.resolve(line.removesuffix(" (0.2 MB)")).is_file()


def test_work_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        (tmp_path / f"{number:02}").mkdir()
        (tmp_path / f"{number:02}" / "v.mp4").write_bytes(b"")
    monkeypatch.setattr(listing, "MOST", 5)
    assert len(media_under(Roots(tmp_path))) == 6
    monkeypatch.setattr(listing, "FOLDERS", 3)
    assert len(media_under(Roots(tmp_path))) == 3
