"""A Row: one episode as the tokens its policy saw and wrote. What SFT and GRPO train on.

Promises: ids are the episode's own, never rendered again from text; a row knows which reply each of them was
sampled in, what it was sampled with, and every picture in the order shown.
Does not: hold pixels, expand images (the collator does) or judge whether it may be trained on (checks do).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage

from r4agent.episode import Episode
from r4agent.errors import RunError, UsageError, one_line
from r4agent.ledger import Grid, Ledger, Span, span_of
from r4agent.media.view import pictures_in

TEACHER = "teacher"
"""The engine that an episode's header names where replies were dictated."""
SLIP = "slip"
"""In the response_metadata of a reply that a teacher said wrong on purpose (`r4agent.training.slips`)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One trajectory, exactly as the model saw it.

    episode: its id. ids: one image token for each picture. turns: of each id, the number of the reply it was
    sampled in, from 1; 0 where it was given. logprobs: of each id, under the policy that sampled it, before
    temperature; 0.0 where given. images, grids: the pictures in the order shown, as `img:<sha256>` and in
    patches. taught: a teacher dictated replies, so there are no logprobs to trust. temperature, top_p: what
    was sampled with; of a thread of several questions, the first that differ from 1. tokenizer: whose ids
    these are, as `Checkpoint.tokenizer_digest`; None where the log is of a time when that was not said.
    """

    episode: str
    ids: tuple[int, ...]
    turns: tuple[int, ...]
    logprobs: tuple[float, ...]
    images: tuple[str, ...]
    grids: tuple[Grid, ...]
    taught: bool
    temperature: float = 1.0
    top_p: float = 1.0
    tokenizer: str | None = None

    @property
    def prompt(self) -> int:
        """How many ids stand before the first sampled one."""
        return next((at for at, turn in enumerate(self.turns) if turn), len(self.ids))

    @classmethod
    def of(cls, episode: Episode) -> "Row":
        """Fold an episode, its earlier questions included. Raises UsageError when its policy was not
        token-exact, RunError when its history was edited or its log is incomplete."""
        if not episode.header["token_exact"]:
            raise UsageError(
                f"episode {episode.id}: its policy, {episode.header['policy']}, keeps no tokens; select "
                "exact=True (--exact), or export messages"
            )
        temperature, top_p = _sampling(episode)
        return cls.of_replies(
            episode.id,
            replies(episode),
            taught=any(part.header["model"].get("engine") == TEACHER for part in thread(episode)),
            temperature=temperature,
            top_p=top_p,
            tokenizer=episode.header["model"].get("tokenizer"),
        )

    @classmethod
    def of_replies(
        cls,
        episode: str,
        replies: Iterable[AIMessage | Mapping[str, Any]],
        *,
        taught: bool,
        temperature: float = 1.0,
        top_p: float = 1.0,
        tokenizer: str | None = None,
    ) -> "Row":
        """Fold replies that carry their spans. Raises as `of` does."""
        said = list(replies)
        if not said:
            raise UsageError(f"episode {episode}: its policy never replied; leave it out")
        try:
            ledger = Ledger.of(said)
        except UsageError as error:
            raise UsageError(f"episode {episode}: {one_line(error)}") from error
        turns: list[int] = []
        for number, span in enumerate(map(_span, said), start=1):
            if span["at"] != len(turns):
                raise RunError(
                    f"episode {episode}, turn {number}: the history before this reply is not the one that "
                    "earlier replies were sampled in; leave it out"
                )
            turns += [0] * len(span["prompt_ids"]) + [number] * len(span["token_ids"])
        return cls(
            episode=episode,
            ids=tuple(ledger.ids),
            turns=tuple(turns),
            logprobs=tuple(ledger.logprobs),
            images=tuple(ledger.images),
            grids=tuple(ledger.grids),
            taught=taught,
            temperature=temperature,
            top_p=top_p,
            tokenizer=tokenizer,
        )


def thread(episode: Episode) -> Iterator[Episode]:
    """The episode and those it continues, the latest first."""
    part: Episode | None = episode
    while part is not None:
        yield part
        part = part.before


def replies(episode: Episode) -> list[dict[str, Any]]:
    """The lines of the policy's replies, those to earlier questions first: the first is turn 1 of a Row."""
    return [line for line in episode.history if line["role"] == "ai"]


def led(episode: Episode) -> set[int]:
    """The numbers of the replies that led to the answer, as `Row.turns` counts: the answer itself, and each
    that brought a picture in which it was read, or a picture that such a picture was zoomed out of. Where the
    log names no evidence: all."""
    said = replies(episode)
    cited = [place["view"] for place in (episode.end or {}).get("evidence", ())]
    if not cited:
        return set(range(1, len(said) + 1))
    looked = brought(episode)
    numbers = {len(said)}
    for view in cited:
        while view in looked:
            number, view = looked[view]
            numbers.add(number)
    return numbers


def slipped(episode: Episode) -> set[int]:
    """The numbers of the replies that are slips, as `Row.turns` counts: they are not to be learnt."""
    said = enumerate(replies(episode), start=1)
    return {number for number, reply in said if reply["response_metadata"].get(SLIP)}


def brought(episode: Episode) -> dict[str, tuple[int, str | None]]:
    """Of each picture by name: which reply asked for it, and the earlier picture that this looked into. The
    overview was not asked for."""
    asked: dict[str, tuple[int, str | None]] = {}
    found: dict[str, tuple[int, str | None]] = {}
    number = 0
    for line in episode.history:
        if line["role"] == "ai":
            number += 1
            asked |= {call["id"]: (number, call["args"].get("view")) for call in line["tool_calls"]}
        elif line["role"] == "tool":
            for picture in pictures_in([line["content"]]):
                found[picture.name] = asked[line["tool_call_id"]]
    return found


def _span(reply: AIMessage | Mapping[str, Any]) -> Span:
    span = span_of(reply)
    assert span is not None  # `Ledger.of` has refused a reply without one
    return span


def _sampling(episode: Episode) -> tuple[float, float]:
    """Temperature and top_p of a thread: the first that differ from 1, else 1 and 1."""
    for part in thread(episode):
        drawn = part.header["sampling"]
        found = (drawn["temperature"], drawn["top_p"])
        if found != (1.0, 1.0):
            return found
    return 1.0, 1.0
