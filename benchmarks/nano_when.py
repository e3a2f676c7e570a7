"""Does GRPO teach when to look, and what does the curiosity reward add?

    python benchmarks/nano_when.py nano/school/checkpoint nano/world/colour.jsonl --out nano/when

The questions are of clips of level 0, by colour, with answers of one to four characters. Half of the clips
are shown from afar, as they are: no sign can be read in the overview. Half are shown from near: their signs
fill the frame and can be read at once. A policy is taught to look at one question in five, near or far, and
else to answer at once if near, and to give up if far. From there it goes on in four ways:

    grpo          paid for answer and format
    more-sft      SFT on those lessons that were answered, all of which GRPO would have paid
    grpo-curious  as grpo, with the curiosity reward (R_cur) besides
    same-sft      SFT on the same lessons: what the time alone is worth. They say to give up

SFT takes as many steps as the time of grpo allows.

Promises: all begin with the same weights, train the same of them (not the vision tower), and are asked the
same held-out questions by real vLLM, greedily. Killed and run again, it goes on. The last line is JSON:
{name: {seconds, far | near: {exact_match, ci95, looked, n}, sampled}, "differences": {…}}. seconds are of
training steps with their rollouts; looked is the share that was shown more than the overview; sampled is of
the first and last quarter of GRPO's own rollouts.
Does not: search for constants, or know how other seeds would do: each way is gone once. R_cur has Pixel
Reasoner's, but that two calls are free: a sign needs two. Nor is a look at a sign that is near a cost.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

from nano_single import at_once, teach

from r4agent.budget import Budget
from r4agent.engines import Checkpoint
from r4agent.episode import Episode, Status
from r4agent.evaluation import Questions, Results, of_textworld
from r4agent.evaluation.questions import media_of
from r4agent.evaluation.statistics import mean, paired
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
from r4agent.training.store import EpisodeStore, Stored
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
NANO = Path(__file__).parents[1] / "examples" / "curricula" / "nano.yaml"
RATE = 2e-4  # of SFT and of GRPO
ROLLED = Budget(new_tokens=80)  # of a rollout: two looks and an answer take some 60


def main() -> None:
    given = _arguments()
    nano = Curriculum.read(given.curriculum)
    clips, items = given.out.absolute() / "clips", _short(read_items(given.questions))
    if len(items) < given.lessons + given.asked:
        sys.exit(f"{given.questions}: only {len(items)} short answers; ask for fewer lessons or questions")
    lessons, asked = items[: given.lessons], items[given.lessons : given.lessons + given.asked]
    _teach(given, [_clip(item, number % 2, clips) for number, item in enumerate(lessons)])
    write_items(
        given.out / "asked.jsonl", [_clip(item, number % 2, clips) for number, item in enumerate(asked)]
    )
    write_items(given.out / "held-out.jsonl", _held_out(given.n, clips))
    came = {"taught": _arm(given, nano, given.checkpoint, _sft(given, nano, "taught", given.sft))}
    start = came["taught"].checkpoint
    came["grpo"] = _arm(given, nano, start, _grpo(given, nano, "grpo"))
    steps = round(_seconds(came["grpo"].lines) / median(line["seconds"] for line in came["taught"].lines))
    again = nano.model_copy(update={"seed": nano.seed + 1})
    answered = _sft(given, nano, "more-sft", steps, "answered")
    came["more-sft"] = _arm(given, again, start, answered)
    came["grpo-curious"] = _arm(given, nano, start, _grpo(given, nano, "grpo-curious"))
    came["same-sft"] = _arm(given, again, start, _sft(given, nano, "same-sft", steps))
    told = {name: one.told() for name, one in came.items()}
    pairs = [(came["taught"], one) for one in list(came.values())[1:]]
    pairs += [(came["more-sft"], came["grpo"]), (came["grpo"], came["grpo-curious"])]
    differences = {f"{b.name} - {a.name}": _difference(a, b) for a, b in pairs}
    print(json.dumps({"machine": machine(), **told, "differences": differences}))


@dataclass(frozen=True)
class Arm:
    """What came of one way. lines: what its trainer logged, a step each. rolled: its rollouts, in order."""

    name: str
    checkpoint: str
    lines: list[dict[str, Any]]
    results: Results
    rolled: list[Stored]

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = {"seconds": round(_seconds(self.lines)), "steps": self.lines[-1]["step"]}
        for kind in (FAR, NEAR):
            rows = [row for row in self.results.scored if row.category == kind]
            value, *ci95 = mean(list(_scores(self, kind).values()))[:3]
            looked = [_looked(Episode.read(row.episode)) for row in rows]
            told[kind] = {"exact_match": value, "ci95": ci95, "looked": fmean(looked), "n": len(rows)}
        if self.rolled:
            some = len(self.rolled) // 4
            told["sampled"] = {"first": _means(self.rolled[:some]), "last": _means(self.rolled[-some:])}
        return told


def _arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("checkpoint", help="out of school")
    made.add_argument("questions", type=Path, help="by colour, that may be taught on")
    made.add_argument("--curriculum", type=Path, default=NANO, help="whose settings hold")
    made.add_argument("--out", type=Path, default=Path("nano/when"))
    made.add_argument("--lessons", type=int, default=300)
    made.add_argument("--asked", type=int, default=200, help="questions for GRPO")
    made.add_argument("--n", type=int, default=200, help="held-out questions")
    made.add_argument("--sft", type=int, default=60, help="steps")
    made.add_argument("--grpo", type=int, default=20, help="steps")
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
    tokens = Checkpoint.load(given.checkpoint).tokenizer.get_vocab()
    for model in {one.episode.header["model"]["model"] for one in store.select()}:
        if Checkpoint.load(model).tokenizer.get_vocab() != tokens:
            sys.exit(f"{store.folder}: its lessons are in the tokens of {model}; delete it")


def _given_up(scene: Scene) -> Iterator[str]:
    yield f"<think>Wanted: {scene.key}. Too small.</think>\n<not_found>too small</not_found>"


def _sft(given: argparse.Namespace, nano: Curriculum, name: str, steps: int, *status: Status) -> Sft:
    """status: how the lessons ended, all unless told."""
    sft = nano.stages[0]
    assert isinstance(sft, Sft)
    kept = Kept(episodes=given.out / "lessons", status=status or ("answered", "refused"))
    settings = sft.settings | {"max_steps": steps, "learning_rate": RATE}
    return sft.model_copy(update={"name": name, "data": kept, "settings": settings, "vision": "frozen"})


def _grpo(given: argparse.Namespace, nano: Curriculum, name: str) -> Grpo:
    grpo = nano.stages[1]
    assert isinstance(grpo, Grpo)
    data = Asked(questions=str(given.out / "asked.jsonl"), root=_roots(given))
    settings = grpo.settings | {"max_steps": given.grpo, "learning_rate": RATE}
    changes = {"rewards": REWARDS[name], "settings": settings, "mask_cut": False, "budget": ROLLED}
    return grpo.model_copy(update={"name": name, "data": data, "vision": "frozen", **changes})


def _roots(given: argparse.Namespace) -> tuple[Path, ...]:
    return home() / "clips", given.out.absolute() / "clips"


def _arm(given: argparse.Namespace, nano: Curriculum, start: str, stage: Sft | Grpo) -> Arm:
    """One stage, carried out from `start`, and its checkpoint asked what is held out."""
    asked = Evaluation(
        questions=str(given.out / "held-out.jsonl"),
        root=_roots(given),
        engine="vllm",
        max_tokens=MOST,
        workers=8,
    )
    out = given.out / stage.name
    changes = {"model": start, "out": out, "stages": (stage,), "evaluation": None}
    [done] = run(nano.model_copy(update=changes), resume=True, watch=counter)
    asking = nano.model_copy(update={"model": start, "evaluation": asked})
    results = evaluated(asking, done.checkpoint, done.folder, counter)
    if results is None or not results.finished:
        sys.exit(f"{stage.name}: questions failed; {results and results.path} says why")
    episodes = done.folder / "episodes"
    rolled = list(EpisodeStore(episodes).select()) if episodes.is_dir() else []
    rolled.sort(key=lambda stored: stored.episode.id)  # they begin with the time
    lines = recorder.read(done.folder / "metrics.jsonl")
    arm = Arm(stage.name, done.checkpoint, lines, results, rolled)
    print(f"{arm.name}: {json.dumps(arm.told())}", flush=True)
    return arm


def _seconds(lines: Sequence[Mapping[str, Any]]) -> float:
    """What the steps took. The median holds for all: a step beside which the machine did something else
    would buy SFT many."""
    return median(line["seconds"] for line in lines) * len(lines)


def _looked(episode: Episode) -> bool:
    return any(look.done for look in looks(episode))


def _means(rolled: Sequence[Stored]) -> dict[str, dict[str, float]]:
    """Of rollouts, which end: whether the answer is right, and whether it was looked for."""
    found = dict[str, dict[str, float]]()
    for kind in (FAR, NEAR):
        some = [one for one in rolled if one.item and one.item.meta["kind"] == kind]
        right = fmean((one.rewards or {}).get("accuracy") or 0.0 for one in some)
        looked = fmean(_looked(one.episode) for one in some)
        found[kind] = {"right": round(right, 4), "looked": round(looked, 4), "n": len(some)}
    return found


def _scores(arm: Arm, kind: str) -> dict[str, float]:
    return {row.id: row.scores["exact_match"] or 0.0 for row in arm.results.scored if row.category == kind}


def _difference(a: Arm, b: Arm) -> dict[str, list[float]]:
    """How much more of the questions b gets right, with the interval."""
    pairs = {kind: paired(_scores(a, kind), _scores(b, kind)).difference for kind in (FAR, NEAR)}
    return {kind: [round(value, 4) for value in pair[:3]] for kind, pair in pairs.items()}


if __name__ == "__main__":
    main()
