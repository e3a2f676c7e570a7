"""The kit: what the nodes of one graph share, and what follows from it alone.

Promises: an episode that fails says so in its log, and nothing of it stays open, however the node is left.
Does not: talk to the policy.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langgraph.errors import GraphBubbleUp

from r4agent import protocol
from r4agent.budget import Spent
from r4agent.errors import one_line
from r4agent.graphs.controls import Control
from r4agent.graphs.dialogue import signature
from r4agent.graphs.journal import Journal, Journals
from r4agent.graphs.optics import Optics
from r4agent.graphs.sources import Sources
from r4agent.graphs.state import RuminationState
from r4agent.media import Source
from r4agent.media.roots import Roots
from r4agent.policy.resolve import described, sampling
from r4agent.reader import Reader
from r4agent.tools import TOOLS


@dataclass(kw_only=True)
class Kit(Optics):
    """policy: the chat model. `ruminates` False makes it look once, without tools. control: how looking is
    spoilt, if it is. roots: where media may lie, if not anywhere."""

    policy: BaseChatModel
    sources: Sources
    episodes: Path
    reader: Reader | None
    ruminates: bool = True
    control: Control | None = None
    roots: Roots | None = None
    journals: Journals = field(default_factory=Journals)
    signatures: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        tools = TOOLS.items() if self.ruminates else ()
        self.signatures = [signature(name, arguments) for name, arguments in tools]

    def closing(self, spent: Spent) -> str:
        """What an observation ends with: the demand for an answer, when the next turn is the last."""
        return protocol.LAST_TURN if self.ruminates and self.budget.last(spent) else ""

    def source(self, state: RuminationState) -> AbstractContextManager[Source]:
        """The episode's media, open for as long as the block lasts."""
        return self.sources.lease(state["episode"], state["media"], source_id=state["source"])

    def journal(self, state: RuminationState) -> Journal:
        """The episode's journal, at the point that the state has reached."""
        return self.journals.open(state["episode"], state.get("messages", []))

    def close(self, episode: str) -> None:
        """Let go of what is held of an episode: it has ended."""
        self.sources.close(episode)
        self.journals.close(episode)

    @contextmanager
    def failing(self, state: RuminationState) -> Iterator[None]:
        """Around a node's work: an error is logged as the episode's end, then raised. A resumed run goes on
        in the same file, and its end replaces this one."""
        with self.closing_on_error(state["episode"]):
            try:
                yield
            except GraphBubbleUp:  # an interrupt, not an error
                raise
            except Exception as error:
                end: dict[str, Any] = {
                    "answer": None,
                    "status": "failed",
                    "supported": "unchecked",
                    "evidence": [],
                }
                journal = self.journal(state)
                if journal.log.get("episode"):  # else the opening failed, and there is no episode yet
                    journal.end(end | {"usage": state["usage"], "error": one_line(error)})
                raise

    @contextmanager
    def closing_on_error(self, episode: str) -> Iterator[None]:
        """Close the episode when the block is left by an error, a cancellation or an interrupt."""
        try:
            yield
        except BaseException:
            self.close(episode)
            raise

    def settings(self) -> dict[str, Any]:
        """What an episode's header says of the graph."""
        return super().settings() | {
            "policy": self.policy._llm_type,
            "model": described(self.policy),
            "token_exact": getattr(self.policy, "token_exact", False),
            "sampling": sampling(self.policy),
            "tools": sorted(TOOLS) if self.ruminates else [],
            "control": self.control,
            "reader": self.reader.name if self.reader else None,
        }
