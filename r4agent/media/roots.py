"""Roots: the folders that media may come from, when whoever names it is not the developer.

Promises: `resolve` gives a real path, free of links, of a regular file or a folder of them that lies in one
of the roots; or raises MediaError in one line. That line is the same whether there is no such file or it
lies outside, so it tells nothing of what is outside. Addresses are fetched only where `urls` says so.
Does not: hold a file in place. Whoever can write in a root can swap a file after it was checked and before
it is opened; can put a hard link there; and can mount. Give folders that only you write to.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from r4agent.errors import MediaError, UsageError, printable
from r4agent.media.fetch import fetch
from r4agent.media.files import PICTURE_SUFFIXES
from r4agent.media.store import home

LONGEST = 4096  # characters of a name; what Linux takes as a path
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|(?:file|data):", re.IGNORECASE)


@dataclass(frozen=True, slots=True, init=False)
class Roots:
    """paths: folders, followed to where they really are. urls: whether http and https addresses are fetched,
    with the guards of `r4agent.media.fetch`."""

    paths: tuple[Path, ...]
    urls: bool

    def __init__(self, paths: str | Path | Iterable[str | Path], *, urls: bool = False) -> None:
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        object.__setattr__(self, "paths", tuple(dict.fromkeys(_folder(path) for path in given)))
        object.__setattr__(self, "urls", urls)

    @classmethod
    def of(cls, roots: "AnyRoots") -> "Roots":
        """Roots as they are, or of folders."""
        return roots if isinstance(roots, Roots) else cls(roots)

    def resolve(self, name: str | Path) -> Path:
        """The media that a caller named: relative to a root (the first that has it), or absolute in one."""
        text = os.fspath(name)
        if _ADDRESS.match(text):
            if self.urls and text.lower().startswith(("http://", "https://")):
                return fetch(text)
            raise MediaError(f"media {_short(text)}: addresses aren't opened, only files in {self}")
        for candidate in self._candidates(text):
            real = _real(candidate)
            if real is not None and self._holds(real):
                return self._checked(real, text)
        raise MediaError(f"media {_short(text)}: is not in {self}")

    def narrowed(self, paths: Iterable[str | Path]) -> Self:
        """What of these roots lies in `paths`; never more than there was. Paths that are no folders count
        for nothing."""
        others = [real for path in paths if (real := _real(Path(path))) is not None and real.is_dir()]
        both = [
            one if one.is_relative_to(two) else two
            for one in self.paths
            for two in others
            if one.is_relative_to(two) or two.is_relative_to(one)
        ]
        return type(self)(both, urls=self.urls)

    def __str__(self) -> str:
        """The folders, as an error names them."""
        return ", ".join(printable(str(path)) for path in self.paths) or "any folder: none is allowed"

    def _candidates(self, text: str) -> list[Path]:
        """Where a name may point; nothing for one that is no honest name."""
        path = Path(text)
        if not text or "\0" in text or len(text) > LONGEST or ".." in path.parts:
            return []
        return [path] if path.is_absolute() else [root / path for root in self.paths]

    def _holds(self, path: Path) -> bool:
        fetched = [home() / "fetched"] if self.urls else []  # a graph within a tool is given the tool's file
        return any(path.is_relative_to(root) for root in (*self.paths, *fetched))

    def _checked(self, real: Path, text: str) -> Path:
        """The path, unless it is neither file nor folder, or a folder with a picture that lies elsewhere."""
        if real.is_file():
            return real
        if not real.is_dir():
            raise MediaError(f"media {_short(text)}: is neither a file nor a folder of pictures")
        for name in _picture_names(real):
            picture = _real(real / name)
            if picture is None or not self._holds(picture):
                why = f"its picture {_short(name)} is a link that leads out"
                raise MediaError(f"media {_short(text)}: {why} of {self}")
        return real


AnyRoots = Roots | str | Path | Sequence[str | Path]
"""What an option `roots` takes."""


def _folder(path: str | Path) -> Path:
    real = _real(Path(path))
    if real is None or not real.is_dir():
        raise UsageError(f"root {_short(os.fspath(path))}: is no folder; name one that is there")
    return real


def _real(path: Path) -> Path | None:
    """Where a path really leads; None where it leads nowhere."""
    try:
        return Path(os.path.realpath(path, strict=True))
    except (OSError, ValueError):
        return None


def _picture_names(folder: Path) -> list[str]:
    """Names in a folder that are taken for pictures, whatever stands behind them."""
    try:
        return [name for name in os.listdir(folder) if Path(name).suffix.lower() in PICTURE_SUFFIXES]
    except OSError:  # may not be listed: opening it says so
        return []


def _short(text: str) -> str:
    """A name as an error repeats it: printable, in quotes, and not long."""
    return repr(text if len(text) <= 80 else f"{text[:60]}…{text[-19:]}")
