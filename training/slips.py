"""Slips: replies that went wrong, as a student's own sometimes will, so that it learns how to go on then.

    Dictation(slipping(plan, 0.15), scene)

Promises: a slip comes before the reply that is right, which is then said as if nothing had been: what the
graph answers is its true answer to the slip, an error or a picture of a wrong place. A slip ends no episode.
A Teacher marks it in its log, and it is never learnt (`r4agent.training.sft.Lesson`).
Does not: imitate one student. The reply jumps in mid-sentence to another place of itself, or a box lies
elsewhere. After Pixel Reasoner's self-correction trajectories (arXiv 2505.15966), which put wrong operations
before the right ones.
"""

import json
import re
from collections.abc import Iterator
from random import Random

from r4agent.episode import Episode
from r4agent.geometry import Box
from r4agent.media.view import Picture
from r4agent.protocol import Malformed, parse
from r4agent.training.plans import Plan
from r4agent.training.rows import replies
from r4agent.training.scene import Scene

MARK = "slip"  # in a reply's response_metadata
ASTRAY = 0.5  # of slips of a zoom, that are boxes elsewhere
SMALL = 8  # pixels as shown: the least side of such a box
ZOOM = re.compile(r'"arguments": {"view": "(?P<view>[^"]+)", "box": (?P<box>\[[^\]]*\])')


class Slip(str):
    """A reply that is wrong on purpose."""


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
        start, stop = zoom.span("box")
        return Slip(reply[:start] + json.dumps(_elsewhere(picture, scene)) + reply[stop:])
    return _broken(reply, scene.lot)


def slips(episode: Episode) -> set[int]:
    """The numbers of the replies that are slips, as `Row.turns` counts."""
    said = enumerate(replies(episode), start=1)
    return {number for number, reply in said if reply["response_metadata"].get(MARK)}


def _elsewhere(picture: Picture, scene: Scene) -> list[float]:
    """A box anywhere in a picture, of any shape, up to half as wide and as high."""
    lot, region, shown = scene.lot, picture.view.region, picture.view.size
    wide, high = (lot.uniform(min(1, SMALL / side), 0.5) for side in (shown.width, shown.height))
    x0 = region.x0 + lot.uniform(0, 1 - wide) * region.width
    y0 = region.y0 + lot.uniform(0, 1 - high) * region.height
    box = Box(x0, y0, x0 + wide * region.width, y0 + high * region.height)
    return scene.written(box, picture.view)


def _broken(reply: str, lot: Random) -> Slip:
    """The reply, going on in the middle as from another place of it; one that can't be carried out."""
    while True:
        left, right = (lot.randrange(len(reply) + 1) for _ in range(2))
        said = reply[:left] + reply[right:]
        if isinstance(parse(said).step, Malformed):
            return Slip(said)
