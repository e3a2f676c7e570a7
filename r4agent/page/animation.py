"""Animation (being built)."""

from pathlib import Path


def write_gif(episode: Path, out: Path) -> Path:
    raise NotImplementedError
