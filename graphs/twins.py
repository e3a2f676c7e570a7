"""A node that is one function when the graph is invoked, and another when it is awaited.

Promises: the node appears once in traces, under its name. LangChain's RunnableLambda holds two functions as
well, but reports a run of its own inside the node's, at 0.3 ms of processor time a turn.
Does not: anything else.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.types import Command

from r4agent.graphs.state import RuminationState

Work = Callable[[RuminationState, RunnableConfig], Command[Any]]
Awaited = Callable[[RuminationState, RunnableConfig], Awaitable[Command[Any]]]


class Twins(Runnable[RuminationState, Command[Any]]):
    """`work`, and what does the same when awaited."""

    def __init__(self, work: Work, awaited: Awaited) -> None:
        self._work, self._awaited = work, awaited

    def invoke(self, input: RuminationState, config: RunnableConfig | None = None, **_: Any) -> Command[Any]:
        return self._work(input, config or {})

    async def ainvoke(
        self, input: RuminationState, config: RunnableConfig | None = None, **_: Any
    ) -> Command[Any]:
        return await self._awaited(input, config or {})
