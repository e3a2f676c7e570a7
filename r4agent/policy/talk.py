"""What a conversation says to the ocr policy: the question, what was seen and asked, what is left.

Promises: a Talk follows from the messages alone.
Does not: read pictures or decide anything.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from r4agent import protocol
from r4agent.media.view import Picture, pictures_in
from r4agent.policy.extract import Question, understand

Call = tuple[str, dict[str, Any]]
"""A tool's name and arguments."""


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
        asked = [call["args"] for call in made if call["id"] in failed]
        tried = [at for args in asked for key in ("times", "frames") for at in args.get(key, [])]
        limits = re.search(r"You have (\d+) turns and (\d+) pictures", system)
        turns, images = (int(limits[1]), int(limits[2])) if limits else (1, 0)
        turns_left = turns - sum(isinstance(m, AIMessage) for m in after)
        closing = _blocks(messages[-1])[-1:]
        if any(text.endswith(protocol.LAST_TURN) and not text.startswith("Question: ") for text in closing):
            turns_left = 1
        unit, first, last, step = _extent(system)
        return cls(
            question,
            tuple(pictures_in(m.content for m in messages)),
            unit,
            first,
            last,
            step,
            turns_left,
            images - len(list(pictures_in(m.content for m in after))),
            [(c["name"], c["args"]) for c in made],
            sum(c["id"] in failed for c in made),
            tried,
        )

    def position(self, picture: Picture) -> float:
        return self.place(picture.view.frame, picture.view.time)

    def place(self, frame: int, time: float | None) -> float:
        """By what `select_frames` is asked for a frame: its time, or its page."""
        return time if self.unit == "times" and time is not None else frame + 1

    def is_whole(self, picture: Picture) -> bool:
        """Whether it shows as much of its frame as any picture does."""
        regions = [p.view.region for p in self.pictures if p.view.frame == picture.view.frame]
        return picture.view.region.area >= max(region.area for region in regions)


def _extent(system: str) -> tuple[str, float, float, float]:
    """What `select_frames` is asked by, the first and last that there are, and the smallest useful step."""
    if match := re.search(r"a video of ([\d.]+) s(?: that starts at (-?[\d.]+) s)?, .*?(\d+) frames", system):
        seconds, start, frames = float(match[1]), float(match[2] or 0), max(int(match[3]), 1)
        last = start + max(seconds - seconds / frames, 0.0)
        return "times", start, last, max(0.1, 2 * seconds / frames)
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
