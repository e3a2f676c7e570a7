"""Optics: how pictures are chosen and made, for whoever looks: the graph's nodes, and an agent of a client.

Promises: the same call on the same media chooses the same Views; what a look costs is checked before anything
is decoded; a damaged frame costs that frame, and it is said which.
Does not: know messages, or who asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r4agent.budget import Budget, Spent
from r4agent.errors import MediaError, UsageError
from r4agent.geometry import ModelProfile
from r4agent.graphs.dialogue import problem_of
from r4agent.media import Source
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture, View
from r4agent.tools import (
    ReEncode,
    SelectFrames,
    Zoom,
    detail_tokens,
    overview,
    re_encode,
    see_again,
    select_frames,
    zoom,
)
from r4agent.tools.select_frames import first_number


@dataclass
class Optics:
    """profile: what a picture costs whoever sees it, and how they write boxes. budget: of one question, or of
    one session. store: where pictures go."""

    profile: ModelProfile
    budget: Budget
    store: MediaStore

    def overview(self, source: Source) -> list[View]:
        """The Views that looking begins with."""
        least = -(-self.profile.min_pixels // self.profile.grid**2)
        count = min(self.budget.overview_images, self.budget.images, self.budget.image_tokens // least)
        if count < 1:
            limit = self.budget.image_tokens
            raise UsageError(f"budget image_tokens={limit}: a picture needs at least {least}")
        limits = self.budget
        tokens = min(limits.overview_tokens, limits.picture_tokens, limits.image_tokens // count)
        return overview(source, count, profile=self.profile, max_tokens=tokens)

    def choose(
        self, name: str, arguments: Mapping[str, Any], known: Mapping[str, Picture], source: Source
    ) -> list[View]:
        """The Views that a call of the tool `name` asks for. known: the pictures seen so far, by name.

        Raises UsageError or pydantic's ValidationError where the call can't be carried out.
        """
        match name:
            case "select_frames":
                frames = SelectFrames.model_validate(arguments)
                most = detail_tokens("medium", self.budget)
                return select_frames(source, frames, profile=self.profile, max_tokens=most)
            case "zoom":
                region = Zoom.model_validate(arguments)
                parent = _named(known, region.view)
                size, most = source.size_of(parent.frame), self.budget.picture_tokens
                return [zoom(parent, region, source_size=size, profile=self.profile, max_tokens=most)]
            case "re_encode":
                again = ReEncode.model_validate(arguments)
                parent = _named(known, again.view)
                return [see_again(parent, again, profile=self.profile, budget=self.budget)]
        raise UsageError(f"no tool is called {name!r}")

    def afford(self, views: Sequence[View], spent: Spent) -> None:
        """Raises UsageError unless the budget has room for the Views."""
        tokens = sum(self.profile.tokens(view.size) for view in views)
        images_left = self.budget.images - spent.images
        tokens_left = self.budget.image_tokens - spent.image_tokens
        if len(views) > images_left or tokens > tokens_left:
            raise UsageError(
                f"{len(views)} pictures of {tokens} image tokens asked for; "
                f"{images_left} pictures of {tokens_left} tokens are left; ask for less"
            )

    def make(self, source: Source, views: Sequence[View], *, first: int) -> tuple[list[Picture], str | None]:
        """The Views as pictures named from `first` on, and what is to be said of those that can't be made.
        MediaError where none of the very first can."""
        try:
            return list(re_encode(source, views, self.store, first=first)), None
        except MediaError as error:
            return self._salvage(source, views, first, error)

    def paid(self, spent: Spent, made: Sequence[Picture]) -> Spent:
        """What has been spent once these pictures are shown."""
        return spent.plus(
            images=len(made),
            image_tokens=sum(self.profile.tokens(picture.view.size) for picture in made),
            decoded_frames=len({picture.view.frame for picture in made}),
        )

    def settings(self) -> dict[str, Any]:
        """What an episode's header says of these."""
        return {
            "profile": self.profile.name,
            "budget": self.budget.model_dump(),
            "store": str(self.store.root),
        }

    def _salvage(
        self, source: Source, views: Sequence[View], first: int, error: MediaError
    ) -> tuple[list[Picture], str | None]:
        """Where a frame is damaged, those that are not, and which are."""
        made: list[Picture] = []
        lost = []
        for view in views:
            try:
                made += re_encode(source, [view], self.store, first=first + len(made))
            except MediaError:
                lost.append(view.frame + first_number(source))
        if not made:
            if first == 1:
                raise error
            return [], problem_of(error, source.path)
        return made, f"damaged, and not shown: frame {', '.join(map(str, lost))}"


def _named(known: Mapping[str, Picture], name: str) -> View:
    """The View of the picture that goes by a name; UsageError lists the names there are."""
    if name not in known:
        raise UsageError(f"view {name!r}: the pictures are {', '.join(known)}")
    return known[name].view
