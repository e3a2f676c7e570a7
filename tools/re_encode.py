"""`re_encode`: make Views into Pictures; and, asked by the policy, see a picture again in other detail.

Promises: pixels come from the source frame, each frame decoded once for all its Views, and not at all for
Views that the store has of this source; the Pictures come back in the order of the Views, named on from the
last name given.
Does not: choose what to see.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from r4agent.budget import Budget
from r4agent.geometry import ModelProfile, Size
from r4agent.media import Source
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture, View
from r4agent.tools.zoom import ENLARGE

Detail = Literal["low", "medium", "high"]


class ReEncode(BaseModel):
    """See a picture again, the same region in other detail."""

    model_config = ConfigDict(extra="forbid")

    view: str = Field(description='the picture\'s name, such as "v3"', max_length=20)
    detail: Detail = Field(description="low as the overview, medium, or high")


def detail_tokens(detail: Detail, budget: Budget) -> int:
    """The most image tokens of a picture: low as in the overview, medium four times that, high all that
    one picture may have."""
    match detail:
        case "low":
            return min(budget.overview_tokens, budget.picture_tokens)
        case "medium":
            return min(4 * budget.overview_tokens, budget.picture_tokens)
        case "high":
            return budget.picture_tokens


def see_again(parent: View, request: ReEncode, *, profile: ModelProfile, budget: Budget) -> View:
    """The parent's region at the detail asked for."""
    extent = Size(round(parent.region.width), round(parent.region.height))
    size = profile.fit(extent, detail_tokens(request.detail, budget), enlarge=ENLARGE)
    return View(parent.frame, parent.time, parent.region, size)


def re_encode(source: Source, views: Sequence[View], store: MediaStore, *, first: int) -> Iterator[Picture]:
    """Decode, cut, scale and store; `first` is the number of the first picture's name.

    Views are to be in ascending order of frame for memory to stay flat, as the choosers return them.
    """
    made = [store.made(source, view) for view in views]
    frames = source.frames([view.frame for view, ref in zip(views, made, strict=True) if ref is None])
    for number, (view, known) in enumerate(zip(views, made, strict=True), start=first):
        ref = known or store.put_view(source, view, view.cut(next(frames).image))
        yield Picture(f"v{number}", view, ref)
