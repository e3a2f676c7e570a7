"""RuminationMiddleware under `create_agent`: what the agent sees and may spend, what is kept and logged."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, ModelFallbackMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command

from r4agent import Budget, Episode, MediaError, MediaStore, RuminationMiddleware, UsageError
from r4agent.page.episode_page import episode_page


def calls(*wanted: tuple[str, dict[str, Any]]) -> AIMessage:
    made = [{"name": n, "args": a, "id": f"c{i}-{n}", "type": "tool_call"} for i, (n, a) in enumerate(wanted)]
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    return AIMessage("looking", tool_calls=made, usage_metadata=usage)  # type: ignore[arg-type]


SELECT = ("select_frames", {"times": [1.0, 2.5]})
ZOOM = ("zoom", {"view": "v1", "box": [10, 10, 200, 100]})
AGAIN = ("re_encode", {"view": "v2", "detail": "high"})


class Agent(BaseChatModel):
    """A foreign chat model that says `replies` in turn, and notes what it was given."""

    replies: Sequence[Any]
    given: list[list[BaseMessage]] = []  # noqa: RUF012 - a pydantic field
    tools: list[list[str]] = []  # noqa: RUF012

    @property
    def _llm_type(self) -> str:
        return "foreign"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        self.tools.append([tool.name for tool in tools])
        return self.bind(tools=[tool.name for tool in tools])

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.given.append(messages)
        reply = self.replies[len(self.given) - 1]
        if isinstance(reply, Exception):
            raise reply
        return ChatResult(generations=[ChatGeneration(message=reply)])

    def pixels(self, turn: int) -> list[str]:
        """The pictures it saw on a turn, by name."""
        blocks = [b for m in self.given[turn] if isinstance(m.content, list) for b in m.content]
        return [b["id"] for b in blocks if isinstance(b, dict) and b.get("base64")]


@tool
def note(text: str) -> str:
    """Write something down."""
    return f"noted {text}"


@pytest.fixture
def agent_of(tmp_path: Path) -> Callable[..., Any]:
    """`agent_of(replies, **options)`: an agent with a tool of its own, and its model."""

    def make(
        replies: Sequence[Any],
        checkpointer: Any = None,
        outer: Sequence[Any] = (),
        model: Any = None,
        **options: Any,
    ) -> tuple[Any, Agent]:
        options = {"store": MediaStore(tmp_path / "pictures"), "episodes": tmp_path / "episodes"} | options
        model = model or Agent(replies=replies, given=[], tools=[])
        middleware = [*outer, RuminationMiddleware(**options)]
        return create_agent(
            model, tools=[note], middleware=middleware, system_prompt="Be kind.", checkpointer=checkpointer
        ), model

    return make


def asked(clip: Path, question: str = "How many?") -> dict[str, Any]:
    return {"messages": [HumanMessage(question)], "media": str(clip)}


@pytest.mark.parametrize("awaited", [False, True])
def test_looks_are_shown_and_only_references_are_kept(
    awaited: bool, clip: Path, agent_of: Callable[..., Any], no_pixels: Any
) -> None:
    agent, model = agent_of(
        [calls(SELECT), calls(ZOOM), calls(("note", {"text": "x"})), AIMessage("42, see v11")]
    )
    config = {"callbacks": [no_pixels]}
    result = asyncio.run(agent.ainvoke(asked(clip), config)) if awaited else agent.invoke(asked(clip), config)
    assert [len(model.pixels(turn)) for turn in range(4)] == [8, 10, 11, 11]
    assert model.pixels(3) == [f"v{n}" for n in range(1, 12)]
    assert "base64" not in repr(result)
    assert no_pixels.seen["chat_model_start"] == 4
    assert no_pixels.seen["tool_start"] == 3
    ended = result["rumination"]
    assert (ended["answer"], ended["status"], ended["supported"]) == ("42, see v11", "answered", "unchecked")
    assert [place["view"] for place in ended["evidence"]] == ["v11"]
    assert ended["usage"]["turns"] == 4
    assert ended["usage"]["images"] == 11
    assert ended["usage"]["new_tokens"] == 15
    assert set(result) == {"messages", "rumination"}
    assert "noted x" in [m.content for m in result["messages"]]
    assert sorted(model.tools[0]) == ["note", "re_encode", "select_frames", "zoom"]
    system = model.given[0][0].text
    assert system.startswith("Be kind.")
    assert "You have 8 turns and 48 pictures" in system


def test_the_episode_reads_as_the_graphs_do(clip: Path, agent_of: Callable[..., Any]) -> None:
    agent, _ = agent_of([calls(SELECT), calls(ZOOM), AIMessage("42, see v11")])
    result = agent.invoke(asked(clip, "How many?"))
    episode = Episode.read(result["rumination"]["episode"])
    assert episode.header["made_by"] == "RuminationMiddleware"
    assert episode.header["token_exact"] is False
    assert (episode.header["question"], episode.header["policy"]) == ("How many?", "foreign")
    assert [line["role"] for line in episode.messages] == [
        "system",
        "human",
        "human",
        "ai",
        "tool",
        "ai",
        "tool",
        "ai",
    ]
    assert len({line["id"] for line in episode.messages}) == 8
    assert len(Path(episode.path).read_text().splitlines()) == 10
    assert [picture.name for picture in episode.pictures] == [f"v{n}" for n in range(1, 12)]
    assert episode.end is not None
    assert episode.end["answer"] == "42, see v11"
    assert episode.messages[3]["cost"]["new_tokens"] == 5
    page = episode_page(episode.path)
    assert "42, see v11" in page
    assert "malformed" not in page


def test_the_last_turn_has_no_looks_and_demands_an_answer(clip: Path, agent_of: Callable[..., Any]) -> None:
    agent, model = agent_of([calls(SELECT), AIMessage("7")], budget=Budget(turns=2))
    result = agent.invoke(asked(clip))
    assert model.tools == [["select_frames", "zoom", "re_encode", "note"], ["note"]]
    assert "answer now" in model.given[1][-1].text
    assert (result["rumination"]["answer"], result["rumination"]["status"]) == ("7", "forced")


def test_a_look_after_the_last_turn_is_refused_and_own_tools_work_on(
    clip: Path, agent_of: Callable[..., Any]
) -> None:
    agent, model = agent_of(
        [calls(SELECT), calls(ZOOM), calls(("note", {"text": "y"})), AIMessage("7")], budget=Budget(turns=2)
    )
    result = agent.invoke(asked(clip))
    told = [m for m in result["messages"] if isinstance(m, ToolMessage)]
    assert [m.status for m in told] == ["success", "error", "success"]
    assert "no looks left" in told[1].text
    assert len(model.pixels(3)) == 10
    assert sum("answer now" in str(m.text) for m in result["messages"]) == 1


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (("zoom", {"view": "v99", "box": [0, 0, 9, 9]}), "the pictures are v1"),
        (("zoom", {"view": "v1"}), "box: Field required"),
        (("select_frames", {}), "give either times or frames"),
        (("select_frames", {"frames": [100_000]}), "outside 0 to"),
    ],
)
def test_what_is_wrong_with_a_look_is_told(
    call: tuple[str, Any], problem: str, clip: Path, agent_of: Callable[..., Any]
) -> None:
    agent, _ = agent_of([calls(call), AIMessage("7")])
    result = agent.invoke(asked(clip))
    [told] = [m for m in result["messages"] if isinstance(m, ToolMessage)]
    assert told.status == "error"
    assert problem in told.text
    assert str(clip) not in told.text
    assert result["rumination"]["usage"]["images"] == 8


def test_looks_of_one_reply_share_no_name_and_keep_the_budget(
    clip: Path, agent_of: Callable[..., Any]
) -> None:
    agent, model = agent_of(
        [calls(SELECT, ZOOM, AGAIN, SELECT), calls(ZOOM), AIMessage("7")], budget=Budget(images=13)
    )
    result = agent.invoke(asked(clip))
    names = model.pixels(1)
    assert len(names) == len(set(names)) == 12
    told = [m for m in result["messages"] if isinstance(m, ToolMessage)]
    assert [m.status for m in told] == ["success", "success", "success", "error", "success"]
    assert "1 pictures" in told[3].text
    assert result["rumination"]["usage"]["images"] == 13
    assert result["rumination"]["status"] == "forced"


def test_without_media_the_agent_is_as_it_was(agent_of: Callable[..., Any], tmp_path: Path) -> None:
    agent, model = agent_of([calls(("note", {"text": "x"})), AIMessage("hello")])
    result = agent.invoke({"messages": [HumanMessage("hi")]})
    assert model.tools == [["note"], ["note"]]
    assert [m.type for m in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert model.given[0][0].text == "Be kind."
    assert not (tmp_path / "episodes").exists()


def test_a_thread_keeps_what_was_seen(clip: Path, agent_of: Callable[..., Any], tmp_path: Path) -> None:
    replies = [
        calls(SELECT),
        AIMessage("7"),
        calls(("zoom", {"view": "v9", "box": [0, 0, 60, 60]})),
        AIMessage("8"),
    ]
    with SqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
        agent, model = agent_of(replies, checkpointer=saver)
        thread = {"configurable": {"thread_id": "1"}}
        first = agent.invoke(asked(clip), thread)
        second = agent.invoke({"messages": [HumanMessage("and now?")]}, thread)
        assert "base64" not in repr([*saver.list(thread)])
    assert model.pixels(3) == [f"v{n}" for n in range(1, 12)]
    assert second["rumination"]["usage"]["images"] == 1
    episode = Episode.read(second["rumination"]["episode"])
    assert episode.before is not None
    assert str(episode.before.path) == first["rumination"]["episode"]
    assert [line["role"] for line in episode.messages] == ["human", "ai", "tool", "ai"]
    assert episode.header["question"] == "and now?"
    assert [p.name for p in episode.pictures] == [f"v{n}" for n in range(1, 12)]


def test_other_media_on_a_thread_is_refused(
    clip: Path, agent_of: Callable[..., Any], tmp_path: Path, repo: Path
) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
        agent, _ = agent_of([AIMessage("7")], checkpointer=saver)
        thread = {"configurable": {"thread_id": "1"}}
        agent.invoke(asked(clip), thread)
        with pytest.raises(UsageError, match="this thread is about other media"):
            agent.invoke(asked(repo / "docs" / "page.webp"), thread)


def test_media_outside_the_roots_are_refused(
    clip: Path, agent_of: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "allowed").mkdir()
    agent, _ = agent_of([AIMessage("7")], roots=[tmp_path / "allowed"])
    with pytest.raises(MediaError, match=r"is not in|no such file"):
        agent.invoke(asked(clip))


@pytest.mark.parametrize("awaited", [False, True])
def test_a_failure_is_logged_and_a_resumed_run_ends(
    awaited: bool, clip: Path, agent_of: Callable[..., Any], tmp_path: Path
) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
        agent, _ = agent_of(
            [calls(SELECT), ConnectionError("server gone"), AIMessage("7")], checkpointer=saver
        )
        thread = {"configurable": {"thread_id": "1"}}
        if awaited:
            with pytest.raises(NotImplementedError):  # SqliteSaver is not async: nothing was begun
                asyncio.run(agent.ainvoke(asked(clip), thread))
            return
        with pytest.raises(ConnectionError):
            agent.invoke(asked(clip), thread)
        [path] = (tmp_path / "episodes").iterdir()
        failed = Episode.read(path)
        assert failed.status == "failed"
        assert failed.end is not None
        assert "server gone" in failed.end["error"]
        result = agent.invoke(None, thread)
    episode = Episode.read(path)
    assert (episode.status, result["rumination"]["episode"]) == ("answered", str(path))
    assert [line["role"] for line in episode.messages] == ["system", "human", "human", "ai", "tool", "ai"]
    assert len([line for line in path.read_text().splitlines() if '"type":"message"' in line]) == 6


def test_a_person_may_change_a_look_and_the_log_has_the_look_that_was_made(
    clip: Path, agent_of: Callable[..., Any], tmp_path: Path
) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
        agent, _ = agent_of(
            [calls(ZOOM), AIMessage("7")],
            checkpointer=saver,
            outer=[HumanInTheLoopMiddleware(interrupt_on={"zoom": True})],
        )
        thread = {"configurable": {"thread_id": "1"}}
        assert agent.invoke(asked(clip), thread)["__interrupt__"]
        edited = {"name": "zoom", "args": {"view": "v2", "box": [0, 0, 50, 50]}}
        decision = Command(resume={"decisions": [{"type": "edit", "edited_action": edited}]})
        result = agent.invoke(decision, thread)
    episode = Episode.read(result["rumination"]["episode"])
    [line] = [line for line in episode.messages if line["role"] == "tool"]
    assert "a human reviewer replaced this tool call" in line["content"][0]["text"]
    assert episode.pictures[-1].view.frame == episode.pictures[1].view.frame


def test_a_model_put_in_place_by_another_middleware_sees_pictures(
    clip: Path, agent_of: Callable[..., Any]
) -> None:
    fallback = Agent(replies=[AIMessage("7")], given=[], tools=[])
    agent, _ = agent_of([ConnectionError("gone")], outer=[ModelFallbackMiddleware(fallback)])
    assert agent.invoke(asked(clip))["rumination"]["answer"] == "7"
    assert len(fallback.pixels(0)) == 8


def test_pixels_of_the_callers_own_stay_out_of_the_log(clip: Path, agent_of: Callable[..., Any]) -> None:
    agent, model = agent_of([AIMessage("7")])
    own = {"type": "image", "base64": "A" * 3000, "mime_type": "image/png"}
    theirs = {"type": "image", "file_id": "file-123"}
    question = HumanMessage([{"type": "text", "text": "Is it this one?"}, own, theirs])
    result = agent.invoke({"messages": [question], "media": str(clip)})
    assert own in model.given[0][1].content
    assert theirs in model.given[0][1].content
    text = Path(result["rumination"]["episode"]).read_text()
    assert "AAAA" not in text
    assert Episode.read(result["rumination"]["episode"]).header["question"] == "Is it this one?"


def test_an_answer_in_the_text_protocol_is_evidence_that_a_reader_checks(
    clip: Path, agent_of: Callable[..., Any]
) -> None:
    agent, _ = agent_of([AIMessage('<evidence>{"view": "v2"}</evidence><answer>42</answer>')])
    ended = agent.invoke(asked(clip))["rumination"]
    assert (ended["answer"], [p["view"] for p in ended["evidence"]]) == ("42", ["v2"])
    agent, _ = agent_of([AIMessage("<not_found>too dark</not_found>")])
    ended = agent.invoke(asked(clip))["rumination"]
    assert (ended["answer"], ended["status"]) == (None, "refused")


def test_events_are_those_of_the_graph(clip: Path, agent_of: Callable[..., Any]) -> None:
    agent, _ = agent_of([calls(SELECT), calls(ZOOM), AIMessage("7")])
    events = list(agent.stream(asked(clip), stream_mode="custom"))
    assert [e["event"] for e in events] == [
        "opened",
        "turn",
        "frame",
        "frame",
        "turn",
        "region",
        "turn",
        "answer",
    ]
    assert json.dumps(events)


def test_another_way_from_an_earlier_point_is_logged_as_it_went(
    clip: Path, agent_of: Callable[..., Any], tmp_path: Path
) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
        agent, _ = agent_of([calls(SELECT), AIMessage("7"), AIMessage("9")], checkpointer=saver)
        thread = {"configurable": {"thread_id": "1"}}
        agent.invoke(asked(clip), thread)
        at_model = [s for s in agent.get_state_history(thread) if s.next == ("model",)]
        result = agent.invoke(None, at_model[-1].config)
    episode = Episode.read(result["rumination"]["episode"])
    assert result["rumination"]["answer"] == "9"
    assert [line["role"] for line in episode.messages] == ["system", "human", "human", "ai"]
    assert episode.messages[-1]["content"] == "9"
