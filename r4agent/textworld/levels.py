"""The levels by number. Promises: a wrong level or seed is told what exists. Does not: draw."""

from collections.abc import Callable
from typing import Literal, overload

from r4agent.errors import UsageError
from r4agent.textworld.document import Document
from r4agent.textworld.level0 import level0
from r4agent.textworld.level1 import level1
from r4agent.textworld.level2 import level2
from r4agent.textworld.level3 import level3
from r4agent.textworld.world import Clip

LEVELS: dict[int, Callable[[int], Clip | Document]] = {0: level0, 1: level1, 2: level2, 3: level3}


@overload
def make_clip(level: Literal[1], seed: int) -> Document: ...
@overload
def make_clip(level: Literal[0, 2, 3], seed: int) -> Clip: ...
@overload
def make_clip(level: int, seed: int) -> Clip | Document: ...
def make_clip(level: int, seed: int) -> Clip | Document:
    """The clip of a level and a seed; for level 1 a Document, whose pages are its frames. The same pair gives
    the same clip wherever the fonts are the same.

    Raises UsageError for a level that does not exist or a negative seed.
    """
    if level not in LEVELS:
        there = ", ".join(map(str, LEVELS))
        raise UsageError(f"level {level}: the text world has levels {there}; choose one of them")
    if seed < 0:
        raise UsageError(f"seed {seed}: must be 0 or more")
    return LEVELS[level](seed)
