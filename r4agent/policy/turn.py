"""A Turn: one call of ChatR4, from messages to a request and from a sample to a reply.

Promises: what was sampled in a turn goes into the next prompt by id; a reply carries its span; the engine's
own expansion of the pictures is compared with ours on every call; half a letter and half a call are not
streamed.
Does not: run the model, or wait for it.
"""

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, InvalidToolCall, ToolCall
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from r4agent.engines import Sample, Sampling
from r4agent.engines.chatml import CALL, FORCED, calls_in
from r4agent.engines.request import Request
from r4agent.errors import RunError
from r4agent.ledger import Ledger, Span, digest, span_of
from r4agent.policy.eyes import Eyes

if TYPE_CHECKING:
    from r4agent.policy.chat import ChatR4


class Turn:
    """One call of the model: from messages to a request, and from a sample to a reply."""

    def __init__(
        self, model: "ChatR4", messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
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
