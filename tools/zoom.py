"""`zoom`: look closer at a region of a picture already seen.

Promises: the region is cut from the source frame, so text the picture could not show becomes legible.
Does not: decode, or zoom out (ask for another frame instead).
"""

from pydantic import BaseModel, ConfigDict, Field

from r4agent.errors import UsageError
from r4agent.geometry import Box, ModelProfile, Size, convert
from r4agent.media.view import View
from r4agent.tools.select_frames import Finite

ENLARGE = 2.0  # a region smaller than its token budget is shown up to twice its size (ours)


class Zoom(BaseModel):
    """Look closer: a region of a picture, cut from the source at full resolution."""

    model_config = ConfigDict(extra="forbid")

    view: str = Field(description='the picture\'s name, such as "v3"', max_length=20)
    box: list[Finite] = Field(description="[x0, y0, x1, y1]", min_length=4, max_length=4)


def zoom(parent: View, request: Zoom, *, source_size: Size, profile: ModelProfile, max_tokens: int) -> View:
    """The View of the region. `request.box` is in the profile's space, over the parent's picture; what
    lies outside the picture is cut off, so a box that leaves it partly is fine."""
    x0, y0, x1, y1 = request.box
    if x1 <= x0 or y1 <= y0:
        raise UsageError(f"box {request.box}: must be [x0, y0, x1, y1] with x0 < x1 and y0 < y1")
    asked = convert(Box(x0, y0, x1, y1, profile.space), "source", region=parent.region, shown=parent.size)
    inside = asked.overlap(parent.region)
    if inside is None:
        limits = convert(parent.region, profile.space, region=parent.region, shown=parent.size)
        raise UsageError(f"box {request.box}: outside {request.view}, which spans {limits}")
    region = inside.pixels(source_size)
    extent = Size(round(region.width), round(region.height))
    return View(parent.frame, parent.time, region, profile.fit(extent, max_tokens, enlarge=ENLARGE))
