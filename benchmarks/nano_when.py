"""Does GRPO teach when to look, and what does the curiosity reward add?

    python benchmarks/nano_when.py nano/school/checkpoint nano/world/colour.jsonl --out nano/when

The questions are of clips of level 0, by colour, with answers of one to four characters. Half of the clips
are shown from afar, as they are: no sign can be read in the overview. Half are shown from near: their signs
fill the frame and can be read at once. A policy is taught to look at one question in five, near or far, and
else to answer at once if near, and to give up if far. From there it goes on in three ways: by GRPO, paid for
answer and format; by GRPO with the curiosity reward (R_cur) besides; by more SFT on the same lessons, for as
many seconds as the first of these took.

Promises: all begin with the same weights and are asked the same held-out questions by real vLLM, greedily.
Killed and run again, it goes on. The last line is JSON: {name: {seconds, far | near: {exact_match, ci95,
looked, n}, sampled: {first, last}}}. seconds are of training steps with their rollouts; looked is the share
that was shown more than the overview; sampled are means over the first and last three steps of GRPO's own
rollouts.
Does not: search for constants. R_cur has Pixel Reasoner's, but that two calls are free: a sign needs two.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from nano_instead import FEW, seconds, tools
from nano_single import at_once, teach

from r4agent.episode import Episode
from r4agent.evaluation import Questions, of_textworld
from r4agent.evaluation.questions import media_of
from r4agent.evaluation.statistics import mean
from r4agent.evaluation.subject import machine
from r4agent.graphs import create_rumination_graph
from r4agent.item import Item, Span, read_items, write_items
from r4agent.media.store import home
from r4agent.progress import counter
from r4agent.textworld.level0 import Board, boards, level0
from r4agent.textworld.world import Clip, Ink, Paint, Shape
from r4agent.textworld.writer import digest, write
from r4agent.training import recorder
from r4agent.training.curriculum import Asked, Curriculum, Evaluation, Grpo, Kept, Sft
from r4agent.training.looks import looks
from r4agent.training.nano.student import BUDGET
from r4agent.training.outcomes import evaluated
from r4agent.training.scene import Scene
from r4agent.training.stages import run
from r4agent.training.store import EpisodeStore
from r4agent.training.trajectories import trajectories

SEED = 73  # of the world that is held out
MOST = 150  # tokens of a reply
SHORT = 4  # characters
WIDE, HIGH = 0.7, 0.3  # of a near frame, that a sign's text may fill
EDGE = 40  # pixels between a near sign and the edges of the frame
SHARE = 5  # one question in so many is taught with a look
FAR, NEAR = "far", "near"
REWARDS: dict[str, dict[str, Any]] = {
    "grpo": {"accuracy": 1.0, "format": 0.1},
    "grpo-curious": {"accuracy": 1.0, "format": 0.1, "curiosity": {"weight": 1.0, "N": 2}},
}
RATE = 1e-4  # of SFT and of GRPO


def main() -> None:
    given = _arguments()
    nano = Curriculum.read(given.curriculum)
    sft, grpo = nano.stages[0], nano.stages[1]
    assert isinstance(sft, Sft)
    assert isinstance(grpo, Grpo)
    clips = given.out.absolute() / "clips"
    items = _short(read_items(given.questions))
    lessons, asked = items[: given.lessons], items[given.lessons : given.lessons + given.asked]
    _teach(given, [_clip(item, number % 2, clips) for number, item in enumerate(lessons)])
    write_items(
        given.out / "asked.jsonl", [_clip(item, number % 2, clips) for number, item in enumerate(asked)]
    )
    few = sft.settings | {"max_steps": given.sft, "learning_rate": RATE}
    kept = Kept(episodes=given.out / "lessons", status=("answered", "refused"))
    taught = sft.model_copy(update={"name": "taught", "data": kept, "settings": few})
    start = _trained(given, nano, given.checkpoint, taught)
    found = {"taught": start}
    some = grpo.settings | {"max_steps": given.grpo, "learning_rate": RATE}
    data = Asked(questions=str(given.out / "asked.jsonl"), root=(home() / "clips",))
    for name, rewards in REWARDS.items():
        changes = {"name": name, "data": data, "rewards": rewards, "settings": some, "mask_cut": False}
        found[name] = _trained(given, nano, start, grpo.model_copy(update=changes))
    steps = round(seconds(_lines(given, "grpo")) / (seconds(_lines(given, "taught")) / given.sft))
    longer = taught.model_copy(update={"name": "more-sft", "settings": few | {"max_steps": steps}})
    found["more-sft"] = _trained(given, nano.model_copy(update={"seed": nano.seed + 1}), start, longer)
    write_items(given.out / "held-out.jsonl", _held_out(given.n, clips))
    told = {name: _told(given, nano, name, checkpoint) for name, checkpoint in found.items()}
    print(json.dumps({"machine": machine(), **told}))


def _arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("checkpoint", help="out of school")
    made.add_argument("questions", type=Path, help="by colour, that may be taught on")
    made.add_argument("--curriculum", default="examples/curricula/nano.yaml", help="whose settings hold")
    made.add_argument("--out", type=Path, default=Path("nano/when"))
    made.add_argument("--lessons", type=int, default=400)
    made.add_argument("--asked", type=int, default=200, help="questions for GRPO")
    made.add_argument("--n", type=int, default=200, help="held-out questions")
    made.add_argument("--sft", type=int, default=80, help="steps")
    made.add_argument("--grpo", type=int, default=12, help="steps")
    return made.parse_args()


def _short(items: Iterator[Item]) -> list[Item]:
    return [item for item in items if len(item.answers[0]) <= SHORT]


def _held_out(n: int, clips: Path) -> list[Item]:
    """Each of another clip."""
    asked = _short(item for item in of_textworld(0, 4 * n, SEED).items if "colour" in item.meta)[:n]
    return [_clip(item, at % 2, clips) for at, item in enumerate(asked)]


def _clip(item: Item, near: int, folder: Path) -> Item:
    """The item, of its clip as it is, or of one that is the same from near."""
    if not near:
        media = media_of(item, home() / "clips")
        return item.model_copy(update={"media": media, "meta": item.meta | {"kind": FAR}})
    clip = _near(level0(item.meta["seed"]))
    media = folder / f"{clip.id}-{digest(clip)[:12]}.mp4"
    folder.mkdir(parents=True, exist_ok=True)
    if not media.is_file():
        write(clip, media)
    [board] = [one for one in boards(clip) if clip.texts[one.ink.text].role == item.meta["colour"]]
    first, stop = (at / clip.fps for at in (board.shape.first, board.shape.stop))
    changes = {
        "id": f"{item.id}-near",
        "media": str(media),
        "evidence": (Span(start=first, end=stop, box=board.ink.box),),
        "meta": {"kind": NEAR, "colour": item.meta["colour"], "panel": list(board.shape.box)},
    }
    return item.model_copy(update=changes)


def _near(clip: Clip) -> Clip:
    """The same signs one after another, each as large as the frame, without labels."""
    shown = list(boards(clip))
    stops = [min(one.shape.stop, then.shape.first) for one, then in pairwise(shown)]
    signs = [
        replace(paint, stop=stop)
        for board, stop in zip(shown, [*stops, shown[-1].shape.stop], strict=True)
        for paint in _enlarged(clip, board)
    ]
    return replace(clip, id=f"{clip.id}-near", paints=(*_backdrops(clip), *signs))


def _backdrops(clip: Clip) -> Iterator[Paint]:
    drawn = {id(paint) for board in boards(clip) for paint in board.paints}
    return (paint for paint in clip.paints if id(paint) not in drawn)


def _enlarged(clip: Clip, board: Board) -> tuple[Shape, Ink]:
    width, height, ink = clip.size.width, clip.size.height, board.ink
    x0, y0, x1, y1 = ink.box
    size = int(ink.size * min(WIDE * width / (x1 - x0), HIGH * height / (y1 - y0)))
    large = replace(ink, size=size, x=0, y=0)
    x0, y0, x1, y1 = large.box
    large = replace(large, x=(width - x1 - x0) // 2, y=(height - y1 - y0) // 2)
    return replace(board.shape, box=(EDGE, EDGE, width - EDGE, height - EDGE)), large


def _teach(given: argparse.Namespace, items: list[Item]) -> None:
    """A lesson of each: with a look, at once, or given up."""
    store, sizes = EpisodeStore(given.out / "lessons"), [BUDGET.overview_tokens]
    looked = [item for number, item in enumerate(items) if number // 2 % SHARE == 0]
    rest = [item for item in items if item not in looked]
    trajectories(Questions("looked", tuple(looked), 0), given.checkpoint, store, "closer")
    near = [item for item in rest if item.meta["kind"] == NEAR]
    far = [item for item in rest if item.meta["kind"] == FAR]
    teach(near, given.checkpoint, store, sizes, create_rumination_graph, at_once)
    teach(far, given.checkpoint, store, sizes, create_rumination_graph, _given_up)
    there = sorted(one.item.id for one in store.select() if one.item)
    if there != sorted(item.id for item in items):
        sys.exit(f"{store.folder}: its lessons are not those of this run; delete it, or give another --out")


def _given_up(scene: Scene) -> Iterator[str]:
    yield f"<think>Wanted: {scene.key}. Too small.</think>\n<not_found>too small</not_found>"


def _trained(given: argparse.Namespace, nano: Curriculum, start: str, stage: Sft | Grpo) -> str:
    """The checkpoint that comes of one stage."""
    changes = {"model": start, "out": given.out / stage.name, "stages": (stage,), "evaluation": None}
    [done] = run(nano.model_copy(update=changes), resume=True, watch=counter)
    return done.checkpoint


def _lines(given: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    """What its trainer logged."""
    return recorder.read(given.out / name / f"01-{name}" / "metrics.jsonl")


def _told(given: argparse.Namespace, nano: Curriculum, name: str, checkpoint: str) -> dict[str, Any]:
    """What came of one of them."""
    lines, root = _lines(given, name), (home() / "clips",)
    asked = Evaluation(
        questions=str(given.out / "held-out.jsonl"), root=root, engine="vllm", max_tokens=MOST, workers=8
    )
    done = evaluated(
        nano.model_copy(update={"evaluation": asked}), checkpoint, Path(checkpoint).parent, counter
    )
    if done is None or not done.finished:
        sys.exit(f"{name}: questions failed; {done and done.path} says why")
    told: dict[str, Any] = {"seconds": round(seconds(lines))}
    for kind in (FAR, NEAR):
        rows = [row for row in done.scored if row.category == kind]
        value, *ci95 = mean([row.scores["exact_match"] or 0 for row in rows])[:3]
        looked = [any(look.done for look in looks(Episode.read(row.episode))) for row in rows]
        told[kind] = {"exact_match": value, "ci95": ci95, "looked": sum(looked) / len(rows), "n": len(rows)}
    if name in REWARDS:
        told["sampled"] = {"first": tools(lines[:FEW]), "last": tools(lines[-FEW:])}
    print(f"{name}: {told}", flush=True)
    return told


if __name__ == "__main__":
    main()
