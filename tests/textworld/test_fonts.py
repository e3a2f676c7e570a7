"""Typefaces: the same tuple every time, each able to draw what it is asked to."""

import hashlib
from pathlib import Path

import pytest

from r4agent.textworld import fonts as module
from r4agent.textworld.fonts import ASCII, BUILT_IN, Face, built_in, fonts, ink_box, mono_fonts, plain_fonts


def test_fonts_are_sorted_and_end_with_pillows_own() -> None:
    names = [face.name for face in fonts()]
    assert names[-1] == BUILT_IN
    assert names[:-1] == sorted(set(names[:-1]))
    fonts.cache_clear()
    assert [face.name for face in fonts()] == names


def test_every_face_has_every_ascii_character() -> None:
    assert all(face.has(ASCII) for face in fonts())


def test_a_missing_glyph_is_noticed() -> None:
    assert not built_in().has("\u4e2d")  # a Chinese character
    assert not built_in().has("a\U0010fffe")


def test_a_face_that_lacks_a_character_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASCII", "a\U0010abcd")  # a code point that nobody has assigned
    fonts.cache_clear()
    try:
        assert fonts() == (built_in(),)
    finally:
        monkeypatch.undo()
        fonts.cache_clear()


def test_a_machine_without_fonts_has_pillows_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_FOLDERS", (str(tmp_path), "/no/such/folder"))
    fonts.cache_clear()
    try:
        assert fonts() == plain_fonts() == mono_fonts() == (built_in(),)
    finally:
        monkeypatch.undo()
        fonts.cache_clear()


def test_a_broken_font_file_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "DejaVuSans.ttf").write_bytes(b"not a font")
    monkeypatch.setattr(module, "_FOLDERS", (str(tmp_path),))
    fonts.cache_clear()
    try:
        assert fonts() == (built_in(),)
    finally:
        monkeypatch.undo()
        fonts.cache_clear()


def test_a_face_knows_its_files_sha256() -> None:
    for face in fonts():
        if face.path:
            assert face.sha256 == hashlib.sha256(face.path.read_bytes()).hexdigest()
    assert len(built_in().sha256) == 64


def test_mono_faces_have_one_width() -> None:
    for face in mono_fonts():
        if face != built_in():
            font = face.at(20)
            assert len({font.getlength(char) for char in "iMW.1"}) == 1


def test_text_without_ink_is_refused() -> None:
    with pytest.raises(ValueError, match="no ink"):
        ink_box(Face(BUILT_IN, None, mono=False), 16, "  ")
