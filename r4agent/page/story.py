"""The story: an Episode as what a page tells, in order, in plain data.

Promises: everything a template prints is worked out here; each picture comes with the picture it was cut
from and the box in it; what is missing in the log is missing here, never guessed.
Does not: load pixels (the album does) or write HTML (the templates do).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from r4agent.episode import Episode
from r4agent.errors import R4Error, RunError, one_line
from r4agent.geometry import Box
from r4agent.media.view import Picture
from r4agent.page.sights import Mark, Sight, Sights, corners, mark_of
from r4agent.page.timeline import Timeline, timeline
from r4agent.page.turns import Observation, Turn, blocks_of, is_picture, text_of, turn_of
from r4agent.page.wording import counted, number, seconds
from r4agent.protocol import unplain


@dataclass(frozen=True, slots=True)
class Proof:
    """One place of the evidence. sight: the picture it was read in, None when the log has none of that
    name; mark: the box in that picture; whole: the widest picture of that frame, with the box in it."""

    when: str
    text: str
    box: str
    sight: Sight | None
    region: Box
    mark: Mark | None
    whole: Sight | None
    whole_mark: Mark | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent of one thing; share: of the limit, 0–1, None where there is no limit."""

    name: str
    spent: str
    limit: str
    share: float | None


@dataclass(frozen=True, slots=True)
class Earlier:
    """A question asked before on the same thread; sights: those of its pictures that this one uses."""

    question: str
    answer: str | None
    id: str
    sights: tuple[Sight, ...]
    others: int


@dataclass(frozen=True, slots=True)
class Story:
    """An episode, told. media: its file's name. created: None where the log does not say. notes: what is
    wrong with the log, in words. spent: by name, as the log has it."""

    id: str
    question: str
    choices: tuple[str, ...]
    answer: str | None
    status: str
    verdict: str
    about: str
    media: str
    created: datetime | None
    error: str | None
    notes: tuple[str, ...]
    proofs: tuple[Proof, ...]
    line: Timeline | None
    earlier: tuple[Earlier, ...]
    opening: tuple[Observation, ...]
    turns: tuple[Turn, ...]
    costs: tuple[Cost, ...]
    spent: dict[str, Any]
    summary: str
    prompt: str
    pictures: tuple[Picture, ...]
    tools: frozenset[str]
    details: tuple[tuple[str, str], ...]


VERDICTS = {
    "answered": "Answered.",
    "forced": "Answered on the last turn, when an answer was demanded.",
    "budget": "No answer: a limit of the budget ended the run.",
    "refused": "Not found: the policy says that it can't be read here.",
    "failed": "Failed: an error ended the run.",
    "unfinished": "Unfinished: the log has no end.",
}
SUPPORT = {
    "yes": "A reader finds the answer in the evidence.",
    "no": "A reader does not find the answer in the evidence.",
    "unchecked": "The evidence was not checked by a reader.",
}


def tell(episode: Episode, damage: str | None = None) -> Story:
    """The story of an episode. Raises RunError when a line is not as r4agent writes it."""
    try:
        return _Teller(episode).story(damage)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, R4Error) as error:
        what = f"{type(error).__name__}: {one_line(error)}"
        raise RunError(f"episode {episode.path}: a line is not as r4agent writes it ({what})") from error


class _Teller:
    """Tells one episode. Pictures are numbered over the whole thread, as the policy knew them."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode
        self.header = episode.header
        self.media = episode.header["media"]
        self.sights = Sights(self.media)

    def story(self, damage: str | None) -> Story:
        header, end = self.header, self.episode.end or {}
        history = self._earlier_sights()
        opening, turns = self._turns(self.episode.messages)
        proofs = tuple(self._proof(place) for place in end.get("evidence", ()))
        status = end.get("status", "unfinished")
        answer = end.get("answer")
        support = f" {SUPPORT[end['supported']]}" if answer is not None else ""
        sights = [sight for sight in self.sights.by_name.values() if sight.anchor not in history]
        return Story(
            id=self.episode.id,
            question=header["question"],
            choices=tuple(header.get("choices", ())),
            answer=None if answer is None else str(answer),
            status=status,
            verdict=VERDICTS[status] + support,
            about=self._about(),
            media=self.media["path"].rsplit("/", 1)[-1],
            created=datetime.fromtimestamp(header["created"]) if header.get("created") else None,
            error=end.get("error"),
            notes=tuple(self._notes(damage)),
            proofs=proofs,
            line=timeline(self.media, sights, end.get("evidence", ())),
            earlier=self._earlier(proofs, turns),
            opening=opening,
            turns=turns,
            costs=tuple(self._costs()),
            spent=self._spent(),
            summary=self._summary(turns),
            prompt="\n\n".join(text_of(line) for line in self.episode.messages if line["role"] == "system"),
            pictures=tuple(sight.picture for sight in self.sights.by_name.values()),
            tools=frozenset(turn.did for turn in turns if turn.is_call),
            details=tuple(self._details()),
        )

    def _notes(self, damage: str | None) -> list[str]:
        notes = []
        if damage:
            notes.append(f"The log is damaged; what could be read of it is shown. {damage}")
        if self.episode.torn:
            notes.append("The last line of the log was cut off, as by a kill or a full disk.")
        if self.header.get("control"):
            notes.append(f"A control, {self.header['control']}: looking was spoilt on purpose.")
        before = self.header.get("continues")
        if before and self.episode.before is None:
            notes.append(f"This continues episode {before}, which could not be read.")
        return notes

    def _about(self) -> str:
        kind, count, size = self.media["kind"], self.media["count"], self.sights.size
        pixels = f"{size.width} × {size.height}"
        match kind:
            case "pdf":
                return f"document, {counted(count, 'page')}"
            case "images":
                return f"folder of {counted(count, 'picture')}"
            case "image":
                return f"picture, {pixels}"
            case _:
                return f"{kind}, {seconds(self.media['duration'] or 0)}, {pixels}, {counted(count, 'frame')}"

    def _earlier_sights(self) -> set[str]:
        """Take in the pictures of earlier questions; returns their anchors."""
        if self.episode.before:
            for line in self.episode.before.history:
                self._observation(line)
        return {sight.anchor for sight in self.sights.by_name.values()}

    def _earlier(self, proofs: Sequence[Proof], turns: Sequence[Turn]) -> tuple[Earlier, ...]:
        """The thread's earlier questions, each with those of its pictures that this episode refers to."""
        shown = [sight for turn in turns for o in turn.observations for sight in o.sights]
        used = {s.picture.name for p in proofs for s in (p.sight, p.whole) if s}
        used |= {sight.parent.picture.name for sight in shown if sight.parent}
        told, episode = [], self.episode.before
        while episode:
            names = [b["id"] for line in episode.messages for b in blocks_of(line) if is_picture(b)]
            mine = tuple(self.sights.by_name[name] for name in names if name in used)
            end = episode.end or {}
            told.append(
                Earlier(
                    episode.header["question"], end.get("answer"), episode.id, mine, len(names) - len(mine)
                )
            )
            episode = episode.before
        return tuple(reversed(told))

    def _turns(self, messages: Sequence[dict[str, Any]]) -> tuple[tuple[Observation, ...], tuple[Turn, ...]]:
        """What was seen before the first reply, and the replies, each with what came back."""
        opening: list[Observation] = []
        turns: list[Turn] = []
        for line in messages:
            if line["role"] == "ai":
                turns.append(turn_of(line, len(turns) + 1))
            elif line["role"] != "system":
                observation = self._observation(line)
                if turns:
                    told = (*turns[-1].observations, observation)
                    turns[-1] = replace(turns[-1], observations=told)
                else:
                    opening.append(observation)
        return tuple(opening), tuple(turns)

    def _observation(self, line: dict[str, Any]) -> Observation:
        """What a message shows and says; the label before a picture is left out, as its caption says that."""
        blocks, sights, said = blocks_of(line), [], []
        first = not self.sights.by_name
        for at, block in enumerate(blocks):
            if is_picture(block):
                sights.append(self.sights.add(Picture.from_block(block), overview=first))
            elif block.get("type") == "text" and not (
                at + 1 < len(blocks)
                and is_picture(blocks[at + 1])  # a picture's label; its caption says that
            ):
                said.append(unplain(str(block["text"])))
        errors = line.get("status") == "error" or any(text.startswith("Error: ") for text in said)
        return Observation(tuple(sights), tuple(said), errors)

    def _proof(self, place: dict[str, Any]) -> Proof:
        box = Box(*place["box"])
        sight = self.sights.by_name.get(place["view"])
        if sight is not None and sight.picture.ref != place["image"]:
            sight = None
        whole = (self.sights.widest(sight.picture) or sight) if sight else None
        inside = sight is not None and box.overlap(sight.picture.view.region) is not None
        return Proof(
            when=self.sights.when(place["time"], place["page"]),
            text=place["text"],
            box=corners(box),
            sight=sight,
            region=box,
            mark=mark_of(box, sight.picture) if sight and inside else None,
            whole=whole,
            whole_mark=mark_of(box, whole.picture) if whole and inside else None,
        )

    def _costs(self) -> list[Cost]:
        spent = self._spent()
        budget = self.header.get("budget", {})
        names = {
            "turns": "turns",
            "images": "pictures",
            "image_tokens": "image tokens",
            "new_tokens": "tokens written",
            "seconds": "seconds",
            "decoded_frames": "frames decoded",
        }
        costs = []
        for key, name in names.items():
            if key not in spent:
                continue
            value, limit = spent[key], budget.get(key)
            share = min(1.0, value / limit) if limit else None
            said = f"{value:.1f}" if key == "seconds" else number(value)
            costs.append(Cost(name, said, number(limit) if limit else "", share))
        return costs

    def _spent(self) -> dict[str, Any]:
        """The cost at the end, or as far as the log tells."""
        if self.episode.end:
            return dict(self.episode.end["usage"])
        told = [line["spent"] for line in self.episode.messages if "spent" in line]
        return dict(told[-1]) if told else {}

    def _summary(self, turns: Sequence[Turn]) -> str:
        spent = self._spent()
        if not spent:
            return counted(len(turns), "turn")
        parts = [
            counted(spent["turns"], "turn"),
            counted(spent["images"], "picture"),
            counted(spent["image_tokens"], "image token"),
            seconds(spent["seconds"]),
        ]
        return ", ".join(parts)

    def _details(self) -> list[tuple[str, str]]:
        header = self.header
        rows = [
            ("policy", header.get("policy")),
            ("asked by", header.get("made_by")),
            ("model profile", header.get("profile")),
            ("tools", ", ".join(header.get("tools", ())) or "none"),
            ("control", header.get("control")),
            ("reader", header.get("reader") or "none"),
            ("media", self.media["path"]),
            ("media id", self.media["id"]),
            ("episode", str(self.episode.path)),
            ("continues", header.get("continues")),
            ("versions", ", ".join(f"{k} {v}" for k, v in header.get("versions", {}).items())),
            ("budget", ", ".join(f"{k} {number(v)}" for k, v in header.get("budget", {}).items())),
        ]
        return [(name, str(value)) for name, value in rows if value]
