"""The nodes: what happens at each step of a run.

Promises: a node reads the state, logs what it adds before the state has it, and returns an update; it
may be killed anywhere and run again. Limits of the Budget are checked before a cost is paid; seconds are
checked between nodes.
Does not: keep anything between nodes except open sources, which it can open again.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command
from pydantic import ValidationError

from r4agent import evidence, protocol
from r4agent.budget import Budget, Spent
from r4agent.errors import MediaError, UsageError, one_line
from r4agent.geometry import ModelProfile
from r4agent.graphs.dialogue import (
    complaint,
    describe_media,
    describe_step,
    label,
    problem_of,
    read_reply,
    signature,
    storable,
)
from r4agent.graphs.events import announce, emit
from r4agent.graphs.journal import Journal
from r4agent.graphs.opening import checked_input, header, new_id
from r4agent.graphs.sources import Sources
from r4agent.graphs.state import RuminationState, pictures
from r4agent.media import Source
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture, View
from r4agent.policy import aask, ask
from r4agent.policy.conversation import text_block
from r4agent.protocol import Answer, Call, Malformed, NotFound, Step, Turn
from r4agent.reader import Reader
from r4agent.tools import (
    TOOLS,
    ReEncode,
    SelectFrames,
    Zoom,
    detail_tokens,
    overview,
    re_encode,
    see_again,
    select_frames,
    zoom,
)
from r4agent.tools.select_frames import first_number

Update = dict[str, Any]
ToPictures = Command[Literal["re_encode", "policy"]]


@dataclass
class Nodes:
    """The nodes of one graph, and what they share. `tools` False makes a policy that looks once."""

    policy_model: BaseChatModel
    profile: ModelProfile
    budget: Budget
    store: MediaStore
    sources: Sources
    episodes: Path
    reader: Reader | None
    tools: bool = True
    signatures: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.signatures = [signature(name, model) for name, model in TOOLS.items()] if self.tools else []

    def prepare(self, state: RuminationState) -> Update:
        """Open the media, name the episode, and choose the overview. Logs nothing: until the opening is
        made there is nothing to lose, and a run killed here starts afresh."""
        started = time.monotonic()
        media, question, choices = checked_input(state)
        before = state.get("episode") if state.get("messages") else None
        episode = str(self.episodes / f"{new_id()}.jsonl")
        with self._closing_on_error(episode), self.sources.lease(episode, media) as source:
            if before and state["source"] != source.id:
                raise UsageError(f"{media}: this thread is about other media; ask on a new thread")
            wanted = [] if before else self._overview(source)
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
            "evidence": [],
            "usage": Spent(seconds=time.monotonic() - started).model_dump(),
            "episode": episode,
            "continues": before,
        }

    def policy(self, state: RuminationState, config: RunnableConfig) -> Command[Any]:
        """Ask the policy for its next turn."""
        journal, started = Journal(state["episode"], state["messages"]), time.monotonic()
        if journal.recall() is None:
            with self._failing(state):
                reply = ask(
                    self.policy_model,
                    journal.messages,
                    tools=self.signatures,
                    store=self.store,
                    config=config,
                )
                self._log_reply(journal, reply, started)
        return self._after_reply(state, journal)

    async def apolicy(self, state: RuminationState, config: RunnableConfig) -> Command[Any]:
        """The same, awaited, so that many episodes share one engine."""
        journal, started = Journal(state["episode"], state["messages"]), time.monotonic()
        if journal.recall() is None:
            with self._failing(state):
                reply = await aask(
                    self.policy_model,
                    journal.messages,
                    tools=self.signatures,
                    store=self.store,
                    config=config,
                )
                self._log_reply(journal, reply, started)
        return self._after_reply(state, journal)

    def select_frames(self, state: RuminationState) -> ToPictures:
        """Choose whole frames, in medium detail."""

        def choose(arguments: SelectFrames, source: Source) -> list[View]:
            most = detail_tokens("medium", self.budget)
            return select_frames(source, arguments, profile=self.profile, max_tokens=most)

        return self._choose(state, SelectFrames, choose)

    def zoom(self, state: RuminationState) -> ToPictures:
        """Choose a region of a picture already seen."""

        def choose(arguments: Zoom, source: Source) -> list[View]:
            parent = _seen(state, arguments.view).view
            size = source.size_of(parent.frame)
            most = self.budget.picture_tokens
            return [zoom(parent, arguments, source_size=size, profile=self.profile, max_tokens=most)]

        return self._choose(state, Zoom, choose)

    def re_encode(self, state: RuminationState) -> Update:
        """Make the Views that are wanted into pictures, and show them to the policy."""
        started = time.monotonic()
        journal = Journal(state["episode"], state.get("messages", []))
        spent = Spent.model_validate(state["usage"])
        with self._failing(state):
            if not journal.messages:
                journal.recall()  # the system message
            elif state["call"] is None and getattr(journal.messages[-1], "tool_calls", None):
                # The run before failed at this call; chat models want every call answered.
                self._open_episode(state, journal)
                journal.refuse(journal.messages[-1], "not done: that run ended")
            if known := journal.recall():
                spent = Spent.model_validate(known[1]["spent"])
            else:
                made, problem = self._make(state, spent)
                # Only now: LangGraph may still be saving the checkpoint that names this episode, and a run
                # killed before that is saved begins another.
                if state["call"] is None:
                    self._open_episode(state, journal)
                spent = spent.plus(
                    images=len(made),
                    image_tokens=sum(self.profile.tokens(p.view.size) for p in made),
                    decoded_frames=len({p.view.frame for p in made}),
                    seconds=time.monotonic() - started,
                )
                message = self._observation(state, made, problem, spent)
                journal.add(message, spent=spent.model_dump())
        return {"messages": journal.new, "wanted": [], "call": None, "usage": spent.model_dump()}

    def answer(self, state: RuminationState) -> Update:
        """End the run: find the evidence, check it, and close the episode."""
        started = time.monotonic()
        status = state["status"]
        found: list[evidence.Evidence] = []
        supported: evidence.Supported = "unchecked"
        text = None
        step = _last_turn(state["messages"]).step
        with self._failing(state):
            if isinstance(step, Answer) and status in ("answered", "forced"):
                text = step.text
                found, supported = evidence.gather(
                    step,
                    pictures(state["messages"]),
                    profile=self.profile,
                    store=self.store,
                    reader=self.reader,
                )
            spent = Spent.model_validate(state["usage"]).plus(seconds=time.monotonic() - started)
            end = {
                "answer": text,
                "status": status,
                "supported": supported,
                "evidence": [e.model_dump(mode="json") for e in found],
                "usage": spent.model_dump(),
            }
            end = Journal(state["episode"], state["messages"]).end({**end, "error": None})
        self.sources.close(state["episode"])
        emit("answer", answer=end["answer"], status=status)
        # `choices` go with the question: the next one on this thread may have none.
        return {key: end[key] for key in ("answer", "status", "supported", "evidence", "usage")} | {
            "choices": []
        }

    # Parts of the nodes, in the order in which they are used.

    def _overview(self, source: Source) -> list[View]:
        least = -(-self.profile.min_pixels // self.profile.grid**2)
        count = min(self.budget.overview_images, self.budget.images, self.budget.image_tokens // least)
        if count < 1:
            limit = self.budget.image_tokens
            raise UsageError(f"budget image_tokens={limit}: a picture needs at least {least}")
        tokens = min(self.budget.overview_tokens, self.budget.image_tokens // count)
        return overview(source, count, profile=self.profile, max_tokens=tokens)

    def _open_episode(self, state: RuminationState, journal: Journal) -> None:
        """The header, and the system message unless the thread has one from an earlier question."""
        with self._source(state) as source:
            journal.log.once("episode", header(state, source) | self._settings())
            if not journal.messages:
                about = describe_media(source)
                system = protocol.system_text(about, self.signatures, self.profile, self.budget)
                journal.add(SystemMessage(system))

    def _settings(self) -> dict[str, Any]:
        return {
            "policy": self.policy_model._llm_type,
            "profile": self.profile.name,
            "tools": sorted(TOOLS) if self.tools else [],
            "budget": self.budget.model_dump(),
            "reader": self.reader.name if self.reader else None,
            "store": str(self.store.root),
        }

    def _log_reply(self, journal: Journal, reply: AIMessage, started: float) -> None:
        reply = storable(reply)
        turn = read_reply(reply)
        if isinstance(turn.step, Call) and not reply.tool_calls:
            call = {"name": turn.step.name, "args": turn.step.arguments, "id": f"c{len(journal.messages)}"}
            reply = reply.model_copy(update={"tool_calls": [{**call, "type": "tool_call"}]})
        usage = reply.usage_metadata
        cost = {"new_tokens": usage["output_tokens"] if usage else 0, "seconds": time.monotonic() - started}
        journal.add(reply, cost=cost, step=type(turn.step).__name__)

    def _after_reply(self, state: RuminationState, journal: Journal) -> Command[Any]:
        """Where a logged reply leads; what can't be carried out is answered with the reason."""
        reply = journal.messages[-1]
        assert isinstance(reply, AIMessage)
        before = Spent.model_validate(state["usage"])
        line = journal.log.get(str(reply.id)) or {}
        spent = before.plus(turns=1, **line["cost"])
        last = not self.tools or self._last(before)
        step = self._judged(read_reply(reply).step, state, last)
        emit("turn", turn=spent.turns, step=describe_step(step))
        status, call = None, None
        match step:
            case Answer():
                status, goto = "forced" if last and self.tools else "answered", "answer"
            case NotFound():
                status, goto = "refused", "answer"
            case _ if last:
                status, goto = "budget", "answer"
                journal.refuse(reply, "not done: that was the last turn")
            case Call(name=name, arguments=arguments):
                call, goto = {"id": reply.tool_calls[0]["id"], "arguments": arguments}, name
            case Malformed(problem=problem):
                goto = "policy"
                journal.refuse(reply, complaint(problem, self._closing(spent)))
        update = {"messages": journal.new, "usage": spent.model_dump(), "call": call, "status": status}
        return Command(update=update, goto=goto)

    def _judged(self, step: Step, state: RuminationState, last: bool) -> Step:
        """The step, or what is wrong with it here. An answer on the last turn stands, whatever it cites."""
        if isinstance(step, Call) and step.name not in (TOOLS if self.tools else {}):
            known = ", ".join(TOOLS) if self.tools else "none"
            return Malformed(f"no tool is called {step.name!r}; there are: {known}")
        if isinstance(step, Answer) and not last:
            problem = evidence.check_cites(step, pictures(state["messages"]), self.profile)
            return Malformed(problem) if problem else step
        return step

    def _choose(
        self,
        state: RuminationState,
        arguments_model: type[Any],
        choose: Callable[[Any, Source], list[View]],
    ) -> ToPictures:
        """Check a call's arguments and run the chooser; what is wrong with them goes to the model."""
        started, call = time.monotonic(), state["call"]
        assert call is not None
        with self._failing(state):
            try:
                arguments = arguments_model.model_validate(call["arguments"])
                with self._source(state) as source:
                    views = choose(arguments, source)
            except (UsageError, ValidationError) as error:
                journal = Journal(state["episode"], state["messages"])
                spent = Spent.model_validate(state["usage"])
                text = complaint(problem_of(error), self._closing(spent))
                journal.add(ToolMessage(text, tool_call_id=call["id"], status="error"))
                return Command(update={"messages": journal.new, "call": None}, goto="policy")
        for view in views:
            announce(view, arguments)
        usage = Spent.model_validate(state["usage"]).plus(seconds=time.monotonic() - started)
        update = {"wanted": [view.recipe for view in views], "usage": usage.model_dump()}
        return Command(update=update, goto="re_encode")

    def _make(self, state: RuminationState, spent: Spent) -> tuple[list[Picture], str | None]:
        """The pictures wanted, or what is wrong with wanting them."""
        call = state["call"]
        views = [View.parse(recipe) for recipe in state["wanted"]]
        try:
            if call is not None and not views:
                arguments = ReEncode.model_validate(call["arguments"])
                parent = _seen(state, arguments.view).view
                views = [see_again(parent, arguments, profile=self.profile, budget=self.budget)]
            tokens = sum(self.profile.tokens(view.size) for view in views)
            images_left = self.budget.images - spent.images
            tokens_left = self.budget.image_tokens - spent.image_tokens
            if len(views) > images_left or tokens > tokens_left:
                raise UsageError(
                    f"{len(views)} pictures of {tokens} image tokens asked for; "
                    f"{images_left} pictures of {tokens_left} tokens are left; ask for less"
                )
        except (UsageError, ValidationError) as error:
            return [], problem_of(error)
        if not views:
            return [], None
        first = len(pictures(state.get("messages", []))) + 1
        with self._source(state) as source:
            try:
                return list(re_encode(source, views, self.store, first=first)), None
            except MediaError as error:
                if len(views) == 1 and call is None:
                    raise
                return self._salvage(source, views, first, error)

    def _salvage(
        self, source: Source, views: list[View], first: int, error: MediaError
    ) -> tuple[list[Picture], str | None]:
        """Where a frame is damaged, those that are not, and which are."""
        made: list[Picture] = []
        lost = []
        for view in views:
            try:
                made += re_encode(source, [view], self.store, first=first + len(made))
            except MediaError:
                lost.append(view.frame + first_number(source))
        if not made:
            if first == 1:
                raise error
            return [], problem_of(error, source.path)
        return made, f"damaged, and not shown: frame {', '.join(map(str, lost))}"

    def _observation(
        self, state: RuminationState, made: list[Picture], problem: str | None, spent: Spent
    ) -> AnyMessage:
        """What the policy is shown: pictures with their names and true times, then what there is to say."""
        content: list[Any] = []
        for picture in made:
            content += [text_block(label(picture)), picture.block()]
        closing = self._closing(spent)
        call = state["call"]
        if problem is not None:
            content.append(text_block(complaint(problem)))
        if call is None:
            asked = protocol.question_text(state["question"], state.get("choices", []))
            content.append(text_block(asked))
        if closing:
            content.append(text_block(closing))
        if call is None:
            return HumanMessage(content)
        return ToolMessage(content, tool_call_id=call["id"], status="success" if made else "error")

    def _last(self, spent: Spent) -> bool:
        """Whether the next turn is the last that the budget allows."""
        limits = self.budget
        return (
            spent.turns + 1 >= limits.turns
            or spent.images >= limits.images
            or spent.image_tokens >= limits.image_tokens
            or spent.new_tokens >= limits.new_tokens
            or spent.seconds >= limits.seconds
        )

    def _closing(self, spent: Spent) -> str:
        return protocol.LAST_TURN if self.tools and self._last(spent) else ""

    def _source(self, state: RuminationState) -> Any:
        return self.sources.lease(state["episode"], state["media"], source_id=state["source"])

    @contextmanager
    def _failing(self, state: RuminationState) -> Iterator[None]:
        """Around a node's work: an error is logged as the episode's end, then raised. A resumed run goes on
        in the same file, and its end replaces this one."""
        with self._closing_on_error(state["episode"]):
            try:
                yield
            except GraphBubbleUp:  # an interrupt, not an error
                raise
            except Exception as error:
                end: Update = {"answer": None, "status": "failed", "supported": "unchecked", "evidence": []}
                journal = Journal(state["episode"], state.get("messages", []))
                if journal.log.get("episode"):  # else the opening failed, and there is no episode yet
                    journal.end({**end, "usage": state["usage"], "error": one_line(error)})
                raise

    @contextmanager
    def _closing_on_error(self, episode: str) -> Iterator[None]:
        """Close the episode's source when the block is left by an error, a cancellation or an interrupt."""
        try:
            yield
        except BaseException:
            self.sources.close(episode)
            raise


def _seen(state: RuminationState, name: str) -> Picture:
    seen = pictures(state["messages"])
    if name not in seen:
        raise UsageError(f"view {name!r}: the pictures are {', '.join(seen)}")
    return seen[name]


def _last_turn(messages: list[AnyMessage]) -> Turn:
    return next(read_reply(m) for m in reversed(messages) if isinstance(m, AIMessage))
