"""A foreign chat model sees pictures, and its callbacks see references."""

import asyncio
import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langgraph.graph import START, MessagesState, StateGraph
from PIL import Image

from r4agent import MediaStore, ScriptedPolicy, UsageError
from r4agent.geometry import Box, Size
from r4agent.media.view import Picture, View
from r4agent.policy.pixels import WithPixels, seeing, with_pixels


class Foreign(BaseChatModel):
    """A chat model of someone else's: it notes what it is given, and streams when asked to."""

    given: list[list[BaseMessage]] = []  # noqa: RUF012 - a pydantic field
    bound: Any = None
    model_name: str = "gpt-5"

    @property
    def _llm_type(self) -> str:
        return "foreign"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bound or self.bind(tools=tools, **kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.given.append(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("seen"))])

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.given.append(messages)
        for word in ("se", "en"):
            yield ChatGenerationChunk(message=AIMessageChunk(word))


@pytest.fixture
def store(tmp_path: Path) -> MediaStore:
    return MediaStore(tmp_path)


@pytest.fixture
def messages(store: MediaStore) -> list[Any]:
    noise = Image.effect_noise((56, 84), 80).convert("RGB")
    picture = Picture("v1", View(0, 1.0, Box(0, 0, 56, 84), Size(56, 84)), store.put(noise))
    return [HumanMessage([{"type": "text", "text": "[v1]"}, picture.block()])]


def pixels_of(message: BaseMessage) -> Image.Image:
    [block] = [b for b in message.content if isinstance(b, dict) and b["type"] == "image"]
    assert set(block) == {"type", "id", "base64", "mime_type"}
    return Image.open(io.BytesIO(base64.b64decode(block["base64"])))


def test_our_models_stay_as_they_are(store: MediaStore) -> None:
    policy = ScriptedPolicy(replies=[])
    assert seeing(policy, store) is policy


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("awaited", [False, True])
def test_the_model_sees_and_callbacks_do_not(
    bound: bool, awaited: bool, messages: list[Any], store: MediaStore, no_pixels: Any
) -> None:
    foreign = Foreign(given=[])
    model: Any = seeing(foreign, store)
    if bound:
        model = model.bind_tools([{"type": "function", "function": {"name": "zoom", "parameters": {}}}])
    config = {"callbacks": [no_pixels]}
    reply = asyncio.run(model.ainvoke(messages, config)) if awaited else model.invoke(messages, config)
    assert reply.content == "seen"
    [[shown]] = foreign.given
    reference = messages[0].content[1]["file_id"]
    assert pixels_of(shown).tobytes() == store.get(reference).tobytes()
    assert no_pixels.seen == {"chat_model_start": 1, "llm_end": 1}  # one run, not one in another
    assert no_pixels.references >= 1
    assert "file_id" in messages[0].content[1]  # the caller's message is as it was


def test_the_handler_of_these_tests_fails_on_pixels(
    messages: list[Any], store: MediaStore, no_pixels: Any
) -> None:
    with pytest.raises(AssertionError, match="chat_model_start was given pixels"):
        Foreign(given=[]).invoke([with_pixels(m, store) for m in messages], {"callbacks": [no_pixels]})


def test_a_trace_tells_of_the_model_itself(messages: list[Any], store: MediaStore) -> None:
    traces = []
    own = RunCollectorCallbackHandler()
    for wrap in (lambda m: m, lambda m: seeing(m, store)):
        collector = RunCollectorCallbackHandler()
        foreign = Foreign(given=[], callbacks=[own], tags=["mine"], metadata={"who": "me"})
        wrap(foreign).invoke([HumanMessage("hi")], {"callbacks": [collector]}, stop=["x"])
        [run] = collector.traced_runs
        traces.append(
            (run.name, run.serialized, run.tags, run.extra["invocation_params"], run.extra["metadata"])
        )
    assert traces[0] == traces[1]
    assert len(own.traced_runs) == 2  # the model's own callbacks, once a call


def test_tokens_come_as_they_are_made(messages: list[Any], store: MediaStore, no_pixels: Any) -> None:
    def node(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [seeing(Foreign(given=[]), store).invoke(messages, config)]}

    graph = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()
    stream = graph.stream({"messages": []}, {"callbacks": [no_pixels]}, stream_mode="messages")
    assert [chunk.content for chunk, _ in stream if chunk.content] == ["se", "en"]
    assert no_pixels.seen["llm_new_token"] >= 2


def test_the_models_own_cache_serves(messages: list[Any], store: MediaStore) -> None:
    foreign = Foreign(given=[], cache=InMemoryCache())
    for _ in range(2):
        assert seeing(foreign, store).invoke(messages).content == "seen"
    assert len(foreign.given) == 1


def test_what_others_ask_of_the_model_is_its_own(store: MediaStore) -> None:
    model: Any = seeing(Foreign(profile={"structured_output": True}), store)
    assert (model.model_name, model._llm_type, model.profile) == (
        "gpt-5",
        "foreign",
        {"structured_output": True},
    )
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = model.nothing_of_this_name


def test_a_binding_that_makes_another_model_is_followed(messages: list[Any], store: MediaStore) -> None:
    other = Foreign(given=[])
    bound = seeing(Foreign(bound=other), store).bind_tools([])
    assert isinstance(bound, WithPixels)
    bound.invoke(messages)
    assert pixels_of(other.given[0][0]).size == (56, 84)


def test_a_binding_that_hides_its_model_is_refused(store: MediaStore) -> None:
    hidden = Foreign(bound=RunnableLambda(lambda given: AIMessage("ok")))
    with pytest.raises(UsageError, match="bind_tools gave a RunnableLambda"):
        seeing(hidden, store).bind_tools([])


def test_fakes_that_count_their_replies_go_on(store: MediaStore) -> None:
    fake = GenericFakeChatModel(messages=iter([AIMessage("1"), AIMessage("2")]))
    assert [seeing(fake, store).invoke("x").content for _ in range(2)] == ["1", "2"]
