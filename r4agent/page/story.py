"""The story: an Episode as what a page tells, in order, in plain data.

Promises: everything a template prints is worked out here; each picture comes with the picture it was cut
from and the box in it; what is missing in the log is missing here, never guessed.
Does not: load pixels (the album does) or write HTML (the templates do).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from langchain_core.messages import AIMessage

from r4agent.episode import Episode
from r4agent.errors import R4Error, RunError, one_line
from r4agent.geometry import Box, Size, convert
from r4agent.graphs.dialogue import read_reply
from r4agent.media.view import Picture
from r4agent.page.timeline import Timeline, timeline
from r4agent.page.wording import counted, moment, number, seconds
from r4agent.protocol import Answer, Call, Malformed, NotFound, parse, unplain

Kind = Literal["overview", "chosen", "region"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle on a picture, in percent of its width and height."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Sight:
    """A picture as the policy was shown it. anchor: its id in the page. parent: the picture of the same
    frame that shows more, where one was seen; mark: this one's region, in the parent or else in the source,
    whose size `outline` is."""

    anchor: str
    picture: Picture
    kind: Kind
    when: str
    parent: "Sight | None" = None
    mark: Mark | None = None
    outline: Size | None = None

    @property
    def region(self) -> str:
        return _corners(self.picture.view.region)

    @property
    def words(self) -> str:
        """What the picture is, for those who can't see it."""
        what = {"overview": "overview frame", "chosen": "frame", "region": "region"}[self.kind]
        where = f", source pixels {self.region}" if self.kind == "region" else ""
        return f"{self.picture.name}: {what}, {self.when}{where}"


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
class Observation:
    """What came back: pictures, and what was said about them."""

    sights: tuple[Sight, ...]
    said: tuple[str, ...]
    is_error: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply of the policy. did: in a word or two. call: the arguments as text."""

    number: int
    did: str
    is_call: bool
    thought: str
    call: str
    answer: str
    problem: str
    cost: str
    observations: tuple[Observation, ...]


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
    """An episode, told. notes: what is wrong with the log, in words."""

    id: str
    question: str
    choices: tuple[str, ...]
    answer: str | None
    status: str
    verdict: str
    about: str
    media: str
    error: str | None
    notes: tuple[str, ...]
    proofs: tuple[Proof, ...]
    line: Timeline | None
    earlier: tuple[Earlier, ...]
    opening: tuple[Observation, ...]
    turns: tuple[Turn, ...]
    costs: tuple[Cost, ...]
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
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, R4Error) as error:
        what = f"{type(error).__name__}: {one_line(error)}"
        raise RunError(f"episode {episode.path}: a line is not as r4agent writes it ({what})") from error


class _Teller:
    """Tells one episode. Pictures are numbered over the whole thread, as the policy knew them."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode
        self.header = episode.header
        self.media = episode.header["media"]
        width, height = self.media["size"]
        self.size = Size(width, height)
        self.sights: dict[str, Sight] = {}

    def story(self, damage: str | None) -> Story:
        header, end = self.header, self.episode.end or {}
        history = self._earlier_sights()
        opening, turns = self._turns(self.episode.messages)
        proofs = tuple(self._proof(place) for place in end.get("evidence", ()))
        status = end.get("status", "unfinished")
        answer = end.get("answer")
        support = f" {SUPPORT[end['supported']]}" if answer is not None else ""
        sights = [sight for sight in self.sights.values() if sight.anchor not in history]
        return Story(
            id=self.episode.id,
            question=header["question"],
            choices=tuple(header.get("choices", ())),
            answer=answer,
            status=status,
            verdict=VERDICTS[status] + support,
            about=self._about(),
            media=self.media["path"],
            error=end.get("error"),
            notes=tuple(self._notes(damage)),
            proofs=proofs,
            line=timeline(self.media, sights, end.get("evidence", ())),
            earlier=self._earlier(proofs, turns),
            opening=opening,
            turns=turns,
            costs=tuple(self._costs()),
            summary=self._summary(turns),
            prompt="\n\n".join(_text(line) for line in self.episode.messages if line["role"] == "system"),
            pictures=tuple(sight.picture for sight in self.sights.values()),
            tools=frozenset(turn.did for turn in turns if turn.is_call),
            details=tuple(self._details()),
        )

    def _notes(self, damage: str | None) -> list[str]:
        notes = []
        if damage:
            notes.append(f"The log is damaged; what could be read of it is shown. {damage}")
        if self.episode.torn:
            notes.append("The last line of the log was cut off, as by a kill or a full disk.")
        before = self.header.get("continues")
        if before and self.episode.before is None:
            notes.append(f"This continues episode {before}, which could not be read.")
        return notes

    def _about(self) -> str:
        kind, count, size = self.media["kind"], self.media["count"], self.size
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
        return {sight.anchor for sight in self.sights.values()}

    def _earlier(self, proofs: Sequence[Proof], turns: Sequence[Turn]) -> tuple[Earlier, ...]:
        """The thread's earlier questions, each with those of its pictures that this episode refers to."""
        shown = [sight for turn in turns for o in turn.observations for sight in o.sights]
        used = {s.picture.name for p in proofs for s in (p.sight, p.whole) if s}
        used |= {sight.parent.picture.name for sight in shown if sight.parent}
        told, episode = [], self.episode.before
        while episode:
            names = [b["id"] for line in episode.messages for b in _blocks(line) if _is_picture(b)]
            mine = tuple(self.sights[name] for name in names if name in used)
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
                turns.append(_turn(line, len(turns) + 1))
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
        blocks, sights, said = _blocks(line), [], []
        first = not self.sights
        for at, block in enumerate(blocks):
            if _is_picture(block):
                sights.append(self._sight(Picture.from_block(block), overview=first))
            elif block.get("type") == "text" and not (
                at + 1 < len(blocks)
                and _is_picture(blocks[at + 1])  # a picture's label; its caption says that
            ):
                said.append(unplain(str(block["text"])))
        errors = line.get("status") == "error" or any(text.startswith("Error: ") for text in said)
        return Observation(tuple(sights), tuple(said), errors)

    def _sight(self, picture: Picture, *, overview: bool) -> Sight:
        view = picture.view
        parent = self._widest(picture, within=view.region)
        whole = view.region.corners == self.size.box.corners or (
            self.media["kind"] in ("pdf", "images") and parent is None
        )
        kind: Kind = "overview" if overview else "chosen" if whole else "region"
        mark = outline = None
        if kind == "region" and parent is not None:
            mark = _mark(view.region, parent.picture)
        elif kind == "region":
            outline = self.size
            mark = _percent(convert(view.region, "unit", region=self.size.box, shown=self.size))
            parent = None
        sight = Sight(
            anchor=f"p{len(self.sights) + 1}",
            picture=picture,
            kind=kind,
            when=self._when(view.time, view.frame + 1, view.frame),
            parent=parent if kind == "region" else None,
            mark=mark,
            outline=outline,
        )
        self.sights[picture.name] = sight
        return sight

    def _widest(self, picture: Picture, within: Box) -> Sight | None:
        """The picture of the same frame, seen so far, that shows most around this region."""
        same = [s for s in self.sights.values() if s.picture.view.frame == picture.view.frame]
        wider = [s for s in same if _contains(s.picture.view.region, within)]
        return max(
            wider, key=lambda s: (s.picture.view.region.area, s.picture.view.size.pixels), default=None
        )

    def _when(self, time: float | None, page: int | None, frame: int | None = None) -> str:
        if time is not None:
            return moment(time)
        match self.media["kind"]:
            case "pdf":
                return f"page {page}"
            case "images":
                return f"picture {page}"
            case _:
                return "the picture" if frame in (0, None) else f"frame {frame}"

    def _proof(self, place: dict[str, Any]) -> Proof:
        box = Box(*place["box"])
        sight = self.sights.get(place["view"])
        if sight is not None and sight.picture.ref != place["image"]:
            sight = None
        whole = (self._widest(sight.picture, within=sight.picture.view.region) or sight) if sight else None
        inside = sight is not None and box.overlap(sight.picture.view.region) is not None
        return Proof(
            when=self._when(place["time"], place["page"]),
            text=place["text"],
            box=_corners(box),
            sight=sight,
            region=box,
            mark=_mark(box, sight.picture) if sight and inside else None,
            whole=whole,
            whole_mark=_mark(box, whole.picture) if whole and inside else None,
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


def _turn(line: dict[str, Any], number_: int) -> Turn:
    message = AIMessage(
        content=line["content"],
        tool_calls=line.get("tool_calls") or [],
        invalid_tool_calls=line.get("invalid_tool_calls") or [],
    )
    turn = read_reply(message)
    did, call, answer, problem = "", "", "", ""
    match turn.step:
        case Call(name=name, arguments=arguments):
            did, call = name, _arguments(arguments)
        case Answer(text=text):
            did, answer = "answer", text
        case NotFound(why=why):
            did, answer = "not found", why
        case Malformed(problem=problem):
            did, call = "malformed reply", str(message.text)
    said = parse(str(message.text)) if "</" in str(message.text) else turn  # calls are kept apart as well
    thought = "\n".join(part for part in (*_reasoning(line), said.thought) if part and part != call)
    cost = line.get("cost", {})
    parts = [seconds(cost["seconds"])] if "seconds" in cost else []
    if cost.get("new_tokens"):
        parts.append(counted(cost["new_tokens"], "token"))
    return Turn(
        number_, did, isinstance(turn.step, Call), thought, call, answer, problem, ", ".join(parts), ()
    )


def _arguments(arguments: dict[str, Any]) -> str:
    """One argument a line, each as JSON."""
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())


def _reasoning(line: dict[str, Any]) -> list[str]:
    """What a reasoning model thought, where its chat model keeps that apart from the text."""
    keys = {"reasoning": "reasoning", "thinking": "thinking"}
    return [str(b.get(keys[b["type"]], "")) for b in _blocks(line) if b.get("type") in keys]


def _blocks(line: dict[str, Any]) -> list[dict[str, Any]]:
    content = line["content"]
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [{"type": "text", "text": block} if isinstance(block, str) else block for block in content]


def _is_picture(block: dict[str, Any]) -> bool:
    return block.get("type") == "image" and "file_id" in block


def _text(line: dict[str, Any]) -> str:
    return "\n".join(str(block["text"]) for block in _blocks(line) if block.get("type") == "text")


def _contains(outer: Box, inner: Box) -> bool:
    """Whether `outer` shows all of `inner`, and more."""
    return (
        outer.x0 <= inner.x0
        and outer.y0 <= inner.y0
        and outer.x1 >= inner.x1
        and outer.y1 >= inner.y1
        and outer.area > inner.area
    )


def _extent(sight: Sight) -> tuple[float, int]:
    """What decides which of two pictures shows more."""
    view = sight.picture.view
    return view.region.area, view.size.pixels


def _mark(box: Box, picture: Picture) -> Mark:
    """A source box on a picture, what lies outside cut off."""
    view = picture.view
    inside = box.overlap(view.region) or view.region
    return _percent(convert(inside, "unit", region=view.region, shown=view.size))


def _percent(unit: Box) -> Mark:
    x0, y0, x1, y1 = (round(100 * v, 3) for v in unit.corners)
    return Mark(x0, y0, round(x1 - x0, 3), round(y1 - y0, 3))


def _corners(box: Box) -> str:
    return ", ".join(f"{v:.0f}" for v in box.corners)
