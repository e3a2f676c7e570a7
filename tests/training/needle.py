"""Rollouts of one question about one sign of a real clip, through the real graph, with replies written here.

The clip has eight signs, one after another, and the overview a picture of each: a single-frame needle."""

import json
from dataclasses import dataclass
from pathlib import Path

from r4agent import Budget, Episode, MediaStore, ScriptedPolicy, create_rumination_graph
from r4agent.errors import RunError
from r4agent.evaluation.sight import during
from r4agent.geometry import Box, convert
from r4agent.item import Item
from r4agent.media.view import Picture
from r4agent.textworld import clip_file
from r4agent.textworld.level0 import panel


@dataclass(frozen=True)
class Needle:
    """item: the question. clip, folder: where its media and the logs are. pictures: of the overview."""

    item: Item
    clip: Path
    folder: Path
    pictures: tuple[Picture, ...]

    @property
    def store(self) -> MediaStore:
        return MediaStore(self.folder / "pictures")

    @property
    def right(self) -> Picture:
        """The overview's picture of the sign asked about."""
        return next(p for p in self.pictures if during(p.view, self.item.evidence[0]))

    @property
    def wrong(self) -> list[Picture]:
        return [p for p in self.pictures if not during(p.view, self.item.evidence[0])]

    def look(self) -> str:
        """The right zoom."""
        return zoom(self.right, Box(*panel(self.item)))

    def answer(self, text: str | None = None) -> str:
        return f"<answer>{self.item.answers[0] if text is None else text}</answer>"

    def ask(self, *replies: str, turns: int = 8, overview: int = 8) -> Episode:
        """An episode in which this is said. One reply too few, and it fails."""
        graph = create_rumination_graph(
            ScriptedPolicy(replies=list(replies)),
            budget=Budget(turns=turns, overview_images=overview),
            store=self.store,
            episodes=self.folder / "episodes",
        )
        question = {"media": str(self.clip), "question": self.item.question}
        try:
            return Episode.read(graph.invoke(question)["episode"])
        except RunError:
            return Episode.read(max((self.folder / "episodes").iterdir(), key=lambda p: p.stat().st_mtime_ns))


def make_needle(folder: Path, seed: int = 1) -> Needle:
    clip, items = clip_file(0, seed, folder)
    bare = Needle(items[0], Path(clip), folder, ())
    return Needle(items[0], Path(clip), folder, bare.ask("<not_found>no</not_found>").pictures)


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def zoom(picture: Picture, source: Box) -> str:
    view = picture.view
    shown = convert(source, "shown", region=view.region, shown=view.size)
    return call("zoom", view=picture.name, box=list(shown.corners))


def corner(picture: Picture, number: int = 0) -> str:
    """A zoom into a corner of a picture, where no sign stands."""
    wide, high = picture.view.region.width, picture.view.region.height
    x, y = ((0, 0), (0.9, 0), (0, 0.9), (0.9, 0.9))[number % 4]
    return zoom(picture, Box(x * wide, y * high, (x + 0.1) * wide, (y + 0.1) * high))


def select(*pictures: Picture) -> str:
    return call("select_frames", times=[p.view.time for p in pictures])
