"""The journal: each message of a run is logged before it enters the state, and logged once.

Promises: a message's id follows from the messages before it, so a node that runs again after a kill finds
what it logged the first time and uses that; an edited history gets new ids and a new line. What one node has
read and spelt, the next need not: a turn costs little more after many turns than after few.
Does not: decide anything, or take a message for the one it was when it is another object.
"""

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage

from r4agent.episode import EpisodeLog

MOST = 256  # episodes whose logs are kept in memory between nodes; any other is read from its file again


@dataclass
class _Kept:
    """What the journals of one episode share: its log, and each message as it was spelt for the ids."""

    log: EpisodeLog
    spelt: dict[str | None, tuple[AnyMessage, bytes]] = field(default_factory=dict)


class Journals:
    """The journals of one graph's episodes. Safe to use from several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, episode: str, messages: Sequence[AnyMessage]) -> "Journal":
        """The journal of a node's run, which goes on from these messages."""
        with self._lock:
            kept = self._kept.pop(episode, None) or _Kept(_log(Path(episode)))
            self._kept[episode] = kept
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return Journal(kept, messages)

    def close(self, episode: str) -> None:
        """The episode has ended: keep nothing of it. It may be opened again."""
        with self._lock:
            self._kept.pop(episode, None)


class Journal:
    """Messages of one node's run, appended to those in the state."""

    def __init__(self, kept: _Kept, messages: Sequence[AnyMessage]) -> None:
        self.log = kept.log
        self.messages: list[AnyMessage] = []
        self.new: list[AnyMessage] = []
        self._spelt = kept.spelt
        self._chain = hashlib.sha256()
        for message in messages:
            self._follow(message)

    def recall(self) -> tuple[AnyMessage, dict[str, Any]] | None:
        """The next message and its line, if an earlier run of this node logged it."""
        line = self.log.get(self._next_id())
        if line is None:
            return None
        return self._append(_message(line)), line

    def add(self, message: AnyMessage, **more: Any) -> tuple[AnyMessage, dict[str, Any]]:
        """Log the message as the next one, with `more` on its line, unless it is logged already."""
        key = self._next_id()
        line = {"type": "message", "id": key, "after": self._last_id(), **_line(message), **more}
        line = self.log.once(key, line)
        return self._append(_message(line)), line  # as the log has it, whoever wrote it

    def note(self, message: AnyMessage, **more: Any) -> None:
        """Log a message that a state has already: what it says decides its id too, so that another in its
        place is another line."""
        key = self._id_of(message)
        line = {"type": "message", "id": key, "after": self._last_id(), **_line(message), **more}
        self._append(_message(self.log.once(key, line)))

    def has(self, message: AnyMessage) -> bool:
        """Whether the message was noted next; if so, the journal goes on after it."""
        line = self.log.get(self._id_of(message))
        if line is not None:
            self._append(_message(line))
        return line is not None

    def refuse(self, reply: AnyMessage, text: str) -> None:
        """Answer a reply that can't be carried out, each of its calls where it has some."""
        calls = [*reply.tool_calls, *reply.invalid_tool_calls] if isinstance(reply, AIMessage) else []
        for call in calls:
            self.add(ToolMessage(text, tool_call_id=str(call["id"]), status="error"))
        if not calls:
            self.add(HumanMessage(text))

    def end(self, line: dict[str, Any]) -> dict[str, Any]:
        """Log how the run ended; a run that ended here before ends the same, unless it had failed."""
        failed = line["status"] == "failed"
        key = f"failed-{time.time_ns()}" if failed else f"end-{self._last_id()}"
        return self.log.once(key, {"type": "end", "after": self._last_id(), **line})

    def _last_id(self) -> str | None:
        return self.messages[-1].id if self.messages else None

    def _append(self, message: AnyMessage) -> AnyMessage:
        self._follow(message)
        self.new.append(message)
        return message

    def _follow(self, message: AnyMessage) -> None:
        self.messages.append(message)
        same, spelt = self._spelt.get(message.id, (None, b""))
        if same is not message:
            spelt = json.dumps([message.id, _line(message)], sort_keys=True).encode()
            self._spelt[message.id] = message, spelt
        self._chain.update(spelt)

    def _id_of(self, message: AnyMessage) -> str:
        chain = self._chain.copy()
        chain.update(json.dumps(_line(message), sort_keys=True).encode())
        return f"m{len(self.messages)}-{chain.hexdigest()[:8]}"

    def _next_id(self) -> str:
        return f"m{len(self.messages)}-{self._chain.hexdigest()[:8]}"


def _log(path: Path) -> EpisodeLog:
    return EpisodeLog(path.parent, path.stem)


def _line(message: AnyMessage) -> dict[str, Any]:
    line: dict[str, Any] = {"role": message.type, "content": message.content}
    if isinstance(message, AIMessage):
        line |= {
            "tool_calls": message.tool_calls,
            "invalid_tool_calls": message.invalid_tool_calls,
            "usage_metadata": message.usage_metadata,
            "response_metadata": message.response_metadata,
            "additional_kwargs": message.additional_kwargs,
        }
    if isinstance(message, ToolMessage):
        line |= {"tool_call_id": message.tool_call_id, "name": message.name, "status": message.status}
    return line


def _message(line: dict[str, Any]) -> AnyMessage:
    common = {"id": line["id"], "content": line["content"]}
    match line["role"]:
        case "ai":
            return AIMessage(
                **common,
                tool_calls=line["tool_calls"],
                invalid_tool_calls=line["invalid_tool_calls"],
                usage_metadata=line["usage_metadata"],
                response_metadata=line["response_metadata"],
                additional_kwargs=line["additional_kwargs"],
            )
        case "tool":
            more = {key: line[key] for key in ("tool_call_id", "name", "status")}
            return ToolMessage(**common, **more)
        case "system":
            return SystemMessage(**common)
        case _:
            return HumanMessage(**common)
