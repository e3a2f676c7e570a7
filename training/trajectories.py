"""Trajectories: episodes that teach, made from items whose evidence is known.

    questions = of_textworld(level=0, n=100, seed=1)
    made = trajectories(questions, "runs/start", EpisodeStore("data"), "deliberate")

Promises: each is a run of the real graph, in the student's tokens and boxes; it is kept only if a picture
that was asked for holds the answer's box, at a moment when it stands there and large enough to read
(`r4agent.evaluation.sight`), and the answer is right. The same items, seed, slips and budget give the same
tokens and pictures. What was not kept is counted, with why. A store has one trajectory of an item and kind,
with slips or without, so that a run that was killed goes on where it was.
Does not: look for evidence: an item without a box is counted and left out.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from r4agent.budget import Budget
from r4agent.engines import Checkpoint
from r4agent.episode import Episode
from r4agent.errors import MediaError, MissingError, UsageError
from r4agent.evaluation.answers import score_answer
from r4agent.evaluation.questions import Questions, media_of
from r4agent.evaluation.sight import score_sight
from r4agent.graphs import create_rumination_graph
from r4agent.item import Item
from r4agent.media.store import MediaStore, home
from r4agent.training.looks import looks
from r4agent.training.plans import PLANS, Dictation, Kind, Plan
from r4agent.training.scene import Scene
from r4agent.training.slips import slipping
from r4agent.training.store import EpisodeStore, Stored
from r4agent.training.teacher import Teacher

ENDED = ("answered", "forced")
"""How a trajectory may end. forced: on the last turn, to which only slips may have brought it."""


@dataclass
class Made:
    """items: asked about. there: of them, those that the store had one of already. kept: those that got one.
    plans: of the kept. dropped: attempts that were not kept, by plan and reason; an item is tried with each
    plan of its kind until one is kept."""

    items: int = 0
    there: int = 0
    kept: int = 0
    plans: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


def trajectories(
    questions: Questions,
    model: str,
    out: EpisodeStore,
    kind: Kind,
    *,
    slips: float = 0.0,
    seed: int = 0,
    budget: Budget | None = None,
    store: MediaStore | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """One trajectory of each item, into `out`, as of the stage `kind`. model: the student's checkpoint, of
    which only the tokenizer and the profile are used, and the budget where none is given. slips: the chance
    that a reply is said wrong first, and mended; see `r4agent.training.slips`. progress: called with items
    done and in all."""
    if not 0 <= slips < 1:
        raise UsageError(f"slips {slips}: the chance that a reply goes wrong first, from 0 to less than 1")
    desk = _Desk(model, out, kind, slips, budget or Checkpoint.load(model).budget, store or MediaStore())
    made = Made()
    there = {stored.item.id for stored in stored_as(out, kind) if stored.item}
    for item in questions.items:
        if progress:
            progress(made.items, len(questions.items))
        made.items += 1
        if item.id in there:
            made.there += 1
        else:
            made.kept += desk.take(item, Random(f"trajectory {kind} {seed} {item.id}"), made)
    if progress:
        progress(made.items, len(questions.items))
    return made


def stored_as(out: EpisodeStore, stage: str) -> Iterator[Stored]:
    """What a store has that was made for a stage; nothing where there is no store yet."""
    try:
        return out.select(stage=[stage])
    except MissingError:  # nothing was ever added
        return iter(())


@dataclass
class _Desk:
    """Where items are taken up, one after another."""

    model: str
    out: EpisodeStore
    kind: Kind
    slips: float
    budget: Budget
    store: MediaStore

    def take(self, item: Item, lot: Random, made: Made) -> bool:
        """Try the plans of the kind in an order drawn by lot, until one is kept."""
        if why := _unknown(item):
            made.dropped[why] += 1
            return False
        for plan in lot.sample(PLANS[self.kind], len(PLANS[self.kind])):
            with tempfile.TemporaryDirectory(prefix="r4-") as logs:
                try:
                    episode = self._run(item, plan, lot, Path(logs))
                    why = _wrong(item, episode, ENDED if self.slips else ENDED[:1])
                except (UsageError, MediaError) as error:  # Unfit, mostly; of this item, not of the next
                    why = str(error)
                if not why:
                    self.out.add(episode, stage=self.kind, item=item)
                    made.plans[plan.__name__] += 1
                    return True
            made.dropped[f"{plan.__name__}: {why}"] += 1
        return False

    def _run(self, item: Item, plan: Plan, lot: Random, logs: Path) -> Episode:
        scene = Scene(item, Checkpoint.load(self.model).profile, lot)
        graph = create_rumination_graph(
            Teacher(model=self.model, plan=Dictation(slipping(plan, self.slips), scene)),
            budget=self.budget,
            store=self.store,
            episodes=logs,
        )
        media = media_of(item, home() / "clips")
        done = graph.invoke({"media": media, "question": item.question, "choices": list(item.choices)})
        return Episode.read(done["episode"])


def _unknown(item: Item) -> str:
    """Why nothing can be taught on an item, if so."""
    if not item.answers:
        return "no answer is known"
    return "" if any(span.box for span in item.evidence) else "it is not known where the answer stands"


def _wrong(item: Item, episode: Episode, ended: tuple[str, ...]) -> str:
    """Why an episode is not to be learnt from, if so. ended: how it may have."""
    end = episode.end
    if end is None or end["status"] not in ended:
        return f"it ended {end['status'] if end else 'early'}: give a larger budget"
    if score_answer(item, end["answer"], end["status"])["exact_match"] != 1:
        return "the answer is wrong"
    asked_for = [picture.view for look in looks(episode) for picture in look.pictures]
    if not score_sight(item, asked_for, [], answered=False)["evidence_recall"]:
        return "no picture asked for shows the answer"
    return ""
