"""The ocr policy: a reader that drives the loop with no model, and answers with what stands there.

Promises: each turn follows from the messages alone, so threads may share one policy. It covers the media
by halving the widest gap, looks closer at what is small or unsure, answers word for word with the place it
was read in, and says not found otherwise. Text from a picture never becomes a tag or a call.
Does not: reason, count, or put an answer into its own words.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from r4agent import protocol
from r4agent.geometry import QWEN2_5_VL, Box, ModelProfile, convert
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture
from r4agent.policy.extract import Candidate, Question, candidates, mention
from r4agent.policy.sight import Screen, Sight, background, patch, scale
from r4agent.policy.talk import Call, Talk
from r4agent.reader import Reader
from r4agent.text import Line, normalise

SURE = 0.75  # a candidate with this score ends the search
LIKELY, LEAD = 0.55, 0.08  # so does one with this score and lead once frames were selected
AGAIN = 0.05  # what being read clearly adds when candidates are ranked: no second look for a near tie
HINT = 0.34  # share of the question's words at which a page or frame seen small is seen again first
FLOOR = 0.45  # one below it is not an answer
CLEAR = 18  # height in pixels, as shown, at which a line (its box, with the reader's margin) is read well
LEGIBLE = 0.45  # shown pixels for a source pixel below which a screen's small text can't be read
# Characters read for a question, beyond which no more of the media is covered: frames of a video mostly
# repeat each other, pages do not.
PATIENCE = {"times": 24_000, "frames": 48_000}
FRAMES = 8  # frames asked for at a time
RESERVE = 2  # turns kept for a closer look and the answer


class OcrPolicy(BaseChatModel):
    """store: where the pictures are. speaks: whose boxes it writes, that of the graph it serves."""

    store: MediaStore
    reader: Reader
    speaks: ModelProfile = QWEN2_5_VL
    takes_references: bool = True

    _sight: Sight = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        self._sight = Sight(self.store, self.reader)

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
        seen = self._sight.screens(talk.pictures)
        thought, step = self._decide(talk, seen, *self._best(talk.question, seen))
        text = f"<think>{protocol.plain(thought)}</think>\n{step}"
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])

    def _best(self, question: Question, seen: Sequence[Screen]) -> tuple["Found | None", float]:
        """The best candidate of all screens, a clear one before a near tie; and how far it leads."""
        found = []
        for screen in seen:
            name = self._colour_on(screen) if question.colour else None
            offered = candidates(question, screen.lines, name)[:3]
            found += [Found(candidate, screen.origin[candidate.line]) for candidate in offered]
        if not found:
            return None, 0.0
        best = max(found, key=lambda f: (round(f.score + AGAIN * f.clear, 2), f.height, f.sureness))
        said = normalise(best.candidate.text)
        others = [f.score for f in found if normalise(f.candidate.text) != said]
        return best, best.score - max(others, default=0.0)

    def _colour_on(self, screen: Screen) -> Callable[[Line], str]:
        def name(line: Line) -> str:
            picture = screen.origin[line]
            return background(self.store.get(picture.ref), _shown(line.box, picture))

        return name

    def _decide(
        self, talk: Talk, seen: Sequence[Screen], best: "Found | None", lead: float
    ) -> tuple[str, str]:
        """What to think and what to do."""
        if talk.turns_left > 1:
            for thought, call in self._looks(talk, seen, best, lead):
                if call not in talk.calls:
                    return thought, _call(call)
        if best and best.score >= FLOOR:
            return f"{best.said} fits best, {best.score:.2f}.", self._answer(best)
        why = f"nothing read in {len(talk.pictures)} pictures fits the question"
        closest = f"; the closest is {best.said}, {best.score:.2f}" if best else ""
        return f"Not there: {why}{closest}.", f"<not_found>{why}</not_found>"

    def _looks(
        self, talk: Talk, seen: Sequence[Screen], best: "Found | None", lead: float
    ) -> Iterator[tuple[str, Call]]:
        """Where to look next, the most promising first; nothing when what was seen will do."""
        covered = any(name == "select_frames" for name, _ in talk.calls)
        sure = best and (best.score >= SURE or (best.score >= LIKELY and lead >= LEAD and covered))
        if not sure:
            if named := self._named(talk):
                yield "The question says where to look.", ("select_frames", {talk.unit: named})
            if talk.question.colour:
                yield from self._patches(talk)
            if talk.turns_left > RESERVE and (at := self._unseen(talk, seen)):
                yield f"Not seen for sure yet; cover {len(at)} more.", ("select_frames", {talk.unit: at})
        if best and best.score >= FLOOR and not best.clear:
            yield f"{best.said} is small or unsure: look closer.", self._closer(best)
        if not best or best.score < FLOOR:
            yield from self._quarters(talk, seen)

    def _named(self, talk: Talk) -> list[float] | list[int]:
        """The times or pages that the question names."""
        within = [at for at in talk.question.places(talk.unit) if talk.first <= at <= talk.last]
        at = sorted(set(within))[: min(FRAMES, max(talk.images_left - RESERVE, 0))]
        return at if talk.unit == "times" else [int(page) for page in at]

    def _quarters(self, talk: Talk, seen: Sequence[Screen]) -> Iterator[tuple[str, Call]]:
        """The quarters of frames too large for their small text to be read whole."""
        for screen in sorted(seen, key=lambda s: -mention(talk.question, s.lines)):
            whole = [p for p in talk.pictures if p.view.frame == screen.frame and talk.is_whole(p)]
            picture = max(whole, key=scale)
            if scale(picture) < LEGIBLE:
                wide, high = picture.view.size.width, picture.view.size.height
                for x, y in ((0, 0), (0.45, 0), (0, 0.45), (0.45, 0.45)):
                    part = Box(x * wide, y * high, (x + 0.55) * wide, (y + 0.55) * high, "shown")
                    yield f"Text in {picture.name} may be too small: look closer.", self._zoom(picture, part)

    def _patches(self, talk: Talk) -> Iterator[tuple[str, Call]]:
        """Things of the colour asked for, seen in whole frames."""
        colour = str(talk.question.colour)
        found = []
        for picture in talk.pictures:
            if talk.is_whole(picture):
                box = patch(self.store.get(picture.ref), colour)
                if box is not None:
                    found.append((box.area, picture, box))
        for _, picture, box in sorted(found, key=lambda f: -f[0])[:2]:
            around = box.grown(box.width * 0.25 + 4, box.height * 0.5 + 4)
            yield f"Something {colour} in {picture.name}: look closer.", self._zoom(picture, around)

    def _unseen(self, talk: Talk, seen: Sequence[Screen]) -> list[float] | list[int]:
        """Times (or pages) to see: first those seen too small to read that seem to hold words of the
        question, then the middles of the widest gaps between those seen well."""
        read = sum(screen.fresh for screen in seen)
        dense = max((screen.fresh for screen in seen), default=0)
        patience = (PATIENCE[talk.unit] - read) // max(dense, 1)
        room = min(FRAMES, talk.images_left - RESERVE, patience) >> talk.failures
        if room < 1:
            return []
        least = min(p.view.size.pixels for p in talk.pictures) if talk.pictures else 0
        well = {
            p.view.frame for p in talk.pictures if scale(p) >= LEGIBLE or p.view.size.pixels > 1.5 * least
        }
        known = [talk.position(p) for p in talk.pictures if p.view.frame in well] + talk.tried
        hints = [(mention(talk.question, s.lines), s) for s in seen if s.frame not in well]
        hints = sorted((hint for hint in hints if hint[0] >= HINT), key=lambda hint: -hint[0])
        chosen = [talk.place(screen.frame, screen.time) for _, screen in hints[: room // 2]]
        while len(chosen) < room:
            gap, middle = _widest(sorted({*known, *chosen}), talk.first, talk.last)
            if gap < talk.step:
                break
            chosen.append(round(middle, 3) if talk.unit == "times" else round(middle))
        return sorted(chosen) if talk.unit == "times" else sorted({int(page) for page in chosen})

    def _closer(self, best: "Found") -> Call:
        """A generous region round a candidate."""
        box = _shown(best.candidate.line.box, best.picture)
        size = best.picture.view.size
        around = box.grown(max(size.width / 6, 4 * box.height), max(size.height / 10, 3 * box.height))
        return self._zoom(best.picture, around)

    def _zoom(self, picture: Picture, shown: Box) -> Call:
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


def _call(call: Call) -> str:
    return f"<tool_call>{json.dumps({'name': call[0], 'arguments': call[1]})}</tool_call>"


def _shown(source: Box, picture: Picture) -> Box:
    return convert(source, "shown", region=picture.view.region, shown=picture.view.size)


def _widest(seen: Sequence[float], first: float, last: float) -> tuple[float, float]:
    """The widest gap and its middle. A gap at an end counts double, since nothing bounds it there."""
    if not seen:
        return last - first + 1, (first + last) / 2
    gaps = [(2 * (seen[0] - first), first + (seen[0] - first) / 3)]
    gaps += [(b - a, (a + b) / 2) for a, b in pairwise(seen)]
    gaps.append((2 * (last - seen[-1]), last - (last - seen[-1]) / 3))
    return max(gaps, key=lambda gap: gap[0])


@dataclass(frozen=True)
class Found:
    """A candidate and the picture it was read in."""

    candidate: Candidate
    picture: Picture

    @property
    def score(self) -> float:
        return self.candidate.score

    @property
    def sureness(self) -> float:
        return self.candidate.line.score

    @property
    def height(self) -> float:
        """Of its line, in pixels as shown."""
        return round(_shown(self.candidate.line.box, self.picture).height)

    @property
    def clear(self) -> bool:
        """Whether a closer look would add nothing."""
        sharp = self.sureness >= 0.9 and (self.height >= CLEAR or scale(self.picture) >= 1)
        return sharp or scale(self.picture) >= 1.9

    @property
    def said(self) -> str:
        return f"{self.candidate.text!r} in {self.picture.name}"
