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
import json
import math
import queue
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, InvalidToolCall, ToolCall
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, SecretStr

from r4agent.engines import Checkpoint, Engine, Sample, Sampling, open_engine
from r4agent.engines.chatml import CALL, FORCED, ChatML, calls_in
from r4agent.engines.request import Request
from r4agent.errors import RunError, UsageError
from r4agent.geometry import ModelProfile
from r4agent.ledger import Ledger, Span, digest, span_of
from r4agent.media.store import MediaStore
from r4agent.policy.eyes import Eyes


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
        turn = _Turn(self, messages, stop, kwargs)
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
        turn = _Turn(self, messages, stop, kwargs)
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
    ) -> "tuple[_Turn, Engine]":
        """In a thread: to decode pictures takes a while, and to start an engine minutes."""
        return await asyncio.to_thread(lambda: (_Turn(self, messages, stop, kwargs), self.runner))


class _Turn:
    """One call of the model: from messages to a request, and from a sample to a reply."""

    def __init__(
        self, model: ChatR4, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> None:
        self.model = model
        self.chatml = model.chatml
        self.tools = kwargs.get("tools", ())
        forced = _forced(self.tools, kwargs.get("tool_choice"))
        self.opening = FORCED if forced else ""
        self.stop = tuple(stop or model.stop or ())
        eyes = Eyes(model.checkpoint, model.store, model.picture_tokens)
        ids, self.pictures = self.chatml.render(messages, eyes.see, tools=self.tools, opening=self.opening)
        self.ids = ids
        self.ledger = _ledger(messages)
        sampling = Sampling(
            max_tokens=kwargs.get("max_tokens", model.max_tokens),
            temperature=kwargs.get("temperature", model.temperature),
            top_p=kwargs.get("top_p", model.top_p),
            seed=kwargs.get("seed", model.seed),
            stop=self.stop,
            json_schema=forced,
        )
        self.request = Request(tuple(ids), tuple(self.pictures), eyes.load, sampling)
        self._said = 0

    def reply(self, sample: Sample) -> AIMessage:
        """The sample as a message, with its span."""
        self._check(sample)
        content, calls, bad = self._read(sample.ids)
        message = AIMessage(
            content,
            tool_calls=calls,
            invalid_tool_calls=bad,
            usage_metadata=_usage(sample),
            response_metadata={
                "model_name": self.model.model,
                "model_provider": "r4agent",
                "finish_reason": "tool_calls" if calls else sample.finish,
            },
        )
        message.response_metadata["span"] = self._span(sample, message)
        return message

    def chunk(self, ids: tuple[int, ...]) -> ChatGenerationChunk | None:
        """What there is to show after these ids that was not shown before. Half a letter waits for its
        rest; a call, where tools are bound, for its end."""
        if self.opening:
            return None
        text = self._cut(self.chatml.text(ids))
        if self.tools:
            text = text.lstrip()
        safe = len(text.rstrip("\ufffd"))
        for mark in (*self.stop, *((CALL,) if self.tools else ())):
            safe = min(safe, _before(text, mark))
        if self.tools:  # as `_read` strips it
            safe = len(text[:safe].rstrip())
        fresh, self._said = text[self._said : safe], max(self._said, safe)
        return ChatGenerationChunk(message=AIMessageChunk(content=fresh)) if fresh else None

    def last_chunk(self, sample: Sample) -> ChatGenerationChunk:
        """The rest: text that waited, calls, usage, span."""
        whole = self.reply(sample)
        chunks = [
            tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=number)
            for number, call in enumerate(whole.tool_calls)
        ]
        chunks += [
            # LangChain makes of a chunk's object, even half of one, a good call; of a string it makes none.
            tool_call_chunk(
                name=bad["name"], args=json.dumps(bad["args"]), id=bad["id"], index=len(chunks) + number
            )
            for number, bad in enumerate(whole.invalid_tool_calls)
        ]
        message = AIMessageChunk(
            content=str(whole.content)[self._said :],
            tool_call_chunks=chunks,
            usage_metadata=whole.usage_metadata,
            response_metadata=whole.response_metadata,
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)

    def _read(self, ids: tuple[int, ...]) -> tuple[str, list[ToolCall], list[InvalidToolCall]]:
        """Text, calls, and what should have been calls. Without tools all is text, and the graph reads it."""
        text = self._cut(self.chatml.text(ids, self.opening))
        if not self.tools:
            return text, [], []
        content, written = calls_in(text)
        good: list[ToolCall] = []
        bad: list[InvalidToolCall] = []
        for number, call in enumerate(written):
            ident = f"call_{len(self.ids)}_{number}"
            if call.arguments is None:
                bad.append(
                    InvalidToolCall(
                        type="invalid_tool_call", name=None, args=call.raw, id=ident, error=call.error
                    )
                )
            else:
                good.append(ToolCall(type="tool_call", name=call.name, args=call.arguments, id=ident))
        return content.strip(), good, bad

    def _cut(self, text: str) -> str:
        return text[: min((at for mark in self.stop if (at := text.find(mark)) >= 0), default=len(text))]

    def _span(self, sample: Sample, message: AIMessage) -> Span:
        at = self.ledger.ahead(self.ids, [picture.ref for picture in self.pictures])
        new = self.pictures[len(self.ledger.images) if at else 0 :]
        return Span(
            at=at,
            prompt_ids=self.ids[at:],
            token_ids=list(sample.ids),
            logprobs=list(sample.logprobs),
            images=[picture.ref for picture in new],
            image_grid_thw=[list(picture.grid) for picture in new],
            opening=self.opening,
            said=digest(message),
        )

    def _check(self, sample: Sample) -> None:
        """The engine must have seen what our ledger says: one token more or less, and the pictures of every
        later token are others than those trained on."""
        if len(sample.logprobs) != len(sample.ids) or not all(map(math.isfinite, sample.logprobs)):
            raise RunError(
                "the engine gave tokens without a finite logprob each: its weights may be damaged, or too "
                "large for its dtype: start it with dtype bfloat16"
            )
        if set(sample.ids) & set(self.model.checkpoint.banned):
            raise RunError("the engine sampled an image token, and has no picture for it: ask again")
        expected = self.chatml.expand(self.ids, self.pictures)
        if list(sample.prompt) == expected:
            return
        at = next(
            (n for n, (a, b) in enumerate(zip(sample.prompt, expected, strict=False)) if a != b),
            min(len(sample.prompt), len(expected)),
        )
        raise RunError(
            f"the engine saw {len(sample.prompt)} prompt tokens where {len(expected)} were meant, the first "
            f"difference at token {at}; its image processor is not the checkpoint's: start it without "
            "--mm-processor-kwargs, on the same checkpoint"
        )


def _ledger(messages: Sequence[BaseMessage]) -> Ledger:
    """Of our replies so far; what others wrote is prompt. It begins anew where a reply before is missing, as
    after trimming: the next prompt was noted whole."""
    ledger = Ledger()
    for message in messages:
        span = span_of(message) if isinstance(message, AIMessage) else None
        if span is None:
            continue
        if ledger.fits(span):
            ledger.add(span)
        else:
            ledger = Ledger()
    return ledger


def _signature(tool: dict[str, Any] | type | Callable[..., Any] | BaseTool) -> dict[str, Any]:
    signature = convert_to_openai_tool(tool)
    if "function" not in signature:  # a provider's own, such as a web search: LangChain passes it on
        raise UsageError(f"a tool without a function, {signature.get('type')!r}: this model calls functions")
    return signature


def _forced(tools: Sequence[dict[str, Any]], choice: str | None) -> dict[str, Any] | None:
    """The JSON schema of the call that must be made, if one must."""
    if not choice or not tools:
        return None
    functions = [tool["function"] for tool in tools if choice in ("any", tool["function"]["name"])]
    calls: list[dict[str, Any]] = []
    parts: dict[str, Any] = {}
    for number, function in enumerate(functions):
        # `#/$defs/…` is looked for at the root, where two tools may not use one name for two things
        written = json.dumps(function.get("parameters") or {"type": "object"})
        arguments = json.loads(written.replace('"#/$defs/', f'"#/$defs/{number}.'))
        parts |= {f"{number}.{name}": part for name, part in arguments.pop("$defs", {}).items()}
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": function["name"]}, "arguments": arguments},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return {**schema, "$defs": parts} if parts else schema


def _usage(sample: Sample) -> UsageMetadata:
    given, new = len(sample.prompt), len(sample.ids)
    usage = UsageMetadata(input_tokens=given, output_tokens=new, total_tokens=given + new)
    if sample.cached is not None:
        usage["input_token_details"] = InputTokenDetails(cache_read=sample.cached)
    return usage


def _before(text: str, mark: str) -> int:
    """Where `mark` begins in the text, or could, once more of it is there."""
    at = text.find(mark)
    if at >= 0:
        return at
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return len(text) - length
    return len(text)


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
