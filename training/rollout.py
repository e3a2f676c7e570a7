"""Rollouts: groups of episodes through the product's own graph, sampled by the model that is being trained.

Promises: the graph, its tools, its budget and its log are those that answer questions; all rollouts of a step
run at once, share an engine and the decoding of their media, and are the same in every run with this seed
(`r4agent.training.lockstep`). One that fails is counted and leaves the others alone.
Does not: reward or train; the trainer does.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from r4agent.budget import Budget
from r4agent.engines import Engine
from r4agent.episode import Episode
from r4agent.errors import R4Error, RunError, one_line
from r4agent.evaluation.questions import media_of
from r4agent.graphs import create_rumination_graph
from r4agent.graphs.rumination import Graph
from r4agent.graphs.state import RuminationInput
from r4agent.item import Item
from r4agent.media.store import MediaStore, home
from r4agent.policy.chat import ChatR4
from r4agent.reader import Reader
from r4agent.training.lockstep import Lockstep

T = TypeVar("T")
TIMEOUT = 3600.0  # seconds for a reply: in lockstep it waits for the slowest neighbour's pictures too


@dataclass(frozen=True, slots=True)
class Rollout:
    """One try at an item. episode: its log; of one that failed as much as there is, maybe none. error: what
    it failed with; empty for one that came to an end."""

    item: Item
    episode: Episode | None
    error: str = ""

    @property
    def cut(self) -> bool:
        """Whether a limit of the budget ended it without an answer."""
        return not self.error and self.episode is not None and self.episode.status == "budget"


class Rollouts:
    """Tries at items, in steps.

    folder: where the logs go, `folder/step-00001/` those of the first step. budget: of a rollout; its
    seconds count only where they were set, since a rollout waits for its neighbours. seed: of the run.
    max_tokens: of one reply. reader: checks answers against their evidence, as when asking; None leaves it
    unchecked.
    refresh: gives the engine the model's newest weights; is called before each step. first: the number of
    the first seat, where several processes each roll out a part.
    """

    def __init__(
        self,
        engine: Engine,
        store: MediaStore,
        *,
        folder: Path,
        budget: Budget,
        seed: int = 0,
        max_tokens: int = 1024,
        reader: Reader | None = None,
        refresh: Callable[[], None] = lambda: None,
        first: int = 0,
    ) -> None:
        self.lockstep = Lockstep(engine, seed=seed)
        if "seconds" not in budget.model_fields_set:
            budget = budget.model_copy(update={"seconds": TIMEOUT * budget.turns})
        self.store, self.folder, self.budget, self.reader = store, folder, budget, reader
        self.refresh, self.first = refresh, first
        self.policy = ChatR4(
            model=engine.checkpoint.name,
            engine=self.lockstep,
            temperature=1.0,
            top_p=1.0,
            max_tokens=max_tokens,
            timeout=TIMEOUT,
        )

    def __call__(self, items: Sequence[Item], step: int) -> list[Rollout]:
        """One rollout of each item, in their order; a group is an item several times. Raises RunError when
        all fail."""
        self.refresh()
        rollouts = _run(self._all(items, step))
        if all(rollout.error for rollout in rollouts):
            raise RunError(
                f"step {step}: all {len(rollouts)} rollouts failed, the first with: {rollouts[0].error}"
            )
        return rollouts

    async def _all(self, items: Sequence[Item], step: int) -> list[Rollout]:
        graph = create_rumination_graph(
            self.policy,
            budget=self.budget,
            reader=self.reader,
            store=self.store,
            episodes=step_folder(self.folder, step),
        )
        self.lockstep.begin(step, range(self.first, self.first + len(items)))
        tries = [self._one(graph, seat, item) for seat, item in enumerate(items, start=self.first)]
        return await asyncio.gather(*tries)

    async def _one(self, graph: Graph, seat: int, item: Item) -> Rollout:
        path, error = "", ""
        with self.lockstep.seat(seat):
            try:
                question: RuminationInput = {
                    "media": media_of(item, home() / "clips"),
                    "question": item.question,
                    "choices": list(item.choices),
                }
                async for values in graph.astream(question, stream_mode="values"):
                    path = values.get("episode", path)
            except R4Error as failure:
                error = one_line(failure)
        return await asyncio.to_thread(_rollout, item, path, error)


def _rollout(item: Item, path: str, error: str) -> Rollout:
    """What a try came to. One that failed before its opening was made has no log."""
    return Rollout(item, Episode.read(path) if path and Path(path).is_file() else None, error)


def step_folder(folder: Path, step: int) -> Path:
    """Where the logs of a step's rollouts are."""
    return folder / f"step-{step:05d}"


def _run(work: Coroutine[Any, Any, T]) -> T:
    """To its end, also where an event loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
