"""The toolkit: `select_frames`, `zoom` and `re_encode` as LangChain tools, for the middleware.

Promises: a call chooses *and* makes its pictures, so that a zoom shows its picture: references with their
names and true times as content, what it cost as artifact. What a model did wrong comes back as a tool message
with the status `error`. Calls of one reply run at the same time: each is reckoned as if those before it had
taken all they may, so that no two pictures share a name and the budget holds.
Does not: keep anything. The agent's state says what is looked at, under `looking`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.prebuilt import ToolRuntime
from pydantic import ValidationError

from r4agent.budget import Spent
from r4agent.errors import UsageError
from r4agent.graphs.dialogue import complaint, problem_of, shown, signature
from r4agent.graphs.events import chosen
from r4agent.graphs.optics import Optics
from r4agent.graphs.sources import Sources
from r4agent.graphs.state import pictures
from r4agent.tools import TOOLS, detail_tokens
from r4agent.tools.select_frames import MOST

NO_MEDIA = "there is no media to look at; answer without"
LATE = "not done: there are no looks left; answer from what you have seen"


class Looking(TypedDict):
    """What a run is looking at, as plain data. media: a path; source: the media's id. about: the media in
    words. start: the id of the run's first message. named: pictures that have had a name on this thread.
    usage: `Spent`; cost: what the last turn added to it. last: whether looking is over."""

    episode: str
    continues: str | None
    media: str
    source: str
    about: str
    question: str
    start: str
    named: int
    usage: dict[str, Any]
    cost: dict[str, Any]
    last: bool


@dataclass(frozen=True)
class Toolkit:
    """The tools of one agent."""

    optics: Optics
    sources: Sources

    def tools(self) -> list[BaseTool]:
        """One for each way to look, with the arguments that the graph's tools have."""
        return [self._tool(signature(name, arguments)["function"]) for name, arguments in TOOLS.items()]

    def _tool(self, spec: Mapping[str, Any]) -> BaseTool:
        def look(runtime: ToolRuntime, **arguments: Any) -> tuple[list[Any], dict[str, Any]]:
            return self.look(spec["name"], arguments, runtime)

        return StructuredTool(
            name=spec["name"],
            description=spec["description"],
            args_schema=spec["parameters"],  # as JSON schema: `choose` says what is wrong, in our words
            func=look,
            response_format="content_and_artifact",
            handle_tool_error=True,
        )

    def look(
        self, name: str, arguments: dict[str, Any], runtime: ToolRuntime
    ) -> tuple[list[Any], dict[str, Any]]:
        """The content and artifact of a call's tool message."""
        started = time.monotonic()
        run: Looking | None = runtime.state.get("looking")
        if run is None:
            raise ToolException(complaint(NO_MEDIA))
        if run["last"]:
            raise ToolException(complaint(LATE))
        messages = runtime.state["messages"]
        spent, named = self._after(_calls_before(messages, runtime.tool_call_id), run)
        with self.sources.lease(run["episode"], run["media"], source_id=run["source"]) as source:
            try:
                views = self.optics.choose(name, arguments, pictures(messages), source)
                self.optics.afford(views, spent)
            except (UsageError, ValidationError) as error:
                raise ToolException(complaint(problem_of(error, source.path))) from error
            for view in views:
                runtime.stream_writer(chosen(view, of=arguments["view"] if name == "zoom" else None))
            made, problem = self.optics.make(source, views, first=named + 1)
        if not made and problem is not None:
            raise ToolException(complaint(problem))
        cost = self.optics.paid(Spent(), made).plus(seconds=time.monotonic() - started)
        return shown(made, problem or ""), {"cost": cost.model_dump(), "pictures": [p.name for p in made]}

    def _after(self, calls: Sequence[ToolCall], run: Looking) -> tuple[Spent, int]:
        """What may be spent, and how many pictures may have a name, once these calls have run."""
        spent, named, budget = Spent.model_validate(run["usage"]), run["named"], self.optics.budget
        for call in calls:
            frames = [*_listed(call, "times"), *_listed(call, "frames")]
            most = min(len(frames), MOST) if call["name"] == "select_frames" else 1
            medium = detail_tokens("medium", budget)
            each = medium if call["name"] == "select_frames" else budget.picture_tokens
            spent, named = spent.plus(images=most, image_tokens=most * each), named + most
        return spent, named


def _calls_before(messages: Sequence[AnyMessage], call_id: str | None) -> list[ToolCall]:
    """The looks that stand before this call in the reply that makes it."""
    reply = next((m for m in reversed(messages) if isinstance(m, AIMessage)), None)
    calls = [call for call in reply.tool_calls if call["name"] in TOOLS] if reply else []
    ids = [call["id"] for call in calls]
    return calls[: ids.index(call_id)] if call_id in ids else []


def _listed(call: ToolCall, key: str) -> list[Any]:
    value = call["args"].get(key)
    return value if isinstance(value, list) else []


def cost_of(message: AnyMessage) -> dict[str, Any]:
    """What a look cost, from its tool message; nothing for any other message."""
    if not isinstance(message, ToolMessage) or message.name not in TOOLS:
        return {}
    return message.artifact["cost"] if isinstance(message.artifact, dict) else {}
