"""The ocr policy: a reader that drives the loop with no model, and answers with what stands there.

Promises: each turn follows from the messages alone, so threads may share one policy. It covers the media
by halving the widest gap, looks closer at what is small or unsure, answers word for word with the place it
was read in, and says not found otherwise. Text from a picture never becomes a tag or a call.
Does not: reason, count, or put an answer into its own words.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from r4agent import protocol
from r4agent.geometry import QWEN2_5_VL, Box, ModelProfile, convert
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture
from r4agent.policy.extract import Candidate, Question, candidates, understand
from r4agent.policy.sight import Screen, background, patch, scale, screens
from r4agent.reader import Reader
from r4agent.text import Line

SURE = 0.72  # a candidate with this score ends the search
FLOOR = 0.45  # one below it is not an answer
CLEAR = 18  # height in pixels, as shown, at which a line (its box, with the reader's margin) is read well
LEGIBLE = 0.45  # shown pixels for a source pixel below which a screen's small text can't be read
FRAMES = 8  # frames asked for at a time
RESERVE = 2  # turns kept for a closer look and the answer


class OcrPolicy(BaseChatModel):
    """store: where the pictures are. speaks: whose boxes it writes, that of the graph it serves."""

    store: MediaStore
    reader: Reader
    speaks: ModelProfile = QWEN2_5_VL
    takes_references: bool = True

    @property
    def _llm_type(self) -> str:
        return "r4-ocr"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        talk = Talk.of(messages)
        seen = screens(talk.pictures, self.store, self.reader)
        best = self._best(talk.question, seen)
        thought, step = self._decide(talk, best)
        text = f"<think>{protocol.plain(thought)}</think>\n{step}"
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])

    def _best(self, question: Question, seen: Sequence[Screen]) -> "Found | None":
        """The best candidate of all screens; of equals the one that was shown larger."""
        found = []
        for screen in seen:
            name = self._colour_on(screen) if question.colour else None
            offered = candidates(question, screen.lines, name)[:3]
            found += [Found(candidate, screen.origin[candidate.line]) for candidate in offered]
        return max(
            found, key=lambda f: (round(f.candidate.score, 2), f.height, f.candidate.line.score), default=None
        )

    def _colour_on(self, screen: Screen) -> Any:
        def name(line: Line) -> str:
            picture = screen.origin[line]
            return background(self.store.get(picture.ref), _shown(line.box, picture))

        return name

    def _decide(self, talk: "Talk", best: "Found | None") -> tuple[str, str]:
        """What to think and what to do."""
        score = best.candidate.score if best else 0.0
        if talk.turns_left > 1:
            if best and score >= SURE and not best.clear:
                call = self._closer(best, talk)
                if call not in talk.calls:
                    return f"{best.said} is small or unsure: look closer.", _call(call)
            if score < SURE:
                for thought, call in self._search(talk, best):
                    if call not in talk.calls:
                        return thought, _call(call)
        if best and score >= FLOOR:
            return f"{best.said} fits best, {score:.2f}.", self._answer(best)
        why = f"nothing read in {len(talk.pictures)} pictures fits the question"
        closest = f"; the closest is {best.said}, {score:.2f}" if best else ""
        return f"Not there: {why}{closest}.", f"<not_found>{protocol.plain(why)}</not_found>"

    def _search(self, talk: "Talk", best: "Found | None") -> Iterator[tuple[str, "Call"]]:
        """Where to look next, the most promising first."""
        if talk.question.colour:
            yield from self._patches(talk)
        if talk.turns_left > RESERVE:
            at = self._unseen(talk)
            if at:
                yield f"Not seen for sure yet; cover {len(at)} more.", ("select_frames", {talk.unit: at})
        if best and best.candidate.score >= FLOOR and not best.clear:
            yield f"{best.said} may be it: look closer.", self._closer(best, talk)

    def _patches(self, talk: "Talk") -> Iterator[tuple[str, "Call"]]:
        """Things of the colour asked for, seen in whole frames."""
        colour = str(talk.question.colour)
        found = []
        for picture in talk.pictures:
            if picture.view.region == talk.whole(picture):
                box = patch(self.store.get(picture.ref), colour)
                if box is not None:
                    found.append((box.area, picture, box))
        for _, picture, box in sorted(found, key=lambda f: -f[0])[:2]:
            around = box.grown(box.width * 0.25 + 4, box.height * 0.5 + 4)
            yield f"Something {colour} in {picture.name}: look closer.", self._zoom(picture, around)

    def _unseen(self, talk: "Talk") -> list[float] | list[int]:
        """Times (or pages) in the widest gaps between those seen legibly; first those where the overview
        changes."""
        room = min(FRAMES, talk.images_left - RESERVE) >> talk.failures
        small = min((p.view.size.pixels for p in talk.pictures), default=0)
        seen = [
            talk.position(p)
            for p in talk.pictures
            if scale(p) >= LEGIBLE or p.view.size.pixels > 1.5 * small or talk.unit == "frames"
        ]
        seen += talk.tried
        chosen: list[float] = []
        while len(chosen) < room:
            gap, middle = _widest(sorted({*seen, *chosen}), talk.first, talk.last)
            if gap < talk.step:
                break
            chosen.append(middle if talk.unit == "times" else round(middle))
        return (
            sorted(round(t, 3) for t in chosen) if talk.unit == "times" else sorted({int(t) for t in chosen})
        )

    def _closer(self, best: "Found", talk: "Talk") -> "Call":
        """A generous region round a candidate."""
        box = _shown(best.candidate.line.box, best.picture)
        size = best.picture.view.size
        around = box.grown(max(size.width / 6, 4 * box.height), max(size.height / 10, 3 * box.height))
        return self._zoom(best.picture, around)

    def _zoom(self, picture: Picture, shown: Box) -> "Call":
        """A zoom into a box given in the picture's own pixels."""
        box = self._speak(shown.pixels(picture.view.size), picture)
        return "zoom", {"view": picture.name, "box": box}

    def _answer(self, best: "Found") -> str:
        box = _shown(best.candidate.line.box, best.picture).pixels(best.picture.view.size)
        cite = json.dumps({"view": best.picture.name, "box": self._speak(box, best.picture)})
        return f"<evidence>{cite}</evidence><answer>{protocol.plain(best.candidate.text)}</answer>"

    def _speak(self, shown: Box, picture: Picture) -> list[float]:
        view = picture.view
        box = convert(shown, self.speaks.space, region=view.region, shown=view.size)
        return [round(v, 4) for v in box.corners]


Call = tuple[str, dict[str, Any]]


def _call(call: Call) -> str:
    return f"<tool_call>{json.dumps({'name': call[0], 'arguments': call[1]})}</tool_call>"


def _shown(source: Box, picture: Picture) -> Box:
    return convert(source, "shown", region=picture.view.region, shown=picture.view.size)


def _widest(seen: Sequence[float], first: float, last: float) -> tuple[float, float]:
    """The widest gap and its middle. A gap at an end counts double, since nothing bounds it there."""
    if not seen:
        return last - first + 1, (first + last) / 2
    gaps = [(2 * (seen[0] - first), first + (seen[0] - first) / 3)]
    gaps += [(b - a, (a + b) / 2) for a, b in zip(seen, seen[1:], strict=False)]
    gaps.append((2 * (last - seen[-1]), last - (last - seen[-1]) / 3))
    return max(gaps, key=lambda gap: gap[0])


@dataclass(frozen=True)
class Found:
    """A candidate and the picture it was read in."""

    candidate: Candidate
    picture: Picture

    @property
    def height(self) -> float:
        """Of its line, in pixels as shown."""
        return round(_shown(self.candidate.line.box, self.picture).height)

    @property
    def clear(self) -> bool:
        return self.candidate.line.score >= 0.9 and (self.height >= CLEAR or scale(self.picture) >= 1)

    @property
    def said(self) -> str:
        return f"{self.candidate.text!r} in {self.picture.name}"


@dataclass(frozen=True)
class Talk:
    """What the messages say. unit: what `select_frames` is asked by. first, last, step: of the media, in
    seconds or pages. calls: those made for this question. tried: times or pages of calls that failed."""

    question: Question
    pictures: tuple[Picture, ...]
    unit: str
    first: float
    last: float
    step: float
    turns_left: int
    images_left: int
    calls: list[Call]
    failures: int
    tried: list[float]

    @classmethod
    def of(cls, messages: Sequence[BaseMessage]) -> "Talk":
        system = next((str(m.text) for m in messages if isinstance(m, SystemMessage)), "")
        start, question = _question(messages)
        after = messages[start:]
        made = [call for m in after if isinstance(m, AIMessage) for call in m.tool_calls]
        failed = {m.tool_call_id for m in after if isinstance(m, ToolMessage) and m.status == "error"}
        tried = [
            t
            for c in made
            if c["id"] in failed
            for key in ("times", "frames")
            for t in c["args"].get(key, [])
        ]
        limits = re.search(r"You have (\d+) turns and (\d+) pictures", system)
        turns, images = (int(limits[1]), int(limits[2])) if limits else (1, 0)
        turns_left = turns - sum(isinstance(m, AIMessage) for m in after)
        if _blocks(messages[-1])[-1:] == [protocol.LAST_TURN] or str(messages[-1].text).endswith(
            f". {protocol.LAST_TURN}"
        ):
            turns_left = 1
        unit, first, last, step = _extent(system)
        return cls(
            question,
            tuple(_pictures(messages)),
            unit,
            first,
            last,
            step,
            turns_left,
            images - len(list(_pictures(after))),
            [(c["name"], c["args"]) for c in made],
            sum(c["id"] in failed for c in made),
            tried,
        )

    def position(self, picture: Picture) -> float:
        return (
            picture.view.time
            if self.unit == "times" and picture.view.time is not None
            else picture.view.frame + 1
        )

    def whole(self, picture: Picture) -> Box:
        """The largest region seen of the picture's frame."""
        of_frame = [p.view.region for p in self.pictures if p.view.frame == picture.view.frame]
        return max(of_frame, key=lambda region: region.area)


def _extent(system: str) -> tuple[str, float, float, float]:
    """What `select_frames` is asked by, the first and last that there are, and the smallest useful step."""
    if match := re.search(r"a video of ([\d.]+) s, .*?(\d+) frames", system):
        seconds, frames = float(match[1]), int(match[2])
        last = max(seconds - seconds / max(frames, 1), 0.0)
        return "times", 0.0, last, max(0.1, 2 * seconds / max(frames, 1))
    match = re.search(r"(?:document of (\d+) pages|about (\d+) pictures)", system)
    return "frames", 1, int(match[1] or match[2]) if match else 1, 2


def _question(messages: Sequence[BaseMessage]) -> tuple[int, Question]:
    """The latest question, and the place of its message."""
    for at in range(len(messages) - 1, -1, -1):
        for text in _blocks(messages[at]) if isinstance(messages[at], HumanMessage) else ():
            if text.startswith("Question: "):
                asked = protocol.unplain(text.removeprefix("Question: "))
                first, *options = re.split(r"\n\([A-Z]\) ", asked)
                return at, understand(first, options)
    return 0, understand("")


def _blocks(message: BaseMessage) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [b["text"] for b in message.content if isinstance(b, dict) and b.get("type") == "text"]


def _pictures(messages: Sequence[BaseMessage]) -> Iterator[Picture]:
    for message in messages:
        for block in message.content if isinstance(message.content, list) else ():
            if isinstance(block, dict) and block.get("type") == "image" and "file_id" in block:
                yield Picture.from_block(block)
