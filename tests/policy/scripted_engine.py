"""An engine without a model: it says what a test wants, and notes what it was asked. And checkpoints without
weights, made in no time."""

import json
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from r4agent.engines import Checkpoint, Request, Sample
from r4agent.engines.chatml import END, ChatML
from r4agent.engines.request import Tokens

PATCH = {"qwen2_5_vl": 14, "qwen3_vl": 16}
Say = Callable[[str, Request], str | list[int]]
"""From a prompt as text, and the request, to the reply: a text, which ends as it should, or its very ids."""


def bare_checkpoint(family: str, folder: Path) -> Checkpoint:
    """All of a tiny checkpoint but its weights."""
    from r4agent.engines.tiny import make_tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    cell = (2 * PATCH[family]) ** 2
    config = {
        "model_type": family,
        "image_token_id": tokenizer.token_to_id("<|image_pad|>"),
        "text_config": {"max_position_embeddings": 32768},
        "vision_config": {"patch_size": PATCH[family], "spatial_merge_size": 2},
    }
    sizes = {"size": {"shortest_edge": 4 * cell, "longest_edge": 1280 * cell}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(sizes))
    return Checkpoint.load(folder)


class ScriptedEngine:
    """Says what `say` says, each token with a logprob of its own. more: ids that it slips into the prompt it
    reports, as an engine with another image processor would. logprob: of the first token."""

    name = "scripted"

    def __init__(
        self, checkpoint: Checkpoint, say: Say, *, more: list[int] | None = None, logprob: float = -0.5
    ) -> None:
        self.checkpoint = checkpoint
        self.closed = False
        self.say, self.more, self.logprob = say, more or [], logprob
        self.requests: list[Request] = []
        self._threads = ThreadPoolExecutor(8)

    def submit(self, request: Request, on_tokens: Tokens | None = None) -> "Future[Sample]":
        future: Future[Sample] = Future()
        self.requests.append(request)
        self._threads.submit(self._answer, request, future, on_tokens)
        return future

    def close(self) -> None:
        self.closed = True
        self._threads.shutdown()

    def _answer(self, request: Request, future: "Future[Sample]", on_tokens: Tokens | None) -> None:
        with suppress(InvalidStateError):  # nobody waits any more
            try:
                sample = self._sample(request)
                for length in range(1, len(sample.ids) + 1) if on_tokens else ():
                    on_tokens(sample.ids[:length])
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(sample)

    def _sample(self, request: Request) -> Sample:
        prompt = self.checkpoint.tokenizer.decode(list(request.ids), skip_special_tokens=False)
        said = self.say(prompt, request)
        ids = self.ids(said) if isinstance(said, str) else said
        ended = bool(ids) and ids[-1] == self.checkpoint.token(END)
        seen = ChatML.of(self.checkpoint).expand(request.ids, request.pictures)
        logprobs = [self.logprob, *(-0.01 * n for n in range(1, len(ids)))][: len(ids)]
        finish = "stop" if ended else "length"
        return Sample(tuple(ids), tuple(logprobs), finish, tuple(seen + self.more), cached=0)

    def ids(self, text: str) -> list[int]:
        """A reply's ids as the tokenizer writes them, with the end of the turn."""
        return [
            *self.checkpoint.tokenizer.encode(text, add_special_tokens=False).ids,
            self.checkpoint.token(END),
        ]


def obliging(prompt: str, request: Request) -> str:
    """Calls the first tool as soon as there is one, and speaks once it has an observation."""
    schema = request.sampling.json_schema
    if schema is not None:
        return json.dumps(instance(schema))
    if "<tools>" in prompt and "<tool_response>" not in prompt:
        tool = json.loads(prompt.split("<tools>\n")[1].split("\n")[0])["function"]
        call = {"name": tool["name"], "arguments": instance(tool["parameters"])}
        return f"I call.\n<tool_call>\n{json.dumps(call)}\n</tool_call>"
    return "hello there"


def instance(schema: dict[str, Any]) -> Any:
    """Something that follows a JSON schema, of the simple kinds that tools have."""
    match schema:
        case {"const": value}:
            return value
        case {"enum": [value, *_]}:
            return value
        case {"anyOf": [first, *_]}:
            return instance(first)
        case {"type": "object"}:
            return {name: instance(part) for name, part in schema.get("properties", {}).items()}
        case {"type": "array"}:
            return [instance(schema["items"])] if "items" in schema else []
    return {"integer": 3, "number": 0.5, "boolean": True, "null": None}.get(
        schema.get("type", ""), "你好 こんにちは"
    )
