"""`select_frames`: choose moments of the video, or pages, to look at.

Promises: the frame on screen at each time asked for; each frame once, in time order.
Does not: decode.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r4agent.errors import UsageError
from r4agent.geometry import ModelProfile
from r4agent.media import Source
from r4agent.media.view import View

MOST = 16  # frames a call; Pixel Reasoner allows 8, VideoZoomer 16

Finite = Annotated[float, Field(allow_inf_nan=False)]


class SelectFrames(BaseModel):
    """Look at other moments: whole frames in medium detail. Give times, or frame (page) numbers."""

    model_config = ConfigDict(extra="forbid")

    times: list[Finite] = Field(default=[], max_length=MOST, description="seconds from the start")
    frames: list[int] = Field(default=[], max_length=MOST, description="frame numbers, or page numbers")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if bool(self.times) == bool(self.frames):
            raise ValueError("give either times or frames, and at least one")
        return self


def select_frames(
    source: Source, request: SelectFrames, *, profile: ModelProfile, max_tokens: int
) -> list[View]:
    """Views of the whole frames asked for, at most `max_tokens` image tokens each."""
    if request.times:
        if source.times is None:
            raise UsageError(f"times: this is no video; give frames from 1 to {source.count}")
        indices = [source.nearest(time) for time in request.times]
    else:
        first = first_number(source)
        for number in request.frames:
            if not first <= number < first + source.count:
                raise UsageError(f"frame {number}: outside {first} to {first + source.count - 1}")
        indices = [number - first for number in request.frames]
    return whole(source, sorted(set(indices)), profile=profile, max_tokens=max_tokens)


def overview(source: Source, count: int, *, profile: ModelProfile, max_tokens: int) -> list[View]:
    """Views of `count` whole frames, or fewer where there are fewer, spread evenly over the media."""
    return whole(source, source.overview(count), profile=profile, max_tokens=max_tokens)


def whole(source: Source, indices: list[int], *, profile: ModelProfile, max_tokens: int) -> list[View]:
    views = []
    for index in indices:
        size = source.size_of(index)
        time = None if source.times is None else round(float(source.times[index]), 6)
        views.append(View(index, time, size.box, profile.fit(size, max_tokens)))
    return views


def first_number(source: Source) -> int:
    """Pages and pictures are counted from 1, as people do; frames of a video from 0, as decoders do."""
    return 1 if source.times is None else 0
