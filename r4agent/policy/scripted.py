"""The scripted policy: replies written beforehand, for tests and demonstrations of the graph.

Promises: the n-th turn of a thread gets the n-th reply, also after a resume, since it counts the replies
in the conversation and keeps nothing itself.
Does not: look at anything.
"""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import SkipValidation

from r4agent.errors import RunError

Reply = str | AIMessage | Callable[[list[BaseMessage]], str]


class ScriptedPolicy(BaseChatModel):
    """A chat model that says `replies` in turn. A reply may be a function of the messages so far."""

    replies: Sequence[SkipValidation[Reply]]
    takes_references: bool = True

    @property
    def _llm_type(self) -> str:
        return "r4-scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        turn = sum(isinstance(message, AIMessage) for message in messages)
        if turn >= len(self.replies):
            raise RunError(f"the script has {len(self.replies)} replies; turn {turn + 1} asks for another")
        reply = self.replies[turn]
        if callable(reply):
            reply = reply(messages)
        message = reply if isinstance(reply, AIMessage) else AIMessage(content=reply)
        return ChatResult(generations=[ChatGeneration(message=message)])
