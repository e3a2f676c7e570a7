"""Looks: what the calls of an episode came to. Rewards and measures count from here.

Promises: each call of this question's own replies, in order, with the pictures it brought; a call that was
refused, or that could not be read, is there and not `done`.
Does not: know earlier questions of the thread.
"""

from dataclasses import dataclass
from typing import Any

from r4agent.episode import Episode
from r4agent.media.view import Picture, pictures_in


@dataclass(frozen=True, slots=True)
class Look:
    """One call. tool: its name, "" where it could not be read. done: whether it was carried out. pictures:
    those it brought."""

    tool: str
    done: bool
    pictures: tuple[Picture, ...] = ()


def looks(episode: Episode) -> list[Look]:
    """Every call of the episode."""
    answers = {line["tool_call_id"]: line for line in episode.messages if line["role"] == "tool"}
    found: list[Look] = []
    for reply in _replies(episode):
        called = [(call["name"], answers.get(call["id"])) for call in reply["tool_calls"]]
        if not called and _meant_as_call(reply):
            called = [("", None)]
        for tool, answer in called:
            done = reply["step"] == "Call" and answer is not None and answer["status"] == "success"
            brought = tuple(pictures_in([answer["content"]])) if answer is not None else ()
            found.append(Look(tool, done, brought))
    return found


def steps(episode: Episode) -> list[str]:
    """What each reply was: Call, Answer, NotFound or Malformed."""
    return [reply["step"] for reply in _replies(episode)]


def overview(episode: Episode) -> tuple[Picture, ...]:
    """The pictures shown before the first reply of the thread."""
    opening = next((line for line in episode.history if line["role"] == "human"), None)
    return tuple(pictures_in([opening["content"]])) if opening else ()


def _replies(episode: Episode) -> list[dict[str, Any]]:
    return [line for line in episode.messages if line["role"] == "ai"]


def _meant_as_call(reply: dict[str, Any]) -> bool:
    return bool(reply["invalid_tool_calls"]) or (
        reply["step"] == "Malformed" and "<tool_call>" in str(reply["content"])
    )
