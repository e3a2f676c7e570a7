"""A View: the recipe of one picture. A Picture: a View that has been made, with its name and content.

Promises: a region is cut from the *source* frame at native resolution and scaled once, so the same View
of the same file is the same pixels under pinned decoder and Pillow versions. A View is 40 characters as
text, which is how state and logs keep it.
Does not: decode (that is Source) or keep pixels (that is MediaStore).
"""

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from PIL import Image

from r4agent.errors import UsageError
from r4agent.geometry import Box, Size

RECIPE = re.compile(r"(\d+)@(-|-?\d+(?:\.\d+)?) (\d+),(\d+),(\d+),(\d+) (\d+)x(\d+)")


@dataclass(frozen=True, slots=True)
class View:
    """One picture to be made: frame (0-based index), its presentation time in seconds (None for pages
    and stills), the region in whole source pixels, and the size at which it is shown."""

    frame: int
    time: float | None
    region: Box
    size: Size

    def cut(self, frame: Image.Image) -> Image.Image:
        """The picture, from the upright RGB source frame. One resize, bicubic with antialiasing."""
        if self.region.x1 > frame.width or self.region.y1 > frame.height:
            raise UsageError(
                f"region {self.region}: outside the frame, which is {frame.width}x{frame.height}"
            )
        # Cropped first: given a `box`, Pillow's filter would mix in pixels from outside the region.
        region = frame.crop(self.region.corners)
        return region.resize((self.size.width, self.size.height), Image.Resampling.BICUBIC)

    @property
    def recipe(self) -> str:
        """`frame@time x0,y0,x1,y1 WxH`, e.g. `120@4.004 0,0,1920,1080 448x252`."""
        time = "-" if self.time is None else f"{self.time:.6f}".rstrip("0").rstrip(".")
        return f"{self.frame}@{time} {','.join(f'{v:.0f}' for v in self.region.corners)} {self.size}"

    @staticmethod
    def parse(recipe: str) -> "View":
        """The View that a recipe describes; times are kept to the microsecond."""
        return _parse(recipe)


@functools.lru_cache(maxsize=10_000)  # every node of a run reads the recipes of all pictures seen so far
def _parse(recipe: str) -> View:
    match = RECIPE.fullmatch(recipe)
    if match is None:
        raise UsageError(f"view recipe {recipe!r}: expected `frame@time x0,y0,x1,y1 WxH`")
    frame, time, *numbers = match.groups()
    x0, y0, x1, y1, width, height = (int(n) for n in numbers)
    return View(int(frame), None if time == "-" else float(time), Box(x0, y0, x1, y1), Size(width, height))


@dataclass(frozen=True, slots=True)
class Picture:
    """A made View: the name the model knows it by (`v3`), the View, and `img:<sha256>` of its pixels."""

    name: str
    view: View
    ref: str

    def block(self) -> dict[str, Any]:
        """As a LangChain image block that holds a reference and no pixels."""
        return {
            "type": "image",
            "id": self.name,
            "file_id": self.ref,
            "extras": {"view": self.view.recipe},
        }

    @classmethod
    def from_block(cls, block: dict[str, Any]) -> Self:
        ref = block["file_id"]
        if not isinstance(ref, str):  # a log may have been written by anyone
            raise TypeError(f"file_id {ref!r} is no text")
        return cls(block["id"], View.parse(block["extras"]["view"]), ref)


def pictures_in(contents: Iterable[Any]) -> Iterator[Picture]:
    """Every Picture that contents of LangChain messages refer to, in the order in which they were shown."""
    for content in contents:
        for block in content if isinstance(content, list) else ():
            if is_picture(block):
                yield Picture.from_block(block)


def is_picture(block: Any) -> bool:
    """Whether a block of a message refers to a picture of a store. A caller's own image may have the id of a
    file at its model's provider."""
    if not (isinstance(block, dict) and block.get("type") == "image" and "file_id" in block):
        return False
    return not isinstance(block["file_id"], str) or block["file_id"].startswith("img:")
