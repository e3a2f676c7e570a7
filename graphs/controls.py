"""Controls: a run in which looking is spoilt, to show what looking is worth.

Promises: everything but the pictures that calls bring is as in a true run: prompt, turns, budget. What a
picture is labelled with is what it shows, except in `blank-crop`, whose header says so.
Does not: touch the overview.

    no-tool       a call brings no picture, and the policy is told so
    blank-crop    a call brings a grey picture of the size asked for
    random-crop   a call brings as large a region of the same frame, at a place drawn by lot, which may
                  overlap the one asked for; for a whole frame, another frame. The whole of a single picture
                  has no other: there it spoils nothing
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Literal

from PIL import Image

from r4agent.geometry import Box, ModelProfile
from r4agent.media import Source
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture, View
from r4agent.tools.select_frames import whole

Control = Literal["no-tool", "blank-crop", "random-crop"]
GREY = (128, 128, 128)
NO_PICTURE = "no picture could be made; answer from what you have seen"


def elsewhere(views: Sequence[View], source: Source, profile: ModelProfile, seed: str) -> list[View]:
    """Views as large as `views`, at places drawn by lot, in ascending order of frame. The same seed draws
    the same places, so that a resumed run sees what it saw."""
    rng = Random(seed)
    moved = [_elsewhere(view, source, profile, rng) for view in views]
    return sorted(moved, key=lambda view: view.frame)


def _elsewhere(view: View, source: Source, profile: ModelProfile, rng: Random) -> View:
    size, region = source.size_of(view.frame), view.region
    if (region.width, region.height) == (size.width, size.height):
        others = source.count - 1
        frame = (view.frame + 1 + rng.randrange(others)) % source.count if others else view.frame
        other = whole(source, [frame], profile=profile, max_tokens=profile.tokens(view.size))[0]
        return replace(other, size=view.size) if other.region == view.region else other
    x = rng.randint(0, round(size.width - region.width))
    y = rng.randint(0, round(size.height - region.height))
    return View(view.frame, view.time, Box(x, y, x + region.width, y + region.height), view.size)


def blank(views: Sequence[View], store: MediaStore, *, first: int) -> list[Picture]:
    """Grey pictures in place of the views, under their names."""
    sizes = [(view.size.width, view.size.height) for view in views]
    refs = [store.put(Image.new("RGB", size, GREY)) for size in sizes]
    return [Picture(f"v{n}", view, ref) for n, (view, ref) in enumerate(zip(views, refs, strict=True), first)]
