"""What each reward pays six ways of looking, on text-world clips with one sign a moment.

    python benchmarks/reward_games.py [--n 20]

Promises: every episode is a run of the real graph. Features come from a tiny random vision tower, made here.
The last line is JSON: the mean of each reward by way of looking.
Does not: train. It shows what a policy would be paid for, not what it learns.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import fmean

from r4agent import Budget, MediaStore, create_rumination_graph
from r4agent.engines import Checkpoint
from r4agent.engines.tiny import make_tiny
from r4agent.episode import Episode
from r4agent.evaluation import of_textworld
from r4agent.evaluation.questions import media_of
from r4agent.geometry import Box
from r4agent.item import Item
from r4agent.media.view import Picture
from r4agent.protocol import plain
from r4agent.training.features import VisionFeatures
from r4agent.training.plans import Dictation, Plan
from r4agent.training.scene import TIGHT, Scene
from r4agent.training.scoring import Means, Rewards
from r4agent.training.teacher import Teacher

WRONG = "<answer>nothing at all</answer>"
REWARDS = ("accuracy", "diversity", "coverage", "tool_success", "evidence")


def pointed(scene: Scene) -> Iterator[str]:
    """Zooms into the sign asked about, and reads it."""
    picture = scene.holding()
    yield scene.zoom("", picture, scene.around(picture, TIGHT))
    yield f"<answer>{plain(scene.item.answers[0])}</answer>"


def framed(scene: Scene) -> Iterator[str]:
    """Selects the one frame that has the sign, zooms into it, and reads it."""
    yield scene.select("", scene.moment())
    yield from pointed(scene)


def blind(scene: Scene) -> Iterator[str]:
    """Answers at once."""
    yield WRONG


def aimless(scene: Scene) -> Iterator[str]:
    """Zooms into the corners of four pictures, where no sign is, and guesses."""
    for number, picture in enumerate(scene.lot.sample(scene.pictures, 4)):
        yield scene.zoom("", picture, corner(picture, number))
    yield WRONG


def sweeping(scene: Scene) -> Iterator[str]:
    """Selects the overview's frames once more, too small to read, and guesses."""
    times = [picture.view.time for picture in scene.pictures]
    call = {"name": "select_frames", "arguments": {"times": times}}
    yield f"<tool_call>{json.dumps(call)}</tool_call>"
    yield WRONG


def thorough(scene: Scene) -> Iterator[str]:
    """Has seven of the eight pictures shown again in all detail that there is, and guesses."""
    for picture in scene.pictures[:7]:
        yield scene.again("", picture)
    yield WRONG


WAYS: tuple[Plan, ...] = (pointed, framed, blind, aimless, sweeping, thorough)


def corner(picture: Picture, number: int) -> Box:
    """A hundredth of the picture, in one of its corners."""
    wide, high = picture.view.region.width, picture.view.region.height
    x, y = ((0.0, 0.0), (0.9, 0.0), (0.0, 0.9), (0.9, 0.9))[number]
    return Box(x * wide, y * high, (x + 0.1) * wide, (y + 0.1) * high)


class Bench:
    """One folder with a tiny model, clips, pictures and logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = str(make_tiny("qwen2_5_vl", folder / "model"))
        self.store = MediaStore(folder / "pictures")
        checkpoint = Checkpoint.load(self.model)
        self.profile = checkpoint.profile
        means = Means(VisionFeatures.load(checkpoint, self.store))
        self.rewards = Rewards.of(dict.fromkeys(REWARDS, 1.0), means)

    def score(self, item: Item, way: Plan) -> dict[str, float]:
        """What a way of looking earns on an item, and how many image tokens it takes."""
        scene = Scene(item, self.profile, Random(item.id))
        graph = create_rumination_graph(
            Teacher(model=self.model, plan=Dictation(way, scene)),
            budget=Budget(),
            store=self.store,
            episodes=self.folder / "episodes",
        )
        asked = {"media": media_of(item, self.folder / "clips"), "question": item.question}
        episode = Episode.read(graph.invoke(asked)["episode"])
        (terms,) = self.rewards.score([episode], item)
        assert episode.end is not None
        earned = {name: value for name in REWARDS if (value := terms[name]) is not None}
        return earned | {"image_tokens": episode.end["usage"]["image_tokens"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=20, help="questions")
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        items = of_textworld(0, options.n, 11).items
        for way in WAYS:
            scores = [bench.score(item, way) for item in items]
            found[way.__name__] = {name: fmean(score[name] for score in scores) for name in scores[0]}
            print(f"{way.__name__:<10}" + "".join(f"{k} {v:9.3f}   " for k, v in found[way.__name__].items()))
    print(json.dumps({"n": options.n, "means": found}))


if __name__ == "__main__":
    main()
