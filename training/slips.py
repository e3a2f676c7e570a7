"""Slips: replies that went wrong, as a student's own sometimes will, so that it learns how to go on then.

    Dictation(slipping(plan, 0.15), scene)

Promises: a slip comes before the reply that is right, which is then said as if nothing had been: what the
graph answers is its true answer to the slip, an error or a picture of a wrong place. A slip ends no episode.
A Teacher marks it in its log (`r4agent.training.rows.slipped`); SFT and the nano school do not learn it.
Does not: imitate one student. The reply jumps in mid-sentence to another place of itself, or a box lies
elsewhere. After Pixel Reasoner's self-correction trajectories (arXiv 2505.15966), which put wrong operations
before the right ones.
"""

import json
import re
from collections.abc import Iterator
from random import Random

from r4agent.geometry import Box
from r4agent.media.view import Picture, View
from r4agent.protocol import Malformed, parse
from r4agent.training.plans import Plan
from r4agent.training.scene import Scene
from r4agent.training.teacher import Slip

ASTRAY = 0.5  # of slips of a zoom, that are boxes elsewhere
SMALL = 8  # pixels as shown: the least side of such a box
TRIES = 50  # lots for one
ZOOM = re.compile(r'"arguments": {"view": "(?P<view>[^"]+)", "box": (?P<box>\[[^\]]*\])')


def slipping(plan: Plan, chance: float) -> Plan:
    """The plan, with a slip before each of its replies by that chance; with none, the very plan, which then
    draws what it always drew."""
    if not chance:
        return plan

    def slipped(scene: Scene) -> Iterator[str]:
        for reply in plan(scene):
            if scene.lot.random() < chance:
                yield slip(reply, scene)
            yield reply

    return slipped


def slip(reply: str, scene: Scene) -> Slip:
    """What might have been said in place of a reply."""
    zoom = ZOOM.search(reply)
    if zoom and scene.lot.random() < ASTRAY:
        [picture] = [one for one in scene.pictures if one.name == zoom["view"]]
        box = _elsewhere(picture, _box(json.loads(zoom["box"])), scene)
        if box is not None:
            return Slip(reply[: zoom.start("box")] + json.dumps(box) + reply[zoom.end("box") :])
    return _broken(reply, scene.lot)


def _elsewhere(picture: Picture, right: Box, scene: Scene) -> list[float] | None:
    """A box of any shape, up to half as wide and as high as a picture, that shares nothing with the right one
    or with where the answer stands; all as the student writes them. None where there seems to be no room."""
    view, kept = picture.view, [right]
    span = scene.span(view)
    if span is not None and scene.place(span).overlap(view.region):
        kept.append(_box(scene.written(scene.place(span), view)))
    for _ in range(TRIES):
        box = scene.written(_somewhere(view, scene.lot), view)
        if not any(_box(box).overlap(one) for one in kept):
            return box
    return None


def _somewhere(view: View, lot: Random) -> Box:
    """In source pixels."""
    region = view.region
    wide, high = (lot.uniform(min(1, SMALL / side), 0.5) for side in (view.size.width, view.size.height))
    x0 = region.x0 + lot.uniform(0, 1 - wide) * region.width
    y0 = region.y0 + lot.uniform(0, 1 - high) * region.height
    return Box(x0, y0, x0 + wide * region.width, y0 + high * region.height)


def _box(written: list[float]) -> Box:
    x0, y0, x1, y1 = written
    return Box(x0, y0, x1, y1)


def _broken(reply: str, lot: Random) -> Slip:
    """The reply, going on in the middle as from another place of it; one that can't be carried out."""
    while True:
        left, right = (lot.randrange(len(reply) + 1) for _ in range(2))
        said = reply[:left] + reply[right:]
        if isinstance(parse(said).step, Malformed):
            return Slip(said)
