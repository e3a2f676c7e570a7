"""The middleware: rumination for an agent that someone already has.

    agent = create_agent(model, tools=[…], middleware=[RuminationMiddleware()])
    result = agent.invoke({"messages": [("user", "How large is the snapshot?")], "media": "demo.mp4"})

Promises: the agent sees an overview of the media, and can look again with `select_frames`, `zoom` and
`re_encode`; when the budget's last turn comes, looking is over and an answer is demanded. State, checkpoints
and tracing hold references; pictures are put in below the model's callbacks. Each run is an episode, as the
graph writes one. Without `media` the agent is as it was.
Does not: name media (the caller does, the model can't), keep tokens (the episode's header says so), or limit
the agent's own tools.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime
from langgraph.types import Command

from r4agent import evidence, protocol
from r4agent.budget import Budget, Spent
from r4agent.errors import MissingError, UsageError
from r4agent.geometry import QWEN2_5_VL, ModelProfile
from r4agent.graphs.agent_log import AgentLog
from r4agent.graphs.dialogue import describe_media, shown
from r4agent.graphs.events import emit
from r4agent.graphs.opening import checked_media, new_id
from r4agent.graphs.optics import Optics
from r4agent.graphs.sources import Sources
from r4agent.graphs.state import OUTCOME, RuminationOutput, pictures
from r4agent.graphs.toolkit import Looking, Toolkit, cost_of
from r4agent.ledger import confidence
from r4agent.media import Limits
from r4agent.media.roots import AnyRoots, Roots
from r4agent.media.store import MediaStore, home
from r4agent.policy.conversation import text_block
from r4agent.policy.pixels import seeing
from r4agent.protocol import Answer, Cite, NotFound
from r4agent.reader import Reader
from r4agent.tools import TOOLS

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
        ToolCallRequest,
    )
    from langchain.agents.middleware.types import OmitFromInput, OmitFromOutput, PrivateStateAttr
except ImportError as missing:
    raise MissingError("RuminationMiddleware needs langchain: pip install 'r4agent[agents]'") from missing

LAST = "There are no more looks: answer now from what you have seen."

Request = ModelRequest[Any]
Response = ModelResponse[Any]
Done = ToolMessage | Command[Any]
Update = dict[str, Any] | None


class RuminationAgentState(AgentState[Any]):
    """media: given with the messages, by the caller; kept by the thread. rumination: how the run ended, as
    the graph tells it. looking: what the middleware knows meanwhile."""

    media: NotRequired[Annotated[str, OmitFromOutput]]
    rumination: NotRequired[Annotated[RuminationOutput, OmitFromInput]]
    looking: NotRequired[Annotated[Looking, PrivateStateAttr]]


class RuminationMiddleware(AgentMiddleware[RuminationAgentState, Any, Any]):
    """Visual rumination for `langchain.agents.create_agent`. Name it last in the list of middleware, so that
    a model which another one puts in place is shown pictures too.

    The arguments are those of `create_rumination_graph`. A reader checks an answer that is given as
    `<answer>…</answer>`; free text can't be checked.
    """

    state_schema = RuminationAgentState

    def __init__(
        self,
        *,
        budget: Budget | None = None,
        profile: ModelProfile = QWEN2_5_VL,
        reader: Reader | None = None,
        store: MediaStore | None = None,
        episodes: str | Path | None = None,
        limits: Limits | None = None,
        roots: AnyRoots | None = None,
    ) -> None:
        super().__init__()
        self.optics = Optics(profile=profile, budget=budget or Budget(), store=store or MediaStore())
        self.reader = reader
        self.roots = None if roots is None else Roots.of(roots)
        self.sources = Sources(limits or Limits())
        folder = (Path(episodes) if episodes is not None else home() / "episodes").absolute()
        self.log = AgentLog(self.optics, reader, folder, made_by=type(self).__name__)
        self.tools = Toolkit(self.optics, self.sources).tools()

    # What create_agent calls, in the order in which it does.

    def before_agent(self, state: RuminationAgentState, runtime: Runtime[Any]) -> Update:
        """Open the media and show an overview of it, unless the thread has seen it."""
        if not state.get("media"):
            return None
        started, messages, before = time.monotonic(), state["messages"], state.get("looking")
        media, episode = (
            checked_media(state["media"], self.roots),
            str(self.log.episodes / f"{new_id()}.jsonl"),
        )
        named = before["named"] if before else 0
        with self.sources.lease(episode, media) as source:
            if before and before["source"] != source.id:
                raise UsageError(f"{media}: this thread is about other media; ask on a new thread")
            emit("opened", media=media, kind=source.kind, count=source.count, duration=source.duration)
            views = [] if pictures(messages) else self.optics.overview(source)
            made, problem = self.optics.make(source, views, first=named + 1)
            about, source_id = describe_media(source), source.id
        overview = HumanMessage(
            shown(made, problem or "", f"That is an overview of {about}."),
            name="overview",
            id=str(uuid.uuid4()),
        )
        new = messages[self.log.reached(before, messages) :]
        asked = [message for message in new if isinstance(message, HumanMessage)]
        spent = self.optics.paid(Spent(), made).plus(seconds=time.monotonic() - started)
        looking: Looking = {
            "episode": episode,
            "continues": before["episode"] if before else None,
            "media": media,
            "source": source_id,
            "about": about,
            "question": str(asked[-1].text) if asked else "",
            "start": str((new or [overview])[0].id),
            "named": named + len(made),
            "usage": spent.model_dump(),
            "cost": {},
            "last": False,
        }
        return {"looking": looking, "messages": [overview] if made else []}

    def before_model(self, state: RuminationAgentState, runtime: Runtime[Any]) -> Update:
        """Count what looks have cost; when the next turn is the last, look no more."""
        looking = state.get("looking")
        if looking is None:
            return None
        spent, new = Spent.model_validate(looking["usage"]), _since_reply(state["messages"])
        for message in new:
            spent = spent.plus(**cost_of(message))
        named = max([looking["named"], *(int(name.removeprefix("v")) for name in pictures(new))])
        last = looking["last"] or self.optics.budget.last(spent)
        demand = [HumanMessage(LAST, name="budget")] if last and not looking["last"] else []
        now = {**looking, "usage": spent.model_dump(), "named": named, "last": last}
        return {"looking": now, "messages": demand}

    def wrap_model_call(
        self, request: Request, handler: Callable[[Request], Response]
    ) -> Response | ExtendedModelResponse[Any]:
        """Ask the model, which sees pictures where the state has references, and log its reply."""
        if "looking" not in request.state:
            return handler(_without_looks(request))
        started = time.monotonic()
        try:
            response = handler(self._ready(request))
            return self._heard(request, response, time.monotonic() - started)
        except Exception as error:
            self._failed(request.state, error)
            raise

    async def awrap_model_call(
        self, request: Request, handler: Callable[[Request], Awaitable[Response]]
    ) -> Response | ExtendedModelResponse[Any]:
        if "looking" not in request.state:
            return await handler(_without_looks(request))
        started = time.monotonic()
        try:
            response = await handler(await asyncio.to_thread(self._ready, request))
            return self._heard(request, response, time.monotonic() - started)
        except Exception as error:
            await asyncio.to_thread(self._failed, request.state, error)
            raise

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Done]) -> Done:
        """Log a failure: of any tool, since it ends the run."""
        try:
            return handler(request)
        except Exception as error:
            self._failed(request.state, error)
            raise

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Done]]
    ) -> Done:
        try:
            return await handler(request)
        except Exception as error:
            await asyncio.to_thread(self._failed, request.state, error)
            raise

    def after_agent(self, state: RuminationAgentState, runtime: Runtime[Any]) -> Update:
        """End the episode."""
        looking = state.get("looking")
        if looking is None:
            return None
        step, checkable = _said(state["messages"])
        last = state["messages"][-1]
        end: dict[str, Any] = {"answer": None, "supported": "unchecked", "evidence": [], "error": None}
        end["confidence"] = confidence(last) if isinstance(last, AIMessage) else None
        match step:
            case Answer(text=text):
                found, end["supported"] = evidence.gather(
                    step,
                    pictures(state["messages"]),
                    profile=self.optics.profile,
                    store=self.optics.store,
                    reader=self.reader if checkable else None,
                )
                end |= {"answer": text, "evidence": [place.model_dump(mode="json") for place in found]}
                end["status"] = "forced" if looking["last"] else "answered"
            case NotFound():
                end["status"] = "refused"
            case _:
                end["status"] = "budget"
        ended = self.log.end(looking, state["messages"], end)
        self.sources.close(looking["episode"])
        emit("answer", answer=ended["answer"], status=ended["status"])
        result = {key: ended[key] for key in OUTCOME}
        return {"rumination": {**result, "episode": looking["episode"]}}

    async def abefore_agent(self, state: RuminationAgentState, runtime: Runtime[Any]) -> Update:
        return await asyncio.to_thread(self.before_agent, state, runtime)

    async def aafter_agent(self, state: RuminationAgentState, runtime: Runtime[Any]) -> Update:
        return await asyncio.to_thread(self.after_agent, state, runtime)

    # Parts of these.

    def _ready(self, request: Request) -> Request:
        """The request with what this adds to it, once its episode has begun."""
        looking: Looking = request.state["looking"]  # type: ignore[typeddict-item]
        if not self.log.begun(looking):
            with self.sources.lease(
                looking["episode"], looking["media"], source_id=looking["source"]
            ) as source:
                self.log.begin(looking, source, request.model)
        self.log.write(looking, request.state["messages"])
        system = request.system_message
        before = [*system.content_blocks, text_block("\n\n")] if system else []
        able = _without_looks(request) if looking["last"] else request
        return able.override(
            model=seeing(request.model, self.optics.store),
            system_message=SystemMessage([*before, text_block(self.log.guide(looking))]),  # type: ignore[list-item]
        )

    def _heard(self, request: Request, response: Response, seconds: float) -> ExtendedModelResponse[Any]:
        """Count the turn. Its reply is logged once the state has it: others may change it before."""
        looking: Looking = request.state["looking"]  # type: ignore[typeddict-item]
        reply = next(message for message in response.result if isinstance(message, AIMessage))
        tokens = reply.usage_metadata["output_tokens"] if reply.usage_metadata else 0
        cost = {"new_tokens": tokens, "seconds": seconds}
        spent = Spent.model_validate(looking["usage"]).plus(turns=1, **cost)
        emit("turn", turn=spent.turns, step=", ".join(call["name"] for call in reply.tool_calls) or "answer")
        update = {"looking": {**looking, "usage": spent.model_dump(), "cost": cost}}
        return ExtendedModelResponse(response, Command(update=update))

    def _failed(self, state: Mapping[str, Any], error: Exception) -> None:
        """Log that the run failed, and let go of its media; an interrupt is no failure."""
        looking: Looking | None = state.get("looking")
        if looking is None:
            return
        if not isinstance(error, GraphBubbleUp):
            self.log.fail(looking, state["messages"], error)
        self.sources.close(looking["episode"])


def _without_looks(request: Request) -> Request:
    """The request without our tools: there is no media, or looking is over."""
    others = [tool for tool in request.tools if isinstance(tool, dict) or tool.name not in TOOLS]
    return request.override(tools=others)


def _since_reply(messages: Sequence[AnyMessage]) -> Sequence[AnyMessage]:
    """What came after the last reply."""
    replies = [at for at, message in enumerate(messages) if isinstance(message, AIMessage)]
    return messages[replies[-1] + 1 :] if replies else messages


def _said(messages: Sequence[AnyMessage]) -> tuple[Answer | NotFound | None, bool]:
    """How the agent ended, and whether a reader can check it: in the text protocol, or else as free text that
    may name the pictures it was read in."""
    text = str(messages[-1].text).strip() if messages else ""
    match protocol.parse(text).step:
        case Answer() | NotFound() as step:
            return step, True
    names = dict.fromkeys(re.findall(r"\bv\d+\b", text))
    return Answer(text, tuple(Cite(name) for name in names)) if text else None, False
