"""The conversation as a policy sees it: references become pixels here, and nowhere else.

Promises: three kinds of chat model are served from the same messages. One of ours declares
`takes_references = True` and gets them as they are. A model with `bind_tools` gets the tools bound and
tool messages with pictures. Any other gets the text protocol: calls as text, observations as user turns
in <tool_response>.
Does not: change the state's messages, or add to them.
"""

import asyncio
import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.errors import GraphBubbleUp

from r4agent.errors import R4Error, RunError, UsageError, one_line
from r4agent.media.store import MediaStore

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
    shown = _shown(model, messages, store)
    with _told(model):
        return _checked(_bound(model, tools).invoke(shown, config))


async def aask(
    model: BaseChatModel,
    messages: Sequence[AnyMessage],
    *,
    tools: Tools,
    store: MediaStore,
    config: RunnableConfig,
) -> AIMessage:
    """The same, awaited."""
    shown = await asyncio.to_thread(_shown, model, messages, store)  # reads pictures from disk
    with _told(model):
        return _checked(await _bound(model, tools).ainvoke(shown, config))


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
    """Whether the model takes tools as LangChain binds them; if not, it gets the text protocol."""
    return type(model).bind_tools is not BaseChatModel.bind_tools


def _bound(model: BaseChatModel, tools: Tools) -> Runnable[LanguageModelInput, AIMessage]:
    return model.bind_tools(tools) if tools and speaks_tools(model) else model


def _checked(reply: Any) -> AIMessage:
    if not isinstance(reply, AIMessage):
        raise UsageError(f"the policy returned {type(reply).__name__}; a chat model returns an AIMessage")
    return reply


def _shown(model: BaseChatModel, messages: Sequence[AnyMessage], store: MediaStore) -> list[AnyMessage]:
    if getattr(model, "takes_references", False):
        return list(messages)
    if not speaks_tools(model):
        messages = [_as_text(message) for message in messages]
    return [_with_pixels(message, store) for message in messages]


def _as_text(message: AnyMessage) -> AnyMessage:
    """The text protocol: calls stand in the reply's text, observations are user turns."""
    if isinstance(message, AIMessage) and message.tool_calls:
        return AIMessage(content=message.content, id=message.id)
    if isinstance(message, ToolMessage):
        content: list[Any] = [{"type": "text", "text": "<tool_response>"}]
        content += message.content if isinstance(message.content, list) else [text_block(message.text)]
        return HumanMessage(content=[*content, text_block("</tool_response>")], id=message.id)
    return message


def _with_pixels(message: AnyMessage, store: MediaStore) -> AnyMessage:
    if isinstance(message.content, str):
        return message
    blocks = [_pixels(block, store) for block in message.content]
    return message.model_copy(update={"content": blocks})


def _pixels(block: Any, store: MediaStore) -> Any:
    if not (isinstance(block, dict) and block.get("type") == "image" and "file_id" in block):
        return block
    return {
        "type": "image",
        "id": block["id"],
        "base64": base64.b64encode(store.png(block["file_id"])).decode(),
        "mime_type": "image/png",
    }


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
