"""What the curiosity reward does where some questions can be answered without looking again.

    python benchmarks/nano_curiosity.py nano/school/checkpoint nano/data nano/world --out nano/curiosity

Half of the questions are of clips, whose signs can't be read in the overview; half of pictures cut from
clips, around what a sign says, which can. A policy that was taught to zoom and to answer at once, each on
both, is trained by GRPO twice: paid for answer and format, and for curiosity (R_cur) besides.

Promises: both runs begin with the same weights; all three are asked the same held-out questions by real
vLLM. Killed and run again, it goes on. The last line is JSON: {taught | without | with: {clips | pictures:
{exact_match, ci95, looked, n}}}; looked is the share that was shown more than the overview.
Does not: search for constants. R_cur has Pixel Reasoner's, but that two calls are free: a sign needs two.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from nano_single import teach
from PIL import Image

from r4agent.episode import Episode
from r4agent.evaluation import Questions, Subject, evaluate, of_textworld
from r4agent.evaluation.statistics import mean
from r4agent.evaluation.subject import machine
from r4agent.geometry import Box
from r4agent.graphs import create_rumination_graph
from r4agent.item import Item, Span, read_items, write_items
from r4agent.policy.chat import ChatR4
from r4agent.progress import counter
from r4agent.training.curriculum import Asked, Curriculum, Grpo, Kept, Sft
from r4agent.training.looks import looks
from r4agent.training.nano.signs import crop, signs
from r4agent.training.nano.student import BUDGET
from r4agent.training.stages import run
from r4agent.training.store import EpisodeStore
from r4agent.training.trajectories import trajectories

SEED = 73  # of the world that is held out
MOST = 150  # tokens of a reply
CLIP, PICTURE = "sign by colour", "sign on a picture"
SMALL = BUDGET.model_copy(update={"picture_tokens": BUDGET.overview_tokens})  # so that the overview shows all
MARGINS = (0.6, 1.0)  # around what is written, in heights of it
REWARDS: dict[str, dict[str, Any]] = {
    "without": {"accuracy": 1.0, "format": 0.1},
    "with": {"accuracy": 1.0, "format": 0.1, "curiosity": {"weight": 1.0, "N": 2}},
}


def main() -> None:
    given = _arguments()
    nano = Curriculum.read(given.curriculum)
    sft, grpo = nano.stages[0], nano.stages[1]
    _lessons(given)
    write_items(given.out / "asked.jsonl", _mixed(_of(given.world)[-given.lessons :], given.out))
    assert isinstance(sft, Sft)
    assert isinstance(grpo, Grpo)
    taught = sft.model_copy(
        update={
            "name": "taught",
            "data": Kept(episodes=given.out / "lessons"),
            "settings": sft.settings | {"max_steps": given.sft, "learning_rate": 1e-4},
        }
    )
    told = {"taught": _trained(given, nano, given.checkpoint, taught)}
    data = Asked(questions=str(given.out / "asked.jsonl"), root=(given.world,))
    for name, rewards in REWARDS.items():
        settings = grpo.settings | {"max_steps": given.grpo}
        stage = grpo.model_copy(update={"name": name, "data": data, "rewards": rewards, "settings": settings})
        told[name] = _trained(given, nano, told["taught"], stage)
    asked = _held_out(given.n, given.out)
    table = {name: _told(asked, checkpoint, given.out / name) for name, checkpoint in told.items()}
    print(json.dumps({"machine": machine(), **table}))


def _arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("checkpoint", help="out of school")
    made.add_argument("episodes", type=Path, help="a store of trajectories of the kind `closer`")
    made.add_argument("world", type=Path, help="a folder with clips and colour.jsonl")
    made.add_argument("--curriculum", default="examples/curricula/nano.yaml", help="whose settings hold")
    made.add_argument("--out", type=Path, default=Path("nano/curiosity"))
    made.add_argument("--lessons", type=int, default=150, help="of each of the four kinds")
    made.add_argument("--n", type=int, default=200, help="held-out questions, half of them on pictures")
    made.add_argument("--sft", type=int, default=60, help="steps")
    made.add_argument("--grpo", type=int, default=12, help="steps")
    return made.parse_args()


def _of(world: Path) -> list[Item]:
    """Questions by colour, their clips by whole paths."""
    items = read_items(world / "colour.jsonl")
    return [item.model_copy(update={"media": str((world / item.media).absolute())}) for item in items]


def _lessons(given: argparse.Namespace) -> None:
    """Of clips and of pictures, with zooms and at once, as many of each."""
    store, checkpoint, n = EpisodeStore(given.out / "lessons"), given.checkpoint, given.lessons
    closer = [one for one in EpisodeStore(given.episodes).select(stage=["closer"]) if one.item][:n]
    for one in closer:
        store.add(one.episode, stage="closer", item=one.item)
    items = _of(given.world)[:n]
    pictures = [_cut(item, given.out) for item in items]
    trajectories(Questions("pictures", tuple(pictures), 0), checkpoint, store, "closer")
    sizes = [BUDGET.overview_tokens]
    teach([*items, *pictures], checkpoint, store, sizes, create_rumination_graph)


def _cut(item: Item, out: Path) -> Item:
    """The same question of a picture that shows what it asks for, and little else."""
    [sign] = [sign for sign in signs([item.meta["seed"]]) if sign.colour == item.meta["colour"]]
    shown = crop(sign, sign.box, MARGINS, SMALL, Random(item.id))
    path = (out / "pictures" / f"{item.id}.png").absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(shown.pixels).save(path)
    height, width = shown.pixels.shape[:2]
    box = shown.text.overlap(Box(0, 0, width, height, "shown"))
    assert box is not None
    return Item(
        id=f"{item.id}-picture",
        media=str(path),
        question=item.question,
        answers=item.answers,
        evidence=(Span(start=1, end=1, unit="page", box=box.corners),),
        meta={"kind": PICTURE, "colour": sign.colour, "panel": [0, 0, width, height]},
    )


def _mixed(items: Sequence[Item], out: Path) -> list[Item]:
    """The first half as they are, the others of pictures."""
    half = len(items) // 2
    return [*items[:half], *(_cut(item, out) for item in items[half:])]


def _held_out(n: int, out: Path) -> Questions:
    asked = [item for item in of_textworld(0, 2 * n, SEED).items if item.meta["kind"] == CLIP][:n]
    return Questions("clips and pictures", tuple(_mixed(asked, out)), SEED)


def _trained(given: argparse.Namespace, nano: Curriculum, start: str, stage: Sft | Grpo) -> str:
    """The checkpoint that comes of one stage."""
    changes = {"model": start, "out": given.out / stage.name, "stages": (stage,), "evaluation": None}
    [done] = run(nano.model_copy(update=changes), resume=True, watch=counter)
    return done.checkpoint


def _told(asked: Questions, checkpoint: str, out: Path) -> dict[str, Any]:
    subject = Subject(ChatR4(model=checkpoint, engine="vllm", max_tokens=MOST))
    with counter(f"questions after {out.name}") as step:
        done = evaluate(asked, subject, out=out, resume=True, workers=8, progress=step)
    told = {}
    for name, kind in (("clips", CLIP), ("pictures", PICTURE)):
        rows = [row for row in done.scored if row.category == kind]
        value, *ci95 = mean([row.scores["exact_match"] or 0 for row in rows])[:3]
        looked = [any(look.done for look in looks(Episode.read(row.episode))) for row in rows]
        told[name] = {"exact_match": value, "ci95": ci95, "looked": sum(looked) / len(rows), "n": len(rows)}
    print(f"{out.name}: {told}", flush=True)
    return told


if __name__ == "__main__":
    main()
