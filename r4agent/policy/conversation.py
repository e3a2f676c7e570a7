"""The conversation as a policy sees it.

Promises: three kinds of chat model are served from the same messages. One of ours declares
`takes_references = True` and gets them as they are. A model with `bind_tools` gets the tools bound and
tool messages with pictures. Any other gets the text protocol: calls as text, observations as user turns
in <tool_response>. Callbacks get references from all three (`pixels`).
Does not: change the state's messages, or add to them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.errors import GraphBubbleUp

from r4agent.errors import R4Error, RunError, UsageError, one_line
from r4agent.media.store import MediaStore
from r4agent.policy.pixels import seeing

Tools = Sequence[dict[str, Any]]


def ask(
    model: BaseChatModel,
    messages: Sequence[AnyMessage],
    *,
    tools: Tools,
    store: MediaStore,
    config: RunnableConfig,
) -> AIMessage:
    """The policy's reply to the conversation. What the model raises becomes a RunError."""
    shown = as_shown(model, messages)
    with _told(model):
        return _checked(_bound(model, tools, store).invoke(shown, config))


async def aask(
    model: BaseChatModel,
    messages: Sequence[AnyMessage],
    *,
    tools: Tools,
    store: MediaStore,
    config: RunnableConfig,
) -> AIMessage:
    """The same, awaited."""
    shown = as_shown(model, messages)
    with _told(model):
        return _checked(await _bound(model, tools, store).ainvoke(shown, config))


@contextmanager
def _told(model: BaseChatModel) -> Iterator[None]:
    """What a chat model raises, said as the policy's failure; interrupts and our own errors pass."""
    try:
        yield
    except (R4Error, GraphBubbleUp):
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {one_line(error)}"
        raise RunError(
            f"the policy {model._llm_type} failed: {what}; check its server, then resume"
        ) from error


def speaks_tools(model: BaseChatModel) -> bool:
    """Whether the model takes tools as LangChain binds them; ours and all others get the text protocol."""
    ours = getattr(model, "takes_references", False)
    return not ours and type(model).bind_tools is not BaseChatModel.bind_tools


def _bound(model: BaseChatModel, tools: Tools, store: MediaStore) -> Runnable[LanguageModelInput, AIMessage]:
    able = seeing(model, store)
    return able.bind_tools(tools) if tools and speaks_tools(model) else able


def _checked(reply: Any) -> AIMessage:
    if not isinstance(reply, AIMessage):
        raise UsageError(f"the policy returned {type(reply).__name__}; a chat model returns an AIMessage")
    return reply


def as_shown(model: BaseChatModel, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The messages in the form that this kind of model understands, with references."""
    if getattr(model, "takes_references", False) or speaks_tools(model):
        return list(messages)
    return [_as_text(message) for message in messages]


def _as_text(message: AnyMessage) -> AnyMessage:
    """The text protocol: calls stand in the reply's text, observations are user turns."""
    if isinstance(message, AIMessage) and message.tool_calls:
        return AIMessage(content=message.content, id=message.id)
    if isinstance(message, ToolMessage):
        content: list[Any] = [{"type": "text", "text": "<tool_response>"}]
        content += message.content if isinstance(message.content, list) else [text_block(message.text)]
        return HumanMessage(content=[*content, text_block("</tool_response>")], id=message.id)
    return message


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
