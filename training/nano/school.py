"""School: what the student learns with help, before SFT and GRPO: the parts of an episode, then whole ones.

    torchrun --nproc-per-node 2 -m r4agent.training.nano.school START EPISODES OUT --minutes 60

Promises: reading, locating and binding are learnt at once, so that none is forgotten, and then whole episodes
too: of several processes the first mostly reads, and each step's gradients are the mean of all; one alone
takes turns. A run that was killed goes on from its last save, with other samples. Scores on clips and
typefaces that are never trained on go to OUT/scores.jsonl; what comes of it is an ordinary checkpoint,
OUT/checkpoint.
Does not: make episodes; `r4 trajectories --kind closer` does. SFT on those, as of any model, comes next.
"""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import count
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from r4agent.engines import cpu

cpu.prepare()

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch import Tensor  # noqa: E402
from transformers import Qwen2_5_VLForConditionalGeneration  # noqa: E402

from r4agent.engines import Checkpoint  # noqa: E402
from r4agent.errors import MissingError, R4Error, UsageError  # noqa: E402
from r4agent.textworld.fonts import plain_fonts  # noqa: E402
from r4agent.training.nano import losses, scores, tasks  # noqa: E402
from r4agent.training.nano.forward import Forward  # noqa: E402
from r4agent.training.nano.lessons import Lesson, lessons  # noqa: E402
from r4agent.training.nano.losses import Helps  # noqa: E402
from r4agent.training.nano.pool import Pool, draw  # noqa: E402
from r4agent.training.nano.questions import HELD, answered_in, known, unknown  # noqa: E402
from r4agent.training.nano.signs import signs  # noqa: E402
from r4agent.training.nano.student import BUDGET  # noqa: E402
from r4agent.training.weights import complete  # noqa: E402

SCORED, FRAMES, CROPS = 1_900_000_000, 2_000_000_000, 3_000_000_000
"""The first clips for scores, for frames and for crops. Worlds 0 to 1899, which `r4 eval` asks about, come
before; lessons are of `lessons.WORLDS`."""

READ, ALONE, CORNER, BIND, LOCATE, WHOLE, SEARCHES = (
    32,
    48,
    48,
    32,
    18,
    3,
    2,
)  # rows a step, which take about as long
FEWEST = BUDGET.overview_images
SEARCHED = 0.75  # of the batches of whole episodes
EARLY = 0.25  # of the time, in which whole episodes would teach a new student little
TELL, SCORE = 25, 500  # steps
SAMPLE = 256  # for each score


@dataclass
class School:
    """A student with what it learns by, and where its samples come from. held: frames for the scores. share:
    of the usual rows a step, and for the scores."""

    checkpoint: Checkpoint
    model: Any
    helps: Helps
    crops: tasks.Crops
    videos: tasks.Videos
    lessons: list[Lesson]
    held: Pool
    share: float = 1.0

    @cached_property
    def plain(self) -> list[Lesson]:
        """Those whose beginnings other rows go on from."""
        return [lesson for lesson in self.lessons if not lesson.slipped]

    @property
    def parameters(self) -> list[Tensor]:
        return [*self.model.parameters(), *self.helps.parameters()]

    def loss(self, task: str) -> tuple[Tensor, dict[str, float]]:
        """Of one batch of a task, and what there is to tell of it."""
        lesson = self.crops.lot.choice(self.plain)
        match task:
            case "read":
                batch = tasks.read(self.crops, lesson, self.rows(READ), answered=True)
            case "read alone":
                batch = tasks.read(self.crops, lesson, self.rows(ALONE), alone=True, answered=True)
            case "corner":
                batch = tasks.corner(self.crops, lesson, self.rows(CORNER))
            case "locate":
                batch = tasks.locate(self.crops, lesson, self.rows(LOCATE))
            case "bind":
                batch = tasks.bind(self.videos, lesson, self.rows(BIND))
            case "scan":
                batch = tasks.scan(self.videos, lesson, self.rows(BIND))
            case _:
                search = self.crops.lot.random() < SEARCHED
                some = [lesson for lesson in self.lessons if lesson.search == search] or self.lessons
                batch = tasks.whole(
                    self.crops.lot.sample(some, min(len(some), SEARCHES if search else WHOLE))
                )
        return losses.learn(Forward(self.model), self.helps, batch)

    def rows(self, usual: int) -> int:
        """A whole video at least, where they are of videos."""
        return max(round(usual * self.share), FEWEST)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def score(self, n: int) -> dict[str, list[float]]:
        """Of held-out clips, 1 or 0 each. read: a text is read whole, in known and unknown typefaces: those
        whose texts are never learnt, though labels that a search passes by may be in them. label: the letter
        on a tab, or that there is none, and whether it is the one asked for. frame: the frame of a question
        by colour is named. board, place named, text: a box is at most three pixels off at any edge, of the
        sign of that colour, of the sign or its label in that frame."""
        forward, told, lesson = Forward(self.model), {}, self.plain[0]
        for name, fits in (("read", known), ("read, unknown typefaces", unknown)):
            crops = tasks.Crops(signs(count(SCORED), fits), BUDGET, Random(1), reuse=1)
            told[name] = scores.whole(forward, tasks.read(crops, lesson, n))
        crops = tasks.Crops(signs(count(SCORED), unknown), BUDGET, Random(2), reuse=1)
        told["text"] = scores.close(forward, self.helps, tasks.locate(crops, lesson, n), 3)
        crops = tasks.Crops(signs(count(SCORED), unknown), BUDGET, Random(2), reuse=1)
        told["label, unknown typefaces"] = scores.whole(forward, tasks.corner(crops, lesson, n))
        batch = tasks.scan(tasks.Videos(self.held, Random(3)), lesson, n)
        told["place named"] = scores.close(forward, self.helps, batch, 3)
        batch = tasks.bind(tasks.Videos(self.held, Random(3)), lesson, n)
        told["frame"] = scores.named(forward, batch)
        told["board"] = scores.close(forward, self.helps, batch, 3)
        return told


def task_of(rank: int, world: int, step: int, early: bool) -> str:
    """What a process does in a step; early: parts only. One alone takes the turns of two."""
    if world == 1:
        rank, step = step % 2, step // 2
    if early:
        turns: tuple[str, ...] = ("read alone",) if rank == 0 else ("bind", "locate")
    else:
        parts = ("corner", "bind", "corner", "locate", "corner", "scan")  # a label missed is a search lost
        mixed = tuple(task for part in parts for task in (part, "whole"))
        turns = ("read", "read alone") if rank == 0 else mixed
    return turns[step % len(turns)]


@dataclass
class Progress:
    """How far a run is. minutes: how long it takes in all, however often it is begun; taken: how long it had
    taken when this process began, at `since`. early: the share of it without whole episodes. start: a digest
    of what it began with."""

    out: Path
    minutes: float
    early: float
    rate: float
    start: str
    optimizer: torch.optim.Optimizer
    step: int = 0
    taken: float = 0.0
    since: float = 0.0

    def elapsed(self) -> float:
        """Minutes."""
        return self.taken + (time.monotonic() - self.since) / 60

    def share(self) -> float:
        """Of the whole, as the first process has it: all must end after the same step."""
        share = torch.tensor(self.elapsed() / self.minutes)
        if dist.is_initialized():
            dist.broadcast(share, 0)
        return float(share)

    def save(self, school: School) -> None:
        """All that a run goes on from. A kill leaves the save before."""
        state = {
            "model": school.model.state_dict(),
            "helps": school.helps.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "start": self.start,
            "step": self.step,
            "taken": self.elapsed(),
        }
        draft = self.out / "state.part"
        with draft.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.out / "state.pt")

    def resume(self, school: School) -> None:
        """Go on from the last save, if there is one. UsageError where that began with another student."""
        path = self.out / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["start"] != self.start:
            raise UsageError(f"{self.out}: was begun with another student; give another folder, or delete it")
        school.model.load_state_dict(state["model"])
        school.helps.load_state_dict(state["helps"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.taken = state["step"], state["taken"]


def train(school: School, progress: Progress) -> Iterator[dict[str, Any]]:
    """Steps until the time is up; yields what there is to tell of each. The learning rate rises for 60 steps
    and falls to nothing: much of what is learnt arrives as it falls."""
    rank, world = _rank(), dist.get_world_size() if dist.is_initialized() else 1
    progress.since = time.monotonic()
    while (share := progress.share()) < 1:
        task = task_of(rank, world, progress.step, share < progress.early)
        with torch.autocast("cpu", torch.bfloat16, enabled=halves()):
            loss, told = school.loss(task)
        loss.backward()
        if world > 1:
            average(school.parameters)
        torch.nn.utils.clip_grad_norm_(school.parameters, 1.0)
        for group in progress.optimizer.param_groups:
            group["lr"] = progress.rate * min(1, (progress.step + 1) / 60) * (1 - share)
        progress.optimizer.step()
        progress.optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        yield {"step": progress.step, "minutes": round(progress.elapsed(), 2), "task": task, **told}


def halves() -> bool:
    """Whether bfloat16 is faster here than float32: without AVX-512 it takes fifty times as long."""
    return "AVX512" in torch.backends.cpu.get_cpu_capability()


def average(parameters: list[Tensor]) -> None:
    """Gradients become the mean of those of all processes; a weight that one does not use has none there."""
    flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for p, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        p.grad = part.view_as(p)


def export(school: School, folder: Path) -> Path:
    """The ordinary checkpoint that comes of it, without the helps. It appears only when whole."""
    draft = folder.with_name(f".{folder.name}")
    school.model.save_pretrained(draft)
    complete(draft, school.checkpoint)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return folder


def enter(start: str, episodes: Path, frames: Path, clips: int, held: int = 125) -> School:
    """A school for a student, the frames of so many clips drawn, and of `held` to score with. Raises
    MissingError where typefaces are missing, UsageError where episodes are."""
    for fits, which in ((known, "to train on"), (unknown, "to score with")):
        if not any(fits(face.name) for face in plain_fonts()):
            raise MissingError(f"no typefaces {which}: of {', '.join(HELD)} and others, install some of each")
    wanted = {FRAMES: clips, SCORED: held}
    if _rank() == 0:
        for first, many in wanted.items():
            for done in draw(frames, range(first, first + many), BUDGET):
                print(f"{done} of {many} clips drawn", flush=True)
    if dist.is_initialized():
        dist.barrier()
    pool, apart = (Pool.load(frames, range(first, first + many)) for first, many in wanted.items())
    checkpoint, lot = Checkpoint.load(start), Random(f"{_rank()} {time.time()}")
    found = [(stored.item, lesson) for stored, lesson in lessons(episodes, checkpoint)]
    taught = [lesson for item, lesson in found if item and answered_in(item, known)]
    plain = sum(not lesson.slipped for lesson in taught)
    if plain < WHOLE:
        raise UsageError(
            f"{episodes}: only {plain} episodes without slips; r4 trajectories --kind closer makes some"
        )
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint.folder, dtype=torch.float32)
    drawn = signs(iter(lambda: CROPS + lot.randrange(10**9), -1), known)
    crops, videos = tasks.Crops(drawn, BUDGET, lot), tasks.Videos(pool, lot)
    return School(checkpoint, model, Helps(checkpoint), crops, videos, taught, apart)


@contextmanager
def alone(out: Path, rank: int) -> Iterator[None]:
    """One run at a time: processes that a killed launcher left behind go on, and would write here too."""
    with (out / f"lock{rank}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{out}: another run is at it still; end that first") from error
        yield


def _rank() -> int:
    return int(dist.get_rank()) if dist.is_initialized() else 0


def _arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(
        prog="python -m r4agent.training.nano.school", description=(__doc__ or "").split("\n")[0]
    )
    made.add_argument("start", help="a folder that make_student wrote, or a checkpoint that came of it")
    made.add_argument("episodes", type=Path, help="a store of trajectories of the kind `closer`")
    made.add_argument("out", type=Path)
    made.add_argument("--minutes", type=float, default=60)
    made.add_argument(
        "--early",
        type=float,
        default=EARLY,
        help="the share without whole episodes; 0 for one that grew",
    )
    made.add_argument("--rate", type=float, default=1.5e-3, help="the highest learning rate")
    made.add_argument("--frames", type=Path, help="the folder of drawn frames, else OUT/frames")
    made.add_argument("--clips", type=int, default=2500, help="whose frames are drawn")
    made.add_argument(
        "--share", type=float, default=1, help="of the usual rows a step, where 4 GB a process are too many"
    )
    made.add_argument("--save", type=int, default=100, help="steps from one save to the next")
    return made.parse_args()


def main() -> None:
    try:
        _attend(_arguments())
    except R4Error as error:
        sys.exit(f"school: {error}")


def _attend(given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)  # the helps are to begin as the same in each process
    if "RANK" in os.environ:
        dist.init_process_group("gloo", timeout=timedelta(hours=6))  # while the first draws frames
    given.out.mkdir(parents=True, exist_ok=True)
    with alone(given.out, _rank()):
        school = enter(given.start, given.episodes, given.frames or given.out / "frames", given.clips)
        school.share = given.share
        weights = (Path(given.start) / "model.safetensors").read_bytes()
        optimizer = torch.optim.AdamW(school.parameters, given.rate, betas=(0.9, 0.98), weight_decay=0.02)
        start = hashlib.sha256(weights).hexdigest()
        progress = Progress(given.out, given.minutes, given.early, given.rate, start, optimizer)
        progress.resume(school)
        _run(school, progress, given.save)


def _run(school: School, progress: Progress, save: int) -> None:
    """Train, and write down how it goes."""
    out, rank = progress.out, _rank()
    with (out / f"steps{rank}.jsonl").open("a") as log, (out / "scores.jsonl").open("a") as scored:
        for told in train(school, progress):
            print(json.dumps(told), file=log, flush=True)
            if rank:
                continue
            if progress.step % TELL == 0:
                print(f"{told['minutes']:.1f} of {progress.minutes:.0f} min, step {told['step']}", flush=True)
            if progress.step % save == 0:
                progress.save(school)
            if progress.step % SCORE == 0:
                print(json.dumps({"step": progress.step, **_means(school)}), file=scored, flush=True)
        if rank == 0:
            print(json.dumps({"step": progress.step, **_means(school)}), file=scored, flush=True)
            progress.save(school)
            print(export(school, out / "checkpoint"))


def _means(school: School) -> dict[str, float]:
    return {key: round(fmean(values), 4) for key, values in school.score(school.rows(SAMPLE)).items()}


if __name__ == "__main__":
    main()
