"""What goes to vLLM's `/inference/v1/generate` and what comes back.

Promises: the body of a request; its reply, read event by event; and for every way in which a server says no,
either a `Lost` (try again), a `Forgotten` (send the pictures again) or an R4Error that says what to do.
Does not: open connections or decide when to try again (`r4agent.engines.server` does).
"""

import base64
import io
import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from r4agent.engines.request import Request, Sample
from r4agent.errors import R4Error, RunError, UsageError, one_line, printable

GENERATE = "/inference/v1/generate"
TOO_LONG = (  # vLLM's words, before and after it has put in the image tokens
    (r"prompt contains (\d+) input tokens", r"maximum context length is (\d+)"),
    (r"prompt \(length (\d+)\)", r"maximum model length of (\d+)"),
)
NO_LOGPROB = -9999.0  # what vLLM sends in place of NaN and minus infinity


class Lost(Exception):
    """No answer, or one that asks for another try. after: seconds the server wants to be left alone."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


class Forgotten(Exception):
    """The server can't take the pictures; it has none under an id, if it was sent without pixels."""


def body(request: Request, model: str, fresh: Collection[str], banned: Collection[int], each: bool) -> bytes:
    """The request as JSON. fresh: the pictures whose pixels go along. each: whether every token is to be told
    at once; otherwise the first one is, and the rest together."""
    asked = request.sampling
    sampling: dict[str, Any] = {
        "max_tokens": asked.max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "seed": asked.seed,
        "stop": list(asked.stop),
        "logprobs": 0,
        "logit_bias": dict.fromkeys(banned, -100.0),
        "stream_interval": 1 if each else asked.max_tokens,
    }
    if asked.json_schema is not None:
        sampling["structured_outputs"] = {"json": asked.json_schema}
    content: dict[str, Any] = {
        "model": model,
        "token_ids": list(request.ids),
        "sampling_params": sampling,
        "return_token_ids": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.pictures:
        content["content_parts"] = [
            {
                "type": "image_url",
                "uuid": shown.ref,
                "url": _png(request.load(shown.ref)) if shown.ref in fresh else None,
            }
            for shown in request.pictures
        ]
    return json.dumps(content).encode()


def _png(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@dataclass
class Reply:
    """A reply as far as it has come."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    prompt: list[int] | None = None
    finish: str | None = None
    cached: int | None = None

    def take(self, line: str) -> bool:
        """One line of the stream; whether it brought tokens."""
        if not line.startswith("data:") or line.endswith("[DONE]"):
            return False
        with expected():
            event = json.loads(line[len("data:") :])
            if "error" in event:
                raise refused(event["error"]["code"], event["error"]["message"])
            self.prompt = event.get("prompt_token_ids") or self.prompt
            details = (event.get("usage") or {}).get("prompt_tokens_details") or {}
            self.cached = details.get("cached_tokens", self.cached)
            for choice in event["choices"]:
                self.ids += choice["token_ids"]
                self.logprobs += [entry["logprob"] for entry in choice["logprobs"]["content"]]
                self.finish = choice["finish_reason"] or self.finish
            return bool(event["choices"])

    def sample(self) -> Sample:
        """The whole of it."""
        if self.finish is None:
            raise Lost("the reply was cut off")
        if self.finish not in ("stop", "length"):
            raise Lost(f"the server ended the request with {self.finish!r}")
        if self.prompt is None or len(self.ids) != len(self.logprobs):
            raise RunError("prompt_token_ids or logprobs are missing; is it a `vllm serve`?")
        if min(self.logprobs, default=0.0) <= NO_LOGPROB:
            raise RunError(
                "the model gave a token without a probability (NaN); look at its weights and dtype"
            )
        return Sample(
            tuple(self.ids),
            tuple(self.logprobs),
            "stop" if self.finish == "stop" else "length",
            tuple(self.prompt),
            self.cached,
        )


@contextmanager
def expected() -> Iterator[None]:
    """Reads what vLLM writes; anything else is no vLLM."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        if isinstance(error, R4Error):
            raise
        raise RunError(
            f"it answered what vLLM does not ({one_line(error)}): is it a `vllm serve`?"
        ) from error


def message(text: str) -> str:
    """What the body of a refusal says, on one line."""
    try:
        value = json.loads(text)
        said = value.get("error", value.get("detail", value)) if isinstance(value, dict) else value
        said = said.get("message", said) if isinstance(said, dict) else said
    except ValueError:
        said = text
    return printable(" ".join(str(said).split()))[:300]


def refused(status: int, said: str, after: float = 0.0) -> R4Error | Lost | Forgotten:
    """What a refusal means."""
    if "Cache miss for" in said or "Failed to apply" in said:  # the latter from a server without a cache
        return Forgotten(said)
    if "cale-out endpoints are disabled" in said or (status in (404, 405) and "does not exist" not in said):
        return RunError(
            f"it has no {GENERATE} ({status}: {said}): start it with `vllm serve MODEL --enable-scale-out`; "
            "or give a LangChain chat model such as ChatOpenAI as the policy, which is not token-exact"
        )
    if status in (401, 403):
        return RunError(f"it refused the key ({status}: {said}): give api_key, or set VLLM_API_KEY")
    if status == 404:
        return RunError(f"{said} Give `model` one of these names, or start the server with the other model")
    if status in (408, 429) or (status >= 500 and status != 501):
        return Lost(f"{status}: {said}", after)
    return _too_much(said) or UsageError(f"it refused the request ({status}: {said})")


def _too_much(said: str) -> R4Error | None:
    """Limits of the server's that a request exceeds."""
    if found := re.search(r"At most (\d+) image", said):
        return RunError(
            f"more pictures in a prompt than the {found[1]} that it takes: start it with "
            "--limit-mm-per-prompt '{\"image\": N}', or lower the budget's images"
        )
    for length, most in TOO_LONG:
        if (found := re.search(length, said)) and (limit := re.search(most, said)):
            return RunError(
                f"a prompt of {found[1]} tokens, and it takes {int(limit[1]) - 1}: start it with a larger "
                "--max-model-len, or lower the budget's image_tokens"
            )
    return None
