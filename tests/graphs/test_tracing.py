"""Callbacks and tracers of a run get references, whatever kind of chat model looks."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult

from r4agent import MediaStore, create_rumination_graph

from .conftest import EVERY_NODE


class Plain(GenericFakeChatModel):
    """A foreign chat model that speaks the text protocol. It notes how many pictures it was shown."""

    saw: list[int] = []  # noqa: RUF012 - a pydantic field

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        blocks = [
            b for m in messages if isinstance(m.content, list) for b in m.content if isinstance(b, dict)
        ]
        pictures = [base64.b64decode(b["base64"]) for b in blocks if b["type"] == "image"]
        assert all(png.startswith(b"\x89PNG") for png in pictures)
        self.saw.append(len(pictures))
        return super()._generate(messages, *args, **kwargs)


class Calling(Plain):
    """One that calls tools."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=tools)


def replies_of(kind: type[Plain]) -> list[AIMessage]:
    """The same turns, as text or as tool calls."""
    made = []
    for number, text in enumerate(EVERY_NODE):
        _, opens, rest = text.partition("<tool_call>")
        call = json.loads(rest.removesuffix("</tool_call>")) if opens else None
        if call is None or kind is Plain:
            made.append(AIMessage(text))
        else:
            calls = [
                {"name": call["name"], "args": call["arguments"], "id": f"c{number}", "type": "tool_call"}
            ]
            made.append(AIMessage("", tool_calls=calls))
    return made


@pytest.mark.parametrize("kind", [Plain, Calling])
@pytest.mark.parametrize("awaited", [False, True])
def test_callbacks_of_a_foreign_model_get_references(
    kind: type[Plain], awaited: bool, clip: Path, tmp_path: Path, no_pixels: Any
) -> None:
    model = kind(messages=iter(replies_of(kind)), saw=[])
    graph = create_rumination_graph(
        model, store=MediaStore(tmp_path / "pictures"), episodes=tmp_path / "episodes"
    )
    asked, config = {"media": str(clip), "question": "how many?"}, {"callbacks": [no_pixels]}
    result = asyncio.run(graph.ainvoke(asked, config)) if awaited else graph.invoke(asked, config)
    assert result["answer"] == "42"
    assert model.saw == [8, 10, 11, 12]
    assert no_pixels.seen["chat_model_start"] == len(EVERY_NODE)
    assert no_pixels.references > sum(model.saw)


def test_callbacks_of_our_policies_get_references(
    graph_of: Callable[..., Any], clip: Path, no_pixels: Any
) -> None:
    graph_of(EVERY_NODE).invoke({"media": str(clip), "question": "how many?"}, {"callbacks": [no_pixels]})
    assert no_pixels.seen["chat_model_start"] == len(EVERY_NODE)
    assert no_pixels.references
