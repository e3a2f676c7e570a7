"""Lessons for the single pass that the nano policy is compared with: the same questions, answered at once.

    python benchmarks/nano_single.py nano/world/taught.jsonl --n 200 --model nano/school/checkpoint \
        --out nano/single-data

--model is the checkpoint that nano_single.yaml trains: the lessons are in its tokens.

Promises: the same system as the nano policy's trajectories (graph, prompt, teacher, tokens, store), but that
no tool is called: the answer is said at once, with its place, from an overview in each of the sizes given.
Does not: show the answer legibly. What can be learnt from this is what a single pass can know.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from r4agent import Budget, Episode, MediaStore
from r4agent.engines import Checkpoint
from r4agent.evaluation import of_file
from r4agent.evaluation.questions import media_of
from r4agent.graphs import create_rumination_graph
from r4agent.item import Item
from r4agent.media.store import home
from r4agent.progress import counter
from r4agent.protocol import plain
from r4agent.training.plans import Dictation, Plan
from r4agent.training.scene import Scene
from r4agent.training.store import EpisodeStore, Stored
from r4agent.training.teacher import Teacher
from r4agent.training.trajectories import stored_as

STAGE = "single"
SIZES = (15, 24, 45, 60)  # image tokens of a picture of the overview


def at_once(scene: Scene) -> Iterator[str]:
    picture = scene.holding()
    name, text = picture.name, plain(scene.item.answers[0])
    cite = {"view": name, "box": scene.written(scene.text(picture), picture.view)}
    said = f"<evidence>{json.dumps(cite)}</evidence><answer>{text}</answer>"
    thought = f"Wanted: {scene.key}. It is in this part of {name}. {name} shows it: {text}."
    yield f"<think>{thought}</think>\n{said}"


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("questions", type=Path)
    made.add_argument("--model", required=True, help="the student, whose tokens are said")
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--n", type=int, help="how many questions, drawn by lot (default: all)")
    made.add_argument("--tokens", type=int, nargs="+", default=SIZES, help="of a picture of the overview")
    given = made.parse_args()
    out = EpisodeStore(given.out)
    teach(of_file(given.questions, given.n).items, given.model, out, given.tokens)
    print(json.dumps({"episodes": len(out), "store": str(given.out)}))


def teach(
    items: Sequence[Item],
    model: str,
    out: EpisodeStore,
    sizes: Sequence[int],
    plan: Plan = at_once,
    stage: str = STAGE,
) -> None:
    """A lesson of each item with each size of the overview's pictures, in image tokens.
    stage: what the lessons are stored as."""
    checkpoint, pictures = Checkpoint.load(model), MediaStore()
    there = {_lesson(one) for one in stored_as(out, stage)}  # of a run that was killed
    most = checkpoint.budget.picture_tokens
    with counter("items") as step, tempfile.TemporaryDirectory(prefix="r4-") as logs:
        for number, item in enumerate(items):
            for tokens in sizes:
                if (item.id, tokens) in there:
                    continue
                scene = Scene(item, checkpoint.profile, Random(0))
                graph = create_rumination_graph(
                    Teacher(model=model, plan=Dictation(plan, scene)),
                    budget=Budget(overview_tokens=tokens, picture_tokens=max(tokens, most)).over(
                        checkpoint.budget
                    ),
                    store=pictures,
                    episodes=logs,
                )
                done = graph.invoke({"media": media_of(item, home() / "clips"), "question": item.question})
                out.add(Episode.read(done["episode"]), stage=stage, item=item)
            step(number + 1, len(items))


def _lesson(stored: Stored) -> tuple[str, int]:
    """Of which item, and with which size of the overview's pictures."""
    assert stored.item is not None
    return stored.item.id, stored.episode.header["budget"]["overview_tokens"]


if __name__ == "__main__":
    main()
