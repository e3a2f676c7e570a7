"""Writes all the files, class by class; see the package."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from hostile_files import SEED, Case, write
from hostile_files.bombs import bombs, declared, endless
from hostile_files.damage import boxes, mutated, times
from hostile_files.disguise import no_pictures, playlists, wrong_names
from hostile_files.documents import documents
from hostile_files.good import good_files
from hostile_files.places import folders, not_files, odd_names
from r4agent.textworld.levels import make_clip


def make(folder: Path, port: int) -> Iterator[Case]:
    """Write everything into `folder`, which is empty."""
    pictures = [make_clip(0, SEED).render(at).resize((576, 324)) for at in range(12)]
    good = dict(good_files(pictures))
    for name, data in good.items():
        yield Case("good", name, write(folder / f"good.{name}", data))
    for name, data in good.items():
        yield from mutated(folder, name, data)
    makers: list[Callable[[Path, dict[str, bytes]], Iterator[Case]]] = [
        wrong_names,
        boxes,
        times,
        declared,
        bombs,
        endless,
        documents,
        no_pictures,
        not_files,
        folders,
        odd_names,
        lambda inside, good: playlists(inside, good, port),
    ]
    for number, maker in enumerate(makers):
        (folder / str(number)).mkdir()
        yield from maker(folder / str(number), good)


if __name__ == "__main__":
    for case in make(Path(sys.argv[1]), int(sys.argv[2])):
        print(json.dumps(asdict(case)), flush=True)
