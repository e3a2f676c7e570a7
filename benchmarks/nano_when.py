"""Does GRPO teach when to look, and what does the curiosity reward add?

    python benchmarks/nano_when.py --out nano/when

The questions are of level 0, by colour, with answers of one to four characters. Half are of clips, in whose
overview no sign can be read: far. Half are of a still picture of a sign that can be read at once: near. A
policy is taught that seldom looks: of the clips it is shown one lesson in three that looks, and two that
give up; of the still pictures lessons that say the answer at once. From there it goes on in four ways:

    grpo          paid for answer and format
    grpo-curious  as grpo, with the curiosity reward (R_cur) besides
    same-sft      SFT on the same lessons: what the time alone is worth
    chosen-sft    SFT on those of them that were answered, all of which GRPO would have paid

SFT takes as many steps as the time of grpo allows.

Promises: all begin with the same weights, train the same of them (not the vision tower), and are asked the
same held-out questions by real vLLM, greedily. Killed and run again, it goes on. The last line is JSON:
{name: {seconds, far | near: {exact_match, ci95, looked, n}, sampled}, "differences": {…}}. seconds are of
training steps with their rollouts; looked is the share that was shown more than the overview; sampled is of
the first and last quarter of GRPO's own rollouts.
Does not: search for constants, or know how other seeds would do: each way is gone once. R_cur has Pixel
Reasoner's, but that two calls are free: a sign needs two. Nor does it tell whether a policy goes by what can
be read or by the medium: far is always a clip, near always a still picture. What lies in --out is gone on
with, so other weights at the path of --start need another --out.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any

from nano_single import at_once, teach
from PIL import Image

from r4agent.budget import Budget
from r4agent.episode import Episode
from r4agent.evaluation import Questions, Results, of_textworld
from r4agent.evaluation.questions import media_of
from r4agent.evaluation.statistics import mean, paired
from r4agent.evaluation.subject import machine
from r4agent.item import Item, Span, write_items
from r4agent.media.store import home
from r4agent.policy.nano import nano_checkpoint
from r4agent.progress import counter
from r4agent.textworld.level0 import ASK_COLOUR
from r4agent.textworld.writer import SEEDS_A_WORLD
from r4agent.training import recorder
from r4agent.training.curriculum import Asked, Curriculum, Evaluation, Grpo, Kept, Sft
from r4agent.training.looks import looks
from r4agent.training.nano.questions import answered_in, known
from r4agent.training.nano.signs import crop, signs
from r4agent.training.nano.student import BUDGET
from r4agent.training.outcomes import evaluated
from r4agent.training.scene import NEAR as ROOM
from r4agent.training.scene import Scene
from r4agent.training.stages import run
from r4agent.training.store import EpisodeStore, Stored
from r4agent.training.trajectories import trajectories

TAUGHT, ASKED, HELD = 51, 52, 73  # worlds: of lessons, of questions for GRPO, and one that is held out
MOST = 150  # tokens of a reply
SHORT = 4  # characters
SHARE = 3  # one lesson of a clip in so many looks
FAR, NEAR, GAVE_UP, LOOKED = "far", "near", "gave-up", "closer"
AT_ONCE = {"picture_tokens": BUDGET.overview_tokens}  # of a still: an overview shows it as it is
REWARDS: dict[str, dict[str, Any]] = {
    "grpo": {"accuracy": 1.0, "format": 0.1},
    "grpo-curious": {"accuracy": 1.0, "format": 0.1, "curiosity": {"weight": 1.0, "N": 2}},
}
NANO = Path(__file__).parents[1] / "examples" / "curricula" / "nano.yaml"
RATE = 3e-4  # of SFT, which falls to nothing, and of GRPO
ROLLED = Budget(new_tokens=80)  # of a rollout: two looks and an answer take some 60


def main() -> None:
    given = _arguments()
    nano, stills = Curriculum.read(given.curriculum), given.out.absolute() / "stills"
    _teach(given, _questions(TAUGHT, given.lessons, stills))
    write_items(given.out / "asked.jsonl", _questions(ASKED, given.asked, stills))
    write_items(given.out / "held-out.jsonl", _questions(HELD, given.n, stills))
    came = {"taught": _arm(given, nano, str(given.start), _sft(given, nano, "taught", given.sft))}
    start = came["taught"].checkpoint
    came["grpo"] = _arm(given, nano, start, _grpo(given, nano, "grpo"))
    steps = round(seconds(came["grpo"].lines) / median(line["seconds"] for line in came["taught"].lines))
    again = nano.model_copy(update={"seed": nano.seed + 1})
    came["same-sft"] = _arm(given, again, start, _sft(given, nano, "same-sft", steps))
    came["grpo-curious"] = _arm(given, nano, start, _grpo(given, nano, "grpo-curious"))
    came["chosen-sft"] = _arm(given, again, start, _sft(given, nano, "chosen-sft", steps, LOOKED, NEAR))
    told = {name: one.told() for name, one in came.items()}
    pairs = [(came["taught"], one) for one in list(came.values())[1:]]
    pairs += [(came[other], came["grpo"]) for other in ("same-sft", "chosen-sft")]
    pairs += [(came["grpo"], came["grpo-curious"])]
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
        told: dict[str, Any] = {"seconds": round(seconds(self.lines)), "steps": self.lines[-1]["step"]}
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
    made.add_argument("--start", type=Path, default=nano_checkpoint(), help="a policy that looks")
    made.add_argument("--curriculum", type=Path, default=NANO, help="whose settings hold")
    made.add_argument("--out", type=Path, default=Path("nano/when"))
    made.add_argument("--lessons", type=int, default=400)
    made.add_argument("--asked", type=int, default=200, help="questions for GRPO")
    made.add_argument("--n", type=int, default=200, help="held-out questions")
    made.add_argument("--sft", type=int, default=100, help="steps")
    made.add_argument("--grpo", type=int, default=15, help="steps")
    return made.parse_args()


def _questions(world: int, n: int, stills: Path) -> list[Item]:
    """Of a world, by turns far and near, each of another clip. Those that are taught, or that GRPO asks, are
    of typefaces that may be learnt."""
    clips = range(world * SEEDS_A_WORLD, (world + 1) * SEEDS_A_WORLD)
    fits = known if world != HELD else lambda _: True
    far = islice((item for item in of_textworld(0, 3 * n, world).items if _asks(item, fits)), n // 2)
    near = islice(_near(reversed(clips), fits, stills), n // 2)
    return [item for pair in zip(map(_far, far), near, strict=True) for item in pair]


def _asks(item: Item, fits: Callable[[str], bool]) -> bool:
    return "colour" in item.meta and len(item.answers[0]) <= SHORT and answered_in(item, fits)


def _far(item: Item) -> Item:
    media = media_of(item, home() / "clips")
    return item.model_copy(update={"media": media, "meta": item.meta | {"kind": FAR}})


def _near(clips: Iterable[int], fits: Callable[[str], bool], folder: Path) -> Iterator[Item]:
    """A still picture of a sign of each clip that has one, as a zoom would show it."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in clips:
        lot = Random(f"near {seed}")
        found = [sign for sign in signs([seed], fits) if len(sign.string) <= SHORT]
        if not found:
            continue
        sign = lot.choice(found)
        one = crop(sign, sign.box, (0, ROOM), BUDGET.model_copy(update=AT_ONCE), lot)
        media = folder / f"{seed}.png"
        Image.fromarray(one.pixels).save(media)
        yield Item(
            id=f"near-{seed}",
            media=str(media),
            question=lot.choice(ASK_COLOUR).format(sign.colour),
            answers=(sign.string,),
            evidence=(Span(start=1, end=1, unit="page", box=one.text.corners),),
            meta={"kind": NEAR, "colour": sign.colour},
        )


def _teach(given: argparse.Namespace, items: Sequence[Item]) -> None:
    """A lesson of each: with looks, at once, or given up."""
    store, sizes = EpisodeStore(given.out / "lessons"), [BUDGET.overview_tokens]
    far, near = ([item for item in items if item.meta["kind"] == kind] for kind in (FAR, NEAR))
    trajectories(Questions(LOOKED, tuple(far[::SHARE]), 0), str(given.start), store, "closer")
    rest = [item for number, item in enumerate(far) if number % SHARE]
    teach(near, str(given.start), store, sizes, at_once, NEAR)
    teach(rest, str(given.start), store, sizes, _given_up, GAVE_UP)
    there = sorted(one.item.id for one in store.select() if one.item)
    if there != sorted(item.id for item in items):
        sys.exit(f"{store.folder}: its lessons are not those of this run; delete it, or give another --out")


def _given_up(scene: Scene) -> Iterator[str]:
    yield f"<think>Wanted: {scene.key}. Too small.</think>\n<not_found>too small</not_found>"


def _sft(given: argparse.Namespace, nano: Curriculum, name: str, steps: int, *of: str) -> Sft:
    """of: which lessons, all unless told."""
    sft = nano.stages[0]
    assert isinstance(sft, Sft)
    kept = Kept(episodes=given.out / "lessons", status=("answered", "refused"), stage=of)
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
    return home() / "clips", given.out.absolute() / "stills"


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


def seconds(lines: Sequence[Mapping[str, Any]]) -> float:
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
