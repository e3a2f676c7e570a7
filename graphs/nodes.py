"""The nodes: what happens at each step of a run.

Promises: a node reads the state, logs what it adds before the state has it, and returns an update; it
may be killed anywhere and run again. Limits of the Budget are checked before a cost is paid; seconds are
checked between nodes.
Does not: keep anything between nodes except open sources and logs that were read, both of which it can open
again.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import AIMessage, AnyMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command
from pydantic import ValidationError

from r4agent import evidence, protocol
from r4agent.budget import Spent
from r4agent.errors import UsageError
from r4agent.graphs.dialogue import (
    complaint,
    describe_media,
    describe_step,
    problem_of,
    read_reply,
    storable,
)
from r4agent.graphs.events import announce, emit
from r4agent.graphs.journal import Journal
from r4agent.graphs.kit import Kit
from r4agent.graphs.looking import make, observation
from r4agent.graphs.opening import checked_input, header, new_id
from r4agent.graphs.state import OUTCOME, RuminationState, pictures
from r4agent.ledger import confidence
from r4agent.policy import aask, ask
from r4agent.protocol import Answer, Call, Malformed, NotFound, Step
from r4agent.tools import TOOLS

Update = dict[str, Any]
Logged = tuple[AnyMessage, dict[str, Any]]  # a message, and its line
ToPictures = Command[Literal["re_encode", "policy"]]


@dataclass
class Nodes:
    """The nodes of one graph. They share its kit."""

    kit: Kit

    def prepare(self, state: RuminationState) -> Update:
        """Open the media, name the episode, and choose the overview. Logs nothing: until the opening is
        made there is nothing to lose, and a run killed here starts afresh."""
        started = time.monotonic()
        media, question, choices = checked_input(state, self.kit.roots)
        before = state.get("episode") if state.get("messages") else None
        episode = str(self.kit.episodes / f"{new_id()}.jsonl")
        with self.kit.closing_on_error(episode), self.kit.sources.lease(episode, media) as source:
            if before and state["source"] != source.id:
                raise UsageError(f"{media}: this thread is about other media; ask on a new thread")
            wanted = [] if before else self.kit.overview(source)
            source_id = source.id
            emit("opened", media=media, kind=source.kind, count=source.count, duration=source.duration)
        return {
            "media": media,
            "question": question,
            "choices": choices,
            "source": source_id,
            "wanted": [view.recipe for view in wanted],
            "call": None,
            "answer": None,
            "status": None,
            "supported": "unchecked",
            "confidence": None,
            "evidence": [],
            "usage": Spent(seconds=time.monotonic() - started).model_dump(),
            "episode": episode,
            "continues": before,
        }

    def policy(self, state: RuminationState, config: RunnableConfig) -> Command[Any]:
        """Ask the policy for its next turn."""
        started = time.monotonic()
        journal, known = self._recall(state)
        reply = None
        if known is None:
            with self.kit.failing(state):
                reply = ask(
                    self.kit.policy,
                    journal.messages,
                    tools=self.kit.signatures,
                    store=self.kit.store,
                    config=config,
                )
        return self._decide(state, journal, known, reply, started)

    async def apolicy(self, state: RuminationState, config: RunnableConfig) -> Command[Any]:
        """The same, awaited, so that many episodes share one engine. The log is read and written in a thread:
        the event loop of a server does not wait for a disk."""
        started = time.monotonic()
        journal, known = await asyncio.to_thread(self._recall, state)
        reply = None
        if known is None:
            try:
                reply = await aask(
                    self.kit.policy,
                    journal.messages,
                    tools=self.kit.signatures,
                    store=self.kit.store,
                    config=config,
                )
            except BaseException as error:
                await asyncio.to_thread(self._fail, state, error)
                raise
        return await asyncio.to_thread(self._decide, state, journal, known, reply, started)

    def select_frames(self, state: RuminationState) -> ToPictures:
        """Choose whole frames, in medium detail."""
        return self._choose(state, "select_frames")

    def zoom(self, state: RuminationState) -> ToPictures:
        """Choose a region of a picture already seen."""
        return self._choose(state, "zoom")

    def re_encode(self, state: RuminationState) -> Update:
        """Make the Views that are wanted into pictures, and show them to the policy."""
        started = time.monotonic()
        journal = self.kit.journal(state)
        spent = Spent.model_validate(state["usage"])
        with self.kit.failing(state):
            if not journal.messages:
                journal.recall()  # the system message
            elif state["call"] is None and getattr(journal.messages[-1], "tool_calls", None):
                # The run before failed at this call; chat models want every call answered.
                self._open_episode(state, journal)
                journal.refuse(journal.messages[-1], "not done: that run ended")
            if known := journal.recall():
                spent = Spent.model_validate(known[1]["spent"])
            else:
                made, problem = make(self.kit, state, spent)
                # Only now: LangGraph may still be saving the checkpoint that names this episode, and a run
                # killed before that is saved begins another.
                if state["call"] is None:
                    self._open_episode(state, journal)
                spent = self.kit.paid(spent, made).plus(seconds=time.monotonic() - started)
                message = observation(self.kit, state, made, problem, spent)
                journal.add(message, spent=spent.model_dump())
        return {"messages": journal.new, "wanted": [], "call": None, "usage": spent.model_dump()}

    def answer(self, state: RuminationState) -> Update:
        """End the run: find the evidence, check it, and close the episode."""
        started = time.monotonic()
        status = state["status"]
        found: list[evidence.Evidence] = []
        supported: evidence.Supported = "unchecked"
        text = None
        step = read_reply(_last_reply(state["messages"])).step
        with self.kit.failing(state):
            if isinstance(step, Answer) and status in ("answered", "forced"):
                text = step.text
                found, supported = evidence.gather(
                    step,
                    pictures(state["messages"]),
                    profile=self.kit.profile,
                    store=self.kit.store,
                    reader=self.kit.reader,
                )
            spent = Spent.model_validate(state["usage"]).plus(seconds=time.monotonic() - started)
            end = {
                "answer": text,
                "status": status,
                "supported": supported,
                "confidence": confidence(_last_reply(state["messages"])),
                "evidence": [e.model_dump(mode="json") for e in found],
                "usage": spent.model_dump(),
            }
            end = self.kit.journal(state).end({**end, "error": None})
        self.kit.close(state["episode"])
        emit("answer", answer=end["answer"], status=status)
        result = {key: end[key] for key in OUTCOME}
        return {**result, "choices": []}  # those go with the question; the next one may have none

    # Parts of the nodes, in the order in which they are used.

    def _open_episode(self, state: RuminationState, journal: Journal) -> None:
        """The header, and the system message unless the thread has one from an earlier question."""
        with self.kit.source(state) as source:
            journal.log.once("episode", header(state, source) | self.kit.settings())
            if not journal.messages:
                about = describe_media(source)
                system = protocol.system_text(about, self.kit.signatures, self.kit.profile, self.kit.budget)
                journal.add(SystemMessage(system))

    def _recall(self, state: RuminationState) -> tuple[Journal, Logged | None]:
        journal = self.kit.journal(state)
        return journal, journal.recall()

    def _decide(
        self,
        state: RuminationState,
        journal: Journal,
        known: Logged | None,
        reply: AIMessage | None,
        started: float,
    ) -> Command[Any]:
        """Log a reply, unless it is known, and where it leads."""
        if known is None:
            assert reply is not None
            with self.kit.failing(state):
                known = self._log_reply(journal, reply, started)
        return self._after_reply(state, journal, known[1])

    def _fail(self, state: RuminationState, error: BaseException) -> None:
        with self.kit.failing(state):
            raise error

    def _log_reply(self, journal: Journal, reply: AIMessage, started: float) -> Logged:
        reply = storable(reply)
        turn = read_reply(reply)
        if isinstance(turn.step, Call) and not reply.tool_calls:
            call = {"name": turn.step.name, "args": turn.step.arguments, "id": f"c{len(journal.messages)}"}
            reply = reply.model_copy(update={"tool_calls": [{**call, "type": "tool_call"}]})
        usage = reply.usage_metadata
        cost = {"new_tokens": usage["output_tokens"] if usage else 0, "seconds": time.monotonic() - started}
        return journal.add(reply, cost=cost, step=type(turn.step).__name__)

    def _after_reply(self, state: RuminationState, journal: Journal, line: dict[str, Any]) -> Command[Any]:
        """Where a logged reply leads; what can't be carried out is answered with the reason."""
        reply = journal.messages[-1]
        assert isinstance(reply, AIMessage)
        before = Spent.model_validate(state["usage"])
        spent = before.plus(turns=1, **line["cost"])
        last = not self.kit.ruminates or self.kit.budget.last(before)
        step = self._judged(read_reply(reply).step, state, last)
        emit("turn", turn=spent.turns, step=describe_step(step))
        status, call = None, None
        match step:
            case Answer():
                status, goto = "forced" if last and self.kit.ruminates else "answered", "answer"
            case NotFound():
                status, goto = "refused", "answer"
            case _ if last:
                status, goto = "budget", "answer"
                journal.refuse(reply, "not done: that was the last turn")
            case Call(name=name, arguments=arguments):
                call, goto = {"id": reply.tool_calls[0]["id"], "arguments": arguments}, name
            case Malformed(problem=problem):
                goto = "policy"
                journal.refuse(reply, complaint(problem, self.kit.closing(spent)))
        update = {"messages": journal.new, "usage": spent.model_dump(), "call": call, "status": status}
        return Command(update=update, goto=goto)

    def _judged(self, step: Step, state: RuminationState, last: bool) -> Step:
        """The step, or what is wrong with it here. An answer on the last turn stands, whatever it cites."""
        if isinstance(step, Call) and step.name not in (TOOLS if self.kit.ruminates else {}):
            known = ", ".join(TOOLS) if self.kit.ruminates else "none"
            return Malformed(f"no tool is called {step.name!r}; there are: {known}")
        if isinstance(step, Answer) and not last:
            problem = evidence.check_cites(step, pictures(state["messages"]), self.kit.profile)
            return Malformed(problem) if problem else step
        return step

    def _choose(self, state: RuminationState, tool: str) -> ToPictures:
        """Choose the Views that a call asks for; what is wrong with the call goes to the model."""
        started, call = time.monotonic(), state["call"]
        assert call is not None
        with self.kit.failing(state):
            try:
                with self.kit.source(state) as source:
                    views = self.kit.choose(tool, call["arguments"], pictures(state["messages"]), source)
            except (UsageError, ValidationError) as error:
                journal = self.kit.journal(state)
                spent = Spent.model_validate(state["usage"])
                text = complaint(problem_of(error), self.kit.closing(spent))
                journal.add(ToolMessage(text, tool_call_id=call["id"], status="error"))
                return Command(update={"messages": journal.new, "call": None}, goto="policy")
        for view in views:
            announce(view, of=call["arguments"]["view"] if tool == "zoom" else None)
        usage = Spent.model_validate(state["usage"]).plus(seconds=time.monotonic() - started)
        update = {"wanted": [view.recipe for view in views], "usage": usage.model_dump()}
        return Command(update=update, goto="re_encode")


def _last_reply(messages: list[AnyMessage]) -> AIMessage:
    return next(m for m in reversed(messages) if isinstance(m, AIMessage))
