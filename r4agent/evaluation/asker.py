"""The asker: one question after another through the product's own graph, each scored and written down.

Promises: every question ends in a row; what goes wrong with one is that row's `error`. Seconds are those of
a run with nothing read before, whatever the reader's cache knew.
Does not: choose questions or share work out.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from r4agent.budget import Budget
from r4agent.episode import Episode
from r4agent.errors import MissingError, R4Error, UsageError, one_line
from r4agent.evaluation.answers import score_answer
from r4agent.evaluation.questions import media_of
from r4agent.evaluation.results import Row, write_row
from r4agent.evaluation.sight import score_sight
from r4agent.evaluation.subject import Subject
from r4agent.evidence import Evidence
from r4agent.graphs import create_rumination_graph, create_single_pass_graph
from r4agent.graphs.rumination import Graph
from r4agent.graphs.state import RuminationInput
from r4agent.item import Item
from r4agent.log import Log
from r4agent.media.store import MediaStore, home
from r4agent.media.view import Picture, pictures_in
from r4agent.policy import resolve
from r4agent.reader import Reader


class Asker:
    """Asks a subject. path: the result file. threads: of the reader, None for every core.

    Raises MissingError when the reader, or the policy, is not installed.
    """

    def __init__(self, subject: Subject, path: Path, *, threads: int | None = None) -> None:
        self.subject = subject
        self.log = Log(path)
        self.store = MediaStore()
        self.reader = Reader(cache=home() / "read", threads=threads)
        self.policy = resolve(subject.policy, store=self.store, reader=self.reader, profile=subject.speaks)
        self._graph = lru_cache(maxsize=8)(self._make_graph)

    def ask(self, item: Item, budget: Budget) -> Row:
        """Ask, score, and write the row down."""
        self.reader.forget()
        common: dict[str, Any] = {
            "id": item.id,
            "media": item.media,
            "question": item.question,
            "answers": item.answers,
            "category": str(item.meta.get("category") or item.meta.get("kind") or "all"),
        }
        state: dict[str, Any] = {}
        try:
            question: RuminationInput = {
                "media": media_of(item, home() / "clips"),
                "question": item.question,
                "choices": list(item.choices),
            }
            for values in self._graph(budget).stream(question, stream_mode="values"):
                state = dict(values)
            row = Row(**common, status=state["status"], episode=state["episode"], **self._scored(item, state))
        except MissingError:
            raise
        except Exception as error:  # one question's failure, even by a bug, must not cost the others
            kind = "" if isinstance(error, R4Error) else f"{type(error).__name__}: "
            known = {"episode": state.get("episode", ""), "error": kind + one_line(error)}
            row = Row(**common, status="failed", **known)
        write_row(self.log, row)
        return row

    def _scored(self, item: Item, state: dict[str, Any]) -> dict[str, Any]:
        episode = Episode.read(state["episode"])
        answer, evidence = state["answer"], [Evidence(**place) for place in state["evidence"]]
        views = [picture.view for picture in self._true_pictures(episode)]
        _check_spans(item, episode)
        scores = score_answer(item, answer, state["status"])
        scores |= score_sight(item, views, evidence, answered=answer is not None)
        pixels = sum(picture.view.size.pixels for picture in episode.pictures)
        cost = state["usage"] | {"megapixels": pixels / 1e6}
        cost["seconds"] += self.reader.saved
        return {"answer": answer, "supported": state["supported"], "scores": scores, "cost": cost}

    def _true_pictures(self, episode: Episode) -> tuple[Picture, ...]:
        """Those that show what their recipe says: with blank crops, the overview."""
        if self.subject.control != "blank-crop":
            return episode.pictures
        return tuple(pictures_in(line["content"] for line in episode.messages if line["role"] == "human"))

    def _make_graph(self, budget: Budget) -> Graph:
        subject = self.subject
        if subject.looks_once:
            return create_single_pass_graph(
                self.policy, budget=budget, profile=subject.speaks, reader=self.reader, store=self.store
            )
        assert subject.control != "equal-pixels"
        return create_rumination_graph(
            self.policy,
            budget=budget,
            profile=subject.speaks,
            reader=self.reader,
            store=self.store,
            control=subject.control,
        )


def _check_spans(item: Item, episode: Episode) -> None:
    """Refuse evidence that the media can't have, such as page 9 of 2: it would score 0 without a word."""
    media = episode.header["media"]
    last = (episode.pictures[0].view.time or 0.0) + (media["duration"] or 0.0)  # or earlier
    for span in item.evidence:
        if span.unit == "page" and span.end > media["count"]:
            raise UsageError(f"item {item.id}: page {span.end:g} of {media['count']}; mend the item")
        if span.unit == "seconds" and media["duration"] and span.start > last:
            raise UsageError(
                f"item {item.id}: {span.start:g} s, and the video ends at {last:.2f} s; mend the item"
            )
