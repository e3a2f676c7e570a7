"""The typefaces the text world draws with.

Promises: `fonts()` is the same sorted tuple on every call, each face holds every printable ASCII
character (checked by drawing it), and the last face is the one that Pillow carries, so the tuple is never
empty. A face knows its file's sha256.
Does not: download fonts, use families that are unknown to be legible, or shape complex scripts: layout is
Pillow's basic one, so that a machine with libraqm and one without draw the same pixels.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL import ImageFont

ASCII = "".join(map(chr, range(33, 127)))

_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.fonts",
    "~/.local/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
    "C:/Windows/Fonts",
)

# A folder of fonts also holds dingbats, handwriting and single scripts. These families are known to be
# upright Latin text faces; a file whose name does not begin like one of them is not opened.
_LEGIBLE = re.compile(
    r"(dejavu(sans|serif)|liberation|noto(sans|serif|mono)-|notosansmono|ubuntu|roboto|opensans|lato|free(sans"
    r"|serif|mono)|arial|helvetica|verdana|tahoma|trebuc|georgia|times|courier|cour\w{0,2}\.|consola|cascadia|menlo|monaco"
    r"|segoeui|calibri|cambria|candara|jetbrainsmono|sourcecode|sourcesans|hack|fira|inconsolata|inter"
    r"|vera|cantarell|droid|carlito|caladea|nimbus|ibmplex|spacemono|robotomono)",
    re.IGNORECASE,
)
# The in-between weights and display cuts would make one family most of the tuple.
_UNFIT = re.compile(
    r"light|thin|hairline|medium|demi|semi|extra|black|heavy|display|emoji|symbol|math|icon|variable",
    re.IGNORECASE,
)

BUILT_IN = "Pillow built-in"


@dataclass(frozen=True, slots=True)
class Face:
    """One typeface. name: family and style. path: its file, None for the one inside Pillow; it differs
    between machines that draw the same, so it is not in the repr."""

    name: str
    path: Path | None = field(repr=False)
    mono: bool

    def at(self, size: int) -> ImageFont.FreeTypeFont:
        """The face at `size` pixels an em."""
        return _load(self.path, size)

    @property
    def data(self) -> bytes:
        """The font file."""
        return self.path.read_bytes() if self.path else _built_in_bytes()

    @property
    def sha256(self) -> str:
        """Of the font file, or of the bytes that Pillow carries."""
        return _sha256(self.path)

    def has(self, text: str) -> bool:
        """Whether the face draws every character of `text`: ink where ink is due, and not its sign for
        a missing glyph."""
        missing = _mask(self.path, "\U0010ffff")
        masks = [_mask(self.path, char) for char in set(text) if not char.isspace()]
        return all(any(mask[1]) and mask != missing for mask in masks)

    def cap_height(self, size: int) -> int:
        """Height in pixels of a capital H at `size`."""
        _, top, _, foot = ink_box(self, size, "H")
        return foot - top

    @property
    def slanted(self) -> bool:
        return any(word in self.name.lower() for word in ("italic", "oblique"))


@lru_cache(maxsize=4096)
def ink_box(face: Face, size: int, text: str) -> tuple[int, int, int, int]:
    """The box of the pixels that `text` inks, relative to its origin on the baseline.

    Raises ValueError when nothing is inked.
    """
    mask, (dx, dy) = face.at(size).getmask2(text, "L", anchor="ls")
    box = mask.getbbox()
    if box is None:
        raise ValueError(f"text {text!r} has no ink in {face.name}")
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy


@lru_cache(maxsize=16384)
def pen_width(face: Face, size: int, text: str) -> float:
    """How far the pen moves over `text` on the screen."""
    return face.at(size).getlength(text)


EM = 1000
"""Pixels an em at which outlines are measured: so large that hinting moves nothing."""


@lru_cache(maxsize=65536)
def outline_width(face: Face, size: float, text: str) -> float:
    """How far the pen moves over `text` as a page sets it: no hinting, no kerning."""
    glyphs = _glyphs(face)
    return sum(glyphs[char].advance for char in text) * size / EM


@lru_cache(maxsize=16384)
def outline_box(face: Face, size: float, text: str) -> tuple[float, float, float, float]:
    """The box of the ink of `text` as a page sets it, relative to its origin on the baseline.

    Raises ValueError when nothing is inked.
    """
    glyphs, pen, boxes = _glyphs(face), 0.0, []
    for char in text:
        if box := glyphs[char].box:
            boxes.append((box[0] + pen, box[1], box[2] + pen, box[3]))
        pen += glyphs[char].advance
    if not boxes:
        raise ValueError(f"text {text!r} has no ink in {face.name}")
    lefts, tops, rights, feet = zip(*boxes, strict=True)
    k = size / EM
    return min(lefts) * k, min(tops) * k, max(rights) * k, max(feet) * k


class _Glyph(NamedTuple):
    """How far a character moves the pen, and the box of its ink if it has any, at EM pixels an em."""

    advance: float
    box: tuple[int, int, int, int] | None


class _Glyphs(dict[str, _Glyph]):
    """The characters of a face, each measured when it is first asked for."""

    def __init__(self, face: Face) -> None:
        self._face = face

    def __missing__(self, char: str) -> _Glyph:
        box = None if char.isspace() else ink_box(self._face, EM, char)
        self[char] = _Glyph(self._face.at(EM).getlength(char), box)
        return self[char]


@cache
def _glyphs(face: Face) -> _Glyphs:
    return _Glyphs(face)


@cache
def fonts() -> tuple[Face, ...]:
    """Every usable face of this machine, sorted by name, Pillow's own last."""
    found = {face.name: face for path in sorted(_files(), reverse=True) if (face := _open(path))}
    return (*(found[name] for name in sorted(found)), built_in())


def built_in() -> Face:
    """The face that Pillow carries."""
    return Face(BUILT_IN, None, mono=False)


def plain_fonts() -> tuple[Face, ...]:
    """Upright faces for running text."""
    return tuple(face for face in fonts() if not face.slanted)


def mono_fonts() -> tuple[Face, ...]:
    """Upright faces of one width; Pillow's own, which is not, where the machine has none."""
    return tuple(face for face in plain_fonts() if face.mono) or (built_in(),)


def _files() -> Iterator[Path]:
    for folder in _FOLDERS:
        for root, _, names in os.walk(os.path.expanduser(folder)):
            for name in names:
                fits = name.lower().endswith((".ttf", ".otf")) and _LEGIBLE.match(name)
                if fits and not _UNFIT.search(name):
                    yield Path(root, name)


def _open(path: Path) -> Face | None:
    """The face in a file, or None where FreeType refuses it or it lacks a character."""
    try:
        family, style = _load(path, 16).getname()
    except OSError:
        return None
    font = _load(path, 16)
    face = Face(f"{family} {style}", path, mono=font.getlength("i") == font.getlength("M"))
    return face if face.has(ASCII) else None


@lru_cache(maxsize=1024)
def _load(path: Path | None, size: int) -> ImageFont.FreeTypeFont:
    source = str(path) if path else BytesIO(_built_in_bytes())
    return ImageFont.FreeTypeFont(source, size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _built_in_bytes() -> bytes:
    font = ImageFont.load_default(size=16)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ValueError("this Pillow was built without FreeType and can't scale text")
    return font.font_bytes


@cache
def _sha256(path: Path | None) -> str:
    return hashlib.sha256(path.read_bytes() if path else _built_in_bytes()).hexdigest()


@lru_cache(maxsize=4096)
def _mask(path: Path | None, char: str) -> tuple[tuple[int, int], bytes]:
    mask = _load(path, 24).getmask(char, "L")
    return mask.size, bytes(mask)
