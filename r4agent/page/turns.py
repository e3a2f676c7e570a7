"""Turns: a message of a log as what was thought, done, shown and said.

Promises: a reply is understood as the graph understood it.
Does not: know of other messages.
"""

import json
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage

from r4agent.graphs.dialogue import read_reply
from r4agent.page.sights import Sight
from r4agent.page.wording import counted, seconds
from r4agent.protocol import Answer, Call, Malformed, NotFound, parse


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


def turn_of(line: dict[str, Any], number_: int) -> Turn:
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
        case Answer(text=text, cites=cites):
            did, answer = "answer", text
            call = "\n".join(f"evidence: {cite.view}{_box(cite.box)}" for cite in cites)
        case NotFound(why=why):
            did, answer = "not found", why
        case Malformed() if line.get("step") == "Answer":  # an agent of someone else's, in free text
            did, answer = "answer", str(message.text)
        case Malformed() if line.get("step") == "Call":  # or with several calls
            did = ", ".join(str(made["name"]) for made in message.tool_calls)
            call = "\n".join(_arguments(made["args"]) for made in message.tool_calls)
        case Malformed(problem=problem):
            did, call = "malformed reply", str(message.text)
    said = parse(str(message.text)) if "</" in str(message.text) else turn  # calls are kept apart as well
    thought = "\n".join(part for part in (*_reasoning(line), said.thought) if part and part != call)
    cost = line.get("cost", {})
    parts = [seconds(cost["seconds"])] if "seconds" in cost else []
    if cost.get("new_tokens"):
        parts.append(counted(cost["new_tokens"], "token"))
    is_call = isinstance(turn.step, Call) or (line.get("step") == "Call" and not problem)
    return Turn(number_, did, is_call, thought, call, answer, problem, ", ".join(parts), ())


def _box(box: tuple[float, ...] | None) -> str:
    return f" [{', '.join(f'{v:g}' for v in box)}]" if box else ""


def _arguments(arguments: dict[str, Any]) -> str:
    """One argument a line, each as JSON."""
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())


def _reasoning(line: dict[str, Any]) -> list[str]:
    """What a reasoning model thought, where its chat model keeps that apart from the text."""
    keys = {"reasoning": "reasoning", "thinking": "thinking"}
    return [str(b.get(keys[b["type"]], "")) for b in blocks_of(line) if b.get("type") in keys]


def blocks_of(line: dict[str, Any]) -> list[dict[str, Any]]:
    content = line["content"]
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [{"type": "text", "text": block} if isinstance(block, str) else block for block in content]


def is_picture(block: dict[str, Any]) -> bool:
    return block.get("type") == "image" and "file_id" in block


def text_of(line: dict[str, Any]) -> str:
    return "\n".join(str(block["text"]) for block in blocks_of(line) if block.get("type") == "text")
