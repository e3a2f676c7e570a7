"""Pixels: a foreign chat model that is given references, and sees pictures.

Promises: references become pixels inside the model's call, below its callbacks: tracing gets `img:`
references, and everything else of the call is the model's own (its name and parameters in traces, tokens as
they come, rate limit, response cache).
Does not: change a message for the caller, or fetch anything but from the store.
"""

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable
from langchain_core.runnables.base import RunnableBindingBase
from pydantic import ConfigDict, SkipValidation

from r4agent.errors import UsageError
from r4agent.media.store import MediaStore
from r4agent.media.view import is_picture


def seeing(model: BaseChatModel, store: MediaStore) -> BaseChatModel:
    """The model, able to take references. One of ours (`takes_references = True`) is so as it stands, once it
    knows where they point to."""
    if getattr(model, "takes_references", False):
        return model.model_copy(update={"store": store}) if getattr(model, "store", store) is None else model
    return WithPixels.around(model, store)


class WithPixels(BaseChatModel):
    """`inner`, called with what `store` holds in place of references.

    LangChain runs a chat model's callbacks around `_generate`. This one's `_generate` calls the model's own
    generation with the same run manager, so there is one run, and what it recorded as input has references.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inner: SkipValidation[BaseChatModel]
    store: SkipValidation[MediaStore]

    @classmethod
    def around(cls, model: BaseChatModel, store: MediaStore) -> "WithPixels":
        return cls(
            inner=model,
            store=store,
            name=model.name,
            callbacks=model.callbacks,
            tags=model.tags,
            metadata=model.metadata,
            verbose=model.verbose,
            profile=model.profile,
            cache=False,  # the model asks its own
            output_version="v0",  # the model converts what it says
        )

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        return self._outside(self.inner.bind_tools(tools, **kwargs))

    def _outside(self, bound: Runnable[Any, Any]) -> Runnable[Any, Any]:
        """This model in the place of the one that `bound` calls."""
        if isinstance(bound, BaseChatModel):
            return WithPixels.around(bound, self.store)
        if isinstance(bound, RunnableBindingBase):
            return bound.model_copy(update={"bound": self._outside(bound.bound)})
        kind, name = type(bound).__name__, type(self.inner).__name__
        raise UsageError(
            f"the tools of {name}: bind_tools gave a {kind}, in which pictures can't be kept from tracing; "
            "use a chat model whose bind_tools gives a model or a binding"
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        shown = [with_pixels(message, self.store) for message in messages]
        return self.inner._generate_with_cache(shown, stop=stop, run_manager=run_manager, **kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        shown = await asyncio.to_thread(lambda: [with_pixels(message, self.store) for message in messages])
        return await self.inner._agenerate_with_cache(shown, stop=stop, run_manager=run_manager, **kwargs)

    # What a trace tells of the model, and what others ask of it, is the model's own.

    @property
    def _llm_type(self) -> str:
        return self.inner._llm_type

    @property
    def _serialized(self) -> dict[str, Any]:
        return self.inner._serialized

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return self.inner._get_invocation_params(stop=stop, **kwargs)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return self.inner._get_ls_params(stop=stop, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # create_agent decides by a model's name how to ask for structured output.
        if name.startswith("_"):
            return super().__getattr__(name)  # type: ignore[misc]  # pydantic hides it from type checkers
        return getattr(self.__dict__["inner"], name)


def with_pixels(message: BaseMessage, store: MediaStore) -> BaseMessage:
    """The message with pictures in place of its references."""
    if isinstance(message.content, str):
        return message
    return message.model_copy(update={"content": [_pixels(block, store) for block in message.content]})


def _pixels(block: Any, store: MediaStore) -> Any:
    if not is_picture(block):
        return block
    return {
        "type": "image",
        "id": block["id"],
        "base64": base64.b64encode(store.png(block["file_id"])).decode(),
        "mime_type": "image/png",
    }
