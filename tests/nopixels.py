"""A callback handler that lets no pixels pass. A folder's conftest takes the fixture `no_pixels` from
here."""

import re
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps


class NoPixels(BaseCallbackHandler):
    """A handler that fails on 1 kB of base64, or on bytes, in anything that a callback is given."""

    raise_error = True

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.references = 0

    def _check(self, event: str, *given: Any) -> None:
        text = "".join(dumps(value) + repr(value) for value in given)
        pixels = re.search(r"[A-Za-z0-9+/=_-]{1000,}|(\\x[0-9a-f]{2}){100,}", text)
        assert pixels is None, f"{event} was given pixels: {text[max(0, pixels.start() - 300) :][:400]}"
        self.seen[event] = self.seen.get(event, 0) + 1
        self.references += text.count("img:")

    def on_chain_start(self, serialized: Any, inputs: Any, **more: Any) -> None:
        self._check("chain_start", serialized, inputs, more)

    def on_chain_end(self, outputs: Any, **more: Any) -> None:
        self._check("chain_end", outputs, more)

    def on_chain_error(self, error: BaseException, **more: Any) -> None:
        self._check("chain_error", error, more)

    def on_chat_model_start(self, serialized: Any, messages: Any, **more: Any) -> None:
        self._check("chat_model_start", serialized, messages, more)

    def on_llm_new_token(self, token: str, **more: Any) -> None:
        self._check("llm_new_token", token, more)

    def on_llm_end(self, response: Any, **more: Any) -> None:
        self._check("llm_end", response, more)

    def on_llm_error(self, error: BaseException, **more: Any) -> None:
        self._check("llm_error", error, more)

    def on_tool_start(self, serialized: Any, input_str: str, **more: Any) -> None:
        self._check("tool_start", serialized, input_str, more)

    def on_tool_end(self, output: Any, **more: Any) -> None:
        self._check("tool_end", output, more)

    def on_tool_error(self, error: BaseException, **more: Any) -> None:
        self._check("tool_error", error, more)

    def on_custom_event(self, name: str, data: Any, **more: Any) -> None:
        self._check("custom_event", name, data, more)


@pytest.fixture
def no_pixels() -> NoPixels:
    return NoPixels()
