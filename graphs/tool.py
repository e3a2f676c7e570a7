"""`as_tool`: a graph as one LangChain tool, for any agent.

Promises: the agent names media under the roots it was given, never a path elsewhere or an address that was
not allowed; it gets the answer with its status, support and evidence as text that is data. The graph's output
is the tool message's artifact. Callbacks, tags and metadata of the caller reach the graph. What goes wrong
comes back as a tool message with the status `error`.
Does not: remember: each call is a question of its own, unless the graph has a checkpointer and the caller's
config a thread.
"""

import asyncio
from pathlib import Path
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import StructuredTool, ToolException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r4agent.errors import R4Error
from r4agent.graphs.caller import outcome, problem_for, quoted
from r4agent.graphs.dialogue import problem_of
from r4agent.graphs.state import RuminationInput
from r4agent.media.roots import AnyRoots, Roots
from r4agent.protocol import LETTERS

DESCRIPTION = (
    "Answers a question about a video, document, slide deck or picture from the text that can be read in it, "
    "by looking at frames and zooming in, and says when and where the answer stands. Give the name of a "
    "file, and ask for one thing that is written there."
)


class Ask(BaseModel):
    """A question about one media file."""

    model_config = ConfigDict(extra="forbid")

    media: str = Field(description="name of a video, PDF, picture, or folder of pictures", max_length=4096)
    question: str = Field(description="what to find out; one question", min_length=1, max_length=2000)
    choices: list[str] = Field(
        default=[], max_length=len(LETTERS), description="the options of a multiple-choice question, if any"
    )


def as_tool(
    graph: Runnable[Any, Any], *, roots: AnyRoots, name: str = "ask_media", description: str = DESCRIPTION
) -> StructuredTool:
    """A graph as a tool. graph: of `create_rumination_graph` or `create_single_pass_graph`, or one with their
    input and output. roots: folders that media may lie in, or `Roots`."""
    allowed = Roots.of(roots)

    def ask(config: RunnableConfig, **arguments: Any) -> tuple[str, dict[str, Any]]:
        asked = Ask(**arguments)
        path: Path | None = None
        try:
            path = allowed.resolve(asked.media)
            result = graph.invoke(_input(asked, path), config)
        except R4Error as error:
            raise ToolException(problem_for(error, name=asked.media, media=path)) from error
        return outcome(result), result

    async def aask(config: RunnableConfig, **arguments: Any) -> tuple[str, dict[str, Any]]:
        asked = Ask(**arguments)
        path: Path | None = None
        try:
            path = await asyncio.to_thread(allowed.resolve, asked.media)  # it may fetch
            result = await graph.ainvoke(_input(asked, path), config)
        except R4Error as error:
            raise ToolException(problem_for(error, name=asked.media, media=path)) from error
        return outcome(result), result

    return StructuredTool.from_function(
        ask,
        aask,
        name,
        description,
        args_schema=Ask,
        response_format="content_and_artifact",
        handle_tool_error=True,
        handle_validation_error=_told,
    )


def _input(asked: Ask, path: Path) -> RuminationInput:
    return {"media": str(path), "question": asked.question, "choices": asked.choices}


def _told(error: Any) -> str:
    """What is wrong with the arguments, in a line."""
    return quoted(problem_of(error) if isinstance(error, ValidationError) else str(error))
