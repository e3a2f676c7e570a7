"""A chat model that says what it was told to say, with tool calls: in place of a real one in these examples.

Shows: nothing by itself. A real model is `init_chat_model("openai:gpt-5")` or any other that calls tools.
"""

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool


class ScriptedModel(BaseChatModel):
    """Says `replies` in turn: a text, a call (tool, arguments), or a function of the messages."""

    replies: Sequence[Any]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools])

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        reply = self.replies[sum(isinstance(message, AIMessage) for message in messages)]
        if isinstance(reply, tuple):
            call = {"name": reply[0], "args": reply[1], "id": f"call-{len(messages)}", "type": "tool_call"}
            return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=[call]))])
        text = reply(messages) if callable(reply) else reply
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])
