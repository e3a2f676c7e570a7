"""ChatR4: a Qwen-VL model as a LangChain chat model that keeps its tokens.

    model = ChatR4(model="Qwen/Qwen3-VL-8B-Instruct", engine="vllm")
    graph = create_rumination_graph(policy=model)

Promises: a `BaseChatModel` like any other (tools, structured output, streaming, async, stop, usage); what was
sampled in a turn is kept by id and goes into the next prompt as it is; each reply carries its span
(`r4agent.ledger`), with logprobs and image grids, in `response_metadata`; the engine's own expansion of the
pictures is compared with ours on every call.
Does not: run the model (engines do), or fetch pictures: it takes base64 and the graph's references.
"""

import asyncio
import contextlib
import queue
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, SecretStr

from r4agent.budget import Budget
from r4agent.engines import Checkpoint, Engine, Sample, open_engine
from r4agent.engines.chatml import ChatML
from r4agent.errors import RunError, UsageError
from r4agent.geometry import ModelProfile
from r4agent.media.store import MediaStore
from r4agent.policy.turn import Turn


class ChatR4(BaseChatModel):
    """A Qwen2.5-VL or Qwen3-VL model, by folder or hub id.

    engine: `vllm` runs it here, `transformers` too, `http` asks a `vllm serve` at `base_url`; or an Engine.
    engine_args: for vLLM's or transformers' own constructor, such as `max_model_len`. temperature 0 is
    greedy; episodes to train on are sampled at temperature 1 and top_p 1. max_tokens: of one reply.
    timeout: seconds for one reply. store: where references point to; a graph lends its own. picture_tokens:
    the most image tokens of a picture that comes as base64; a graph's pictures have their size already."""

    model: str
    engine: Any = "vllm"
    base_url: str | None = None
    api_key: SecretStr | None = None
    engine_args: dict[str, Any] = Field(default_factory=dict)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=1024, ge=1)
    seed: int | None = None
    stop: list[str] | None = None
    timeout: float = Field(default=600.0, gt=0)
    store: MediaStore | None = Field(default=None, exclude=True)
    picture_tokens: int = 1280

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @property
    def takes_references(self) -> bool:
        """The graph hands over references and its own prompt; an engine loads pixels when it needs them."""
        return True

    @property
    def token_exact(self) -> bool:
        """Every reply has its span: its episodes can be trained on."""
        return True

    @property
    def speaks(self) -> ModelProfile:
        """How the model takes pictures and writes boxes; the graph goes by it."""
        return self.checkpoint.profile

    @property
    def budget(self) -> Budget:
        """What a question may cost where the user does not say it."""
        return self.checkpoint.budget

    @property
    def checkpoint(self) -> Checkpoint:
        """What is known of the model without running it."""
        return Checkpoint.load(self.model) if isinstance(self.engine, str) else self.runner.checkpoint

    @property
    def runner(self) -> Engine:
        """The engine, begun at first use; chat models with the same settings share one."""
        if not isinstance(self.engine, str):
            engine: Engine = self.engine
            return engine
        key = self.api_key.get_secret_value() if self.api_key else None
        return open_engine(self.engine, self.model, base_url=self.base_url, api_key=key, **self.engine_args)

    @property
    def chatml(self) -> ChatML:
        return ChatML.of(self.checkpoint)

    @property
    def _llm_type(self) -> str:
        return "r4"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "engine": self._engine_name, **self._sampled_with()}

    @property
    def _engine_name(self) -> str:
        return self.engine if isinstance(self.engine, str) else str(self.engine.name)

    def _sampled_with(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "r4agent"
        return params

    def get_token_ids(self, text: str) -> list[int]:
        """The model's own tokens of a text, special ones spelt out."""
        return list(self.checkpoint.tokenizer.encode(text, add_special_tokens=False).ids)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools. tool_choice: `any` (or True, `required`) demands a call, a name that call; an
        engine that can hold the model to a schema (vLLM) does so."""
        signatures = [_signature(tool) for tool in tools]
        choice = tool_choice.get("function", {}).get("name") if isinstance(tool_choice, dict) else tool_choice
        names = {tool["function"]["name"] for tool in signatures}
        if choice in (True, "required"):
            choice = "any"
        if choice in (False, None, "auto", "none"):
            choice = None
        elif choice != "any" and choice not in names:
            raise UsageError(f"tool_choice {choice!r}: the tools are {', '.join(sorted(names))}")
        if tool_choice == "none":
            signatures = []
        return self.bind(tools=signatures, **({"tool_choice": choice} if choice else {}), **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        turn = Turn(self, messages, stop, kwargs)
        sample = _awaited(self.runner.submit(turn.request), self.timeout)
        return ChatResult(generations=[ChatGeneration(message=turn.reply(sample))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        turn, runner = await self._aturn(messages, stop, kwargs)
        future = asyncio.wrap_future(runner.submit(turn.request))
        try:
            sample = await asyncio.wait_for(future, self.timeout)
        except TimeoutError as error:
            raise _too_slow(self.timeout) from error
        return ChatResult(generations=[ChatGeneration(message=turn.reply(sample))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        turn = Turn(self, messages, stop, kwargs)
        told: queue.SimpleQueue[tuple[int, ...] | None] = queue.SimpleQueue()
        future = self.runner.submit(turn.request, told.put)
        future.add_done_callback(lambda _: told.put(None))
        until = time.monotonic() + self.timeout
        try:
            while (ids := _next(told, until, self.timeout)) is not None:
                if chunk := turn.chunk(ids):
                    if run_manager:
                        run_manager.on_llm_new_token(str(chunk.message.content), chunk=chunk)
                    yield chunk
            yield turn.last_chunk(future.result())
        finally:
            future.cancel()  # when whoever listens has left; does nothing to one that is done

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        turn, runner = await self._aturn(messages, stop, kwargs)
        told: asyncio.Queue[tuple[int, ...] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def tell(ids: tuple[int, ...] | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody listens
                loop.call_soon_threadsafe(told.put_nowait, ids)

        future = runner.submit(turn.request, tell)
        future.add_done_callback(lambda _: tell(None))
        until = time.monotonic() + self.timeout
        try:
            while (ids := await _anext(told, until, self.timeout)) is not None:
                if chunk := turn.chunk(ids):
                    if run_manager:
                        await run_manager.on_llm_new_token(str(chunk.message.content), chunk=chunk)
                    yield chunk
            yield turn.last_chunk(future.result())
        finally:
            future.cancel()

    async def _aturn(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> tuple[Turn, Engine]:
        """In a thread: to decode pictures takes a while, and to start an engine minutes."""
        return await asyncio.to_thread(lambda: (Turn(self, messages, stop, kwargs), self.runner))


def _signature(tool: dict[str, Any] | type | Callable[..., Any] | BaseTool) -> dict[str, Any]:
    signature = convert_to_openai_tool(tool)
    if "function" not in signature:  # a provider's own, such as a web search: LangChain passes it on
        raise UsageError(f"a tool without a function, {signature.get('type')!r}: this model calls functions")
    return signature


def _awaited(future: "Future[Sample]", timeout: float) -> Sample:
    try:
        return future.result(timeout)
    except FutureTimeout as error:
        future.cancel()
        raise _too_slow(timeout) from error
    except BaseException:  # an interrupt: the engine need not go on
        future.cancel()
        raise


def _next(
    told: "queue.SimpleQueue[tuple[int, ...] | None]", until: float, limit: float
) -> tuple[int, ...] | None:
    try:
        return told.get(timeout=max(0.0, until - time.monotonic()))
    except queue.Empty as error:
        raise _too_slow(limit) from error


async def _anext(
    told: "asyncio.Queue[tuple[int, ...] | None]", until: float, limit: float
) -> tuple[int, ...] | None:
    try:
        return await asyncio.wait_for(told.get(), max(0.0, until - time.monotonic()))
    except TimeoutError as error:
        raise _too_slow(limit) from error


def _too_slow(timeout: float) -> RunError:
    return RunError(f"no reply within {timeout:g} s; give ChatR4 a larger timeout, or fewer max_tokens")
