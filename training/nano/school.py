"""School: what the student learns before it has ever seen an episode.

    torchrun --nproc-per-node 2 -m r4agent.training.nano.school START OUT --minutes 90

Promises: reading, locating and binding are learnt at once, so that none is forgotten: of several processes
the first reads, the others bind and locate, and each step's gradients are the mean of all. A run that was
killed goes on from its last save with other samples. How it does on held-out seeds, and typefaces that it
has never seen, goes to OUT/scores.jsonl; what comes of it is an ordinary checkpoint, OUT/checkpoint.
Does not: make episodes. SFT on those, as of any model, comes next in the curriculum.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from r4agent.engines import cpu

cpu.prepare()

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch import Tensor  # noqa: E402
from transformers import Qwen2_5_VLForConditionalGeneration  # noqa: E402

from r4agent.engines import Checkpoint  # noqa: E402
from r4agent.training.nano import losses, pool, tasks  # noqa: E402
from r4agent.training.nano.forward import Forward  # noqa: E402
from r4agent.training.nano.losses import Helps  # noqa: E402
from r4agent.training.nano.signs import signs  # noqa: E402
from r4agent.training.nano.student import BUDGET  # noqa: E402
from r4agent.training.weights import complete  # noqa: E402

HELD = ("Carlito", "Hack", "Inter", "Liberation Serif", "Open Sans")
"""Families of typefaces that are never trained on."""
HELD_SEED = 1_900_000_000
"""Clips from here on are for scores; those of worlds 0 to 1899, which `r4 eval` asks about, come before."""
SEED = 2_000_000_000
"""Clips from here on are trained on."""

READ, BIND, LOCATE = 64, 32, 24  # rows a step
TELL, SCORE = 25, 500  # steps


@dataclass
class School:
    """A student with what it learns by, and where its samples come from."""

    checkpoint: Checkpoint
    model: Any
    helps: Helps
    crops: tasks.Crops
    frames: tasks.Frames

    def loss(self, task: str) -> tuple[Tensor, dict[str, float]]:
        """Of one batch of a task, and what there is to tell of it."""
        forward = Forward(self.model)
        match task:
            case "read":
                batch = tasks.read(self.checkpoint, self.crops, READ)
            case "locate":
                batch = tasks.locate(self.checkpoint, self.crops, LOCATE)
            case _:
                batch = tasks.bind(self.checkpoint, self.frames, BIND)
        return losses.learn(forward, self.helps, batch)

    def scores(self, n: int = 256) -> dict[str, float]:
        """Of held-out clips. read: the share of texts that are read whole, in known and in unknown typefaces.
        frame: of questions whose frame is named. board, text: of boxes at most three pixels off at any
        edge."""
        with torch.no_grad():
            told = self._scores(Forward(self.model), n)
        return {key: round(value, 4) for key, value in told.items()}

    def _scores(self, forward: Forward, n: int) -> dict[str, float]:
        told: dict[str, float] = {}
        for name, fits in (("read", known), ("read, unknown typefaces", unknown)):
            found = tasks.Crops(signs(count(HELD_SEED), fits), BUDGET, Random(1), reuse=1)
            told[name] = losses.whole(forward, tasks.read(self.checkpoint, found, n))
        found = tasks.Crops(signs(count(HELD_SEED), unknown), BUDGET, Random(2), reuse=1)
        told["text"] = losses.near(forward, self.helps, tasks.locate(self.checkpoint, found, n), 3)
        batch = tasks.bind(self.checkpoint, self.frames.others(), n)
        told["frame"] = losses.named(forward, batch)
        told["board"] = losses.near(forward, self.helps, batch, 3)
        return told


def known(font: str) -> bool:
    return not unknown(font)


def unknown(font: str) -> bool:
    return font.startswith(HELD)


def task_of(rank: int, world: int, step: int) -> str:
    """What a process does in a step. One alone does each in turn."""
    if world == 1:
        return ("read", "bind", "read", "locate")[step % 4]
    return "read" if rank == 0 else ("bind", "bind", "locate")[step % 3]


@dataclass
class Term:
    """One run of school. minutes: how long it is to last in all, however often it is begun. before: how long
    it had lasted when this process began, at `started`."""

    out: Path
    minutes: float
    rate: float
    optimizer: torch.optim.Optimizer
    step: int = 0
    before: float = 0.0
    started: float = 0.0

    @property
    def lasted(self) -> float:
        """Minutes."""
        return self.before + (time.monotonic() - self.started) / 60

    def share(self) -> float:
        """Of the term, as the first process has it: all must end after the same step."""
        share = torch.tensor(self.lasted / self.minutes)
        if dist.is_initialized():
            dist.broadcast(share, 0)
        return float(share)

    def save(self, school: School) -> None:
        """All that a run goes on from. A kill leaves the save before."""
        state = {
            "model": school.model.state_dict(),
            "helps": school.helps.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "lasted": self.lasted,
        }
        part = self.out / "state.part"
        torch.save(state, part)
        part.replace(self.out / "state.pt")

    def resume(self, school: School) -> None:
        path = self.out / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        school.model.load_state_dict(state["model"])
        school.helps.load_state_dict(state["helps"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.before = state["step"], state["lasted"]


def attend(school: School, term: Term) -> Iterator[dict[str, Any]]:
    """Steps until the term is over; yields what there is to tell of each. The learning rate rises for 60
    steps and falls to nothing: much of what is learnt arrives as it falls."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    world = dist.get_world_size() if dist.is_initialized() else 1
    parameters = [*school.model.parameters(), *school.helps.parameters()]
    term.started = time.monotonic()
    while (share := term.share()) < 1:
        task = task_of(rank, world, term.step)
        with torch.autocast("cpu", torch.bfloat16):
            loss, told = school.loss(task)
        loss.backward()
        if world > 1:
            average(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in term.optimizer.param_groups:
            group["lr"] = term.rate * min(1, (term.step + 1) / 60) * (1 - share)
        term.optimizer.step()
        term.optimizer.zero_grad(set_to_none=True)
        term.step += 1
        yield {"step": term.step, "minutes": round(term.lasted, 2), "task": task, **told}


def average(parameters: list[Tensor]) -> None:
    """Gradients become the mean of those of all processes; a weight that one does not use has none there."""
    flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for p, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        p.grad = part.view_as(p)


def graduate(school: School, folder: Path) -> Path:
    """The ordinary checkpoint that comes of it, without the helps."""
    school.model.save_pretrained(folder)
    complete(folder, school.checkpoint)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m r4agent.training.nano.school", description=__doc__.split("\n")[0]
    )
    parser.add_argument("start", help="a folder that make_student wrote, or a checkpoint that came of it")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="the highest learning rate")
    parser.add_argument("--frames", type=Path, help="the folder of the pool, else OUT/frames")
    parser.add_argument("--clips", type=int, default=2500, help="of whose frames the pool is made")
    parser.add_argument("--save", type=int, default=100, help="steps from one save to the next")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # the helps are to begin as the same in each process
    rank = int(os.environ.get("RANK", "0"))
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    given.out.mkdir(parents=True, exist_ok=True)
    frames = given.frames or given.out / "frames"
    if rank == 0:
        for done in pool.build(frames, given.clips, SEED - given.clips, BUDGET):
            print(f"{done} clips of {given.clips} drawn", flush=True)
    if dist.is_initialized():
        dist.barrier()
    checkpoint, lot = Checkpoint.load(given.start), Random(f"{rank} {time.time()}")
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint.folder)
    found = signs(iter(lambda: SEED + lot.randrange(10**9), -1), known)
    crops = tasks.Crops(found, BUDGET, lot)
    school = School(checkpoint, model, Helps(checkpoint), crops, tasks.Frames(pool.Pool.load(frames), lot))
    parameters = [*school.model.parameters(), *school.helps.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=given.rate, betas=(0.9, 0.98), weight_decay=0.02)
    term = Term(given.out, given.minutes, given.rate, optimizer)
    term.resume(school)
    with (
        (given.out / f"steps{rank}.jsonl").open("a") as log,
        (given.out / "scores.jsonl").open("a") as scores,
    ):
        for told in attend(school, term):
            print(json.dumps(told), file=log, flush=True)
            if rank == 0 and term.step % TELL == 0:
                print(f"{told['minutes']:6.1f} of {given.minutes:.0f} min, step {term.step}", flush=True)
            if rank == 0 and term.step % given.save == 0:
                term.save(school)
            if rank == 0 and term.step % SCORE == 0:
                print(json.dumps({"step": term.step, **school.scores()}), file=scores, flush=True)
        if rank == 0:
            print(json.dumps({"step": term.step, **school.scores()}), file=scores, flush=True)
            term.save(school)
            print(graduate(school, given.out / "checkpoint"))


if __name__ == "__main__":
    main()
