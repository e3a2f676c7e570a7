"""What a caller of the graph is told who is a model itself: the outcome in words, errors without secrets.

Promises: text from a video, a policy or a file name is data in it: on one line, printable, and without the
power of a tag or a special token. An error names what the caller named, never a path outside the roots; what
is this machine's own affair is logged, and only its kind is told.
Does not: judge an answer, or guard against someone who renders it as markdown.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r4agent import protocol
from r4agent.errors import MissingError, R4Error, UsageError, one_line, printable

logger = logging.getLogger(__name__)

SUPPORT = {
    "yes": "a reader finds the answer there",
    "no": "a reader does not find the answer there",
    "unchecked": "not checked by a reader",
}
NO_ANSWER = {
    "refused": "it can't be read from the media",
    "budget": "the budget ended first",
}
MOST_PLACES = 5
LONGEST = 300  # characters of one quoted text


def outcome(result: Mapping[str, Any]) -> str:
    """What a run came to, in a few lines: answer, status, support, evidence."""
    status = str(result["status"])
    if result["answer"] is None:
        return f"No answer: {NO_ANSWER.get(status, status)}."
    lines = [f"Answer: {quoted(result['answer'])}", f"Status: {status}; {SUPPORT[result['supported']]}"]
    lines += [f"Evidence: {place_of(place)}" for place in result["evidence"][:MOST_PLACES]]
    return "\n".join(lines)


def place_of(place: Mapping[str, Any]) -> str:
    """One piece of evidence in words."""
    when = f"page {place['page']}" if place["time"] is None else f"{place['time']:.2f} s"
    box = [round(corner) for corner in place["box"]]
    return f"{when}, box {box} in pixels of the source, which reads: {quoted(place['text'])}"


def quoted(text: str) -> str:
    """Text from elsewhere, as data: one line, not long, defused."""
    line = printable(" ".join(text.split()))
    return protocol.plain(line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…")


def problem_for(error: R4Error, *, name: str, media: Path | None) -> str:
    """What is wrong, for the caller who named the media `name`. media: its real path, None where there is
    none yet, since that name was refused."""
    text = one_line(error)
    if media is not None:
        ours = isinstance(error, UsageError | MissingError) or str(media) in str(error)
        if not ours:  # a full disk, a policy's server
            logger.error("a question about %s failed: %s", media, text, exc_info=error)
            return f"the run failed ({type(error).__name__}); the log of whoever runs this says why"
        text = one_line(type(error)(str(error).replace(str(media), name)))
    return quoted(text)
