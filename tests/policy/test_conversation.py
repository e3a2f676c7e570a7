"""What each kind of chat model is shown, and what is taken as its reply."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from PIL import Image

from r4agent import MediaStore, MissingError, ScriptedPolicy, UsageError
from r4agent.geometry import Box, Size
from r4agent.media.view import Picture, View
from r4agent.policy import ask, resolve
from r4agent.policy.conversation import as_shown

CALL = {"name": "zoom", "args": {"view": "v1"}, "id": "c2", "type": "tool_call"}


class ToolModel(GenericFakeChatModel):
    """A chat model with `bind_tools`, as real ones have."""

    bound: list[Any] = []  # noqa: RUF012 - a pydantic field

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        self.bound.extend(tools)
        return self


@pytest.fixture
def store(tmp_path: Path) -> MediaStore:
    return MediaStore(tmp_path)


@pytest.fixture
def messages(store: MediaStore) -> list[Any]:
    picture = Picture(
        "v1", View(0, 1.0, Box(0, 0, 56, 56), Size(56, 56)), store.put(Image.new("RGB", (56, 56), "red"))
    )
    shown = [{"type": "text", "text": "[v1]"}, picture.block()]
    return [
        SystemMessage("look"),
        HumanMessage(shown),
        AIMessage("<tool_call>…</tool_call>", tool_calls=[CALL]),
        ToolMessage(shown, tool_call_id="c2"),
    ]


def test_our_policies_get_references(messages: list[Any]) -> None:
    assert as_shown(ScriptedPolicy(replies=[]), messages) == messages


def test_a_plain_model_gets_the_text_protocol(messages: list[Any]) -> None:
    shown = as_shown(FakeListChatModel(responses=["x"]), messages)
    assert [m.type for m in shown] == ["system", "human", "ai", "human"]
    assert isinstance(shown[2], AIMessage)
    assert shown[2].tool_calls == []
    assert shown[3].content[0] == {"type": "text", "text": "<tool_response>"}
    assert shown[3].content[-1] == {"type": "text", "text": "</tool_response>"}
    assert messages[2].tool_calls == [CALL]  # what is in state is as it was


def test_a_model_with_tools_gets_tool_messages(messages: list[Any], store: MediaStore) -> None:
    model = ToolModel(messages=iter([AIMessage("ok")]))
    assert as_shown(model, messages) == messages
    signature = {"type": "function", "function": {"name": "zoom", "parameters": {}}}
    assert ask(model, messages, tools=[signature], store=store, config={}).content == "ok"
    assert model.bound == [signature]


def test_an_error_observation_is_text_for_a_plain_model() -> None:
    message = ToolMessage("Error: no", tool_call_id="c2", status="error")
    [shown] = as_shown(FakeListChatModel(responses=["x"]), [message])
    assert [b["text"] for b in shown.content] == ["<tool_response>", "Error: no", "</tool_response>"]  # type: ignore[index]


MODEL = ScriptedPolicy(replies=["<answer>x</answer>"])


def make_model() -> ScriptedPolicy:
    return MODEL


NOT_A_MODEL = 3


def test_a_policy_is_named(store: MediaStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    assert resolve(MODEL, store=store, reader=None) is MODEL
    module = Path(__file__).stem
    assert resolve(f"{module}:make_model", store=store, reader=None).replies == MODEL.replies
    assert resolve("ocr", store=store, reader=None)._llm_type == "r4-ocr"
    with pytest.raises(UsageError, match="is a int, not a LangChain chat model"):
        resolve(f"{module}:NOT_A_MODEL", store=store, reader=None)
    with pytest.raises(MissingError, match="has no attribute 'nobody'"):
        resolve(f"{module}:nobody", store=store, reader=None)
    with pytest.raises(MissingError, match="No module named"):
        resolve("no_such_module:x", store=store, reader=None)
    with pytest.raises(UsageError, match="give `ocr`, `nano`, a chat model, or MODULE:NAME"):
        resolve("gpt", store=store, reader=None)
