"""The graph, driven by scripts: where each kind of turn leads, what it costs, and what is kept."""

import asyncio
import re
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from PIL import Image

from r4agent import (
    Budget,
    Episode,
    MediaError,
    MediaStore,
    RunError,
    UsageError,
    create_single_pass_graph,
)
from r4agent.geometry import QWEN2_5_VL
from r4agent.graphs import pictures
from r4agent.graphs.dialogue import label
from r4agent.graphs.nodes import Nodes
from r4agent.media import Source, open_source
from r4agent.media.view import Picture
from r4agent.policy.conversation import text_block
from r4agent.protocol import LAST_TURN, plain
from r4agent.tools.select_frames import whole

from .conftest import ANSWER, EVERY_NODE, SELECT, ZOOM, call

FIRST = ANSWER.replace("v11", "v1")
THREAD = {"configurable": {"thread_id": "t"}}


def ask(clip: Path, question: str = "What does the red sign say?") -> dict[str, Any]:
    return {"media": str(clip), "question": question}


def test_a_run_through_every_node_ends_with_its_answer_and_evidence(graph_of: Any, clip: Path) -> None:
    result = graph_of(EVERY_NODE).invoke(ask(clip))
    assert set(result) == {"answer", "status", "supported", "confidence", "evidence", "usage", "episode"}
    assert (result["answer"], result["status"], result["supported"]) == ("42", "answered", "unchecked")
    assert [place["view"] for place in result["evidence"]] == ["v11"]
    assert result["usage"]["turns"] == 4
    assert result["usage"]["images"] == 12  # 8 of the overview, 2 frames, 1 region, 1 again


def test_pictures_are_cut_from_the_source_where_the_calls_say(graph_of: Any, clip: Path) -> None:
    graph = graph_of(EVERY_NODE, checkpointer=InMemorySaver())
    graph.invoke(ask(clip), THREAD)
    seen = pictures(graph.get_state(THREAD).values["messages"])
    assert list(seen) == [f"v{n}" for n in range(1, 13)]
    frame, region, again = seen["v9"].view, seen["v11"].view, seen["v12"].view
    assert frame.time == pytest.approx(1.0, abs=0.11)
    assert (region.frame, region.time) == (frame.frame, frame.time)
    scale = frame.region.width / frame.size.width
    assert region.region.corners == pytest.approx([10 * scale, 10 * scale, 200 * scale, 100 * scale], abs=1)
    assert again.region == seen["v1"].view.region
    assert again.size.pixels > seen["v1"].view.size.pixels


def test_the_stream_says_which_frames_and_regions_are_looked_at(graph_of: Any, clip: Path) -> None:
    events = list(graph_of(EVERY_NODE).stream(ask(clip), stream_mode="custom"))
    assert [e["event"] for e in events] == [
        "opened",
        *("turn", "frame", "frame"),
        *("turn", "region"),
        *("turn", "turn"),
        "answer",
    ]
    assert {"of": "v9", "event": "region"}.items() <= events[5].items()


def test_the_async_twin_runs_inside_a_loop_and_gives_the_same(graph_of: Any, clip: Path) -> None:
    async def both() -> tuple[dict[str, Any], dict[str, Any]]:
        inside = graph_of(EVERY_NODE).invoke(ask(clip))  # as a notebook cell would
        return inside, await graph_of(EVERY_NODE).ainvoke(ask(clip))

    one, two = asyncio.run(both())
    assert {k: v for k, v in one.items() if k not in ("usage", "episode")} == {
        k: v for k, v in two.items() if k not in ("usage", "episode")
    }


def test_events_stream_from_the_async_twin_too(graph_of: Any, clip: Path) -> None:
    async def events() -> list[str]:
        stream = graph_of(EVERY_NODE).astream(ask(clip), stream_mode="custom")
        return [event["event"] async for event in stream]

    assert asyncio.run(events()).count("frame") == 2


def before_turn_two(graph: Any) -> Any:
    history = graph.get_state_history(THREAD)
    return next(s for s in history if s.next == ("policy",) and len(s.values["messages"]) == 4)


def test_an_edit_further_back_is_seen_too(graph_of: Any, clip: Path) -> None:
    saver = InMemorySaver()
    graph = graph_of([SELECT, FIRST], checkpointer=saver)
    graph.invoke(ask(clip), THREAD)
    [past] = [
        s for s in graph.get_state_history(THREAD) if s.next == ("policy",) and len(s.values["messages"]) == 4
    ]
    opening = past.values["messages"][1]
    edited = opening.model_copy(update={"content": [*opening.content[:-1], text_block("Question: another?")]})
    fork = graph.update_state(past.config, {"messages": [edited]}, as_node="re_encode")
    other = graph_of([SELECT, FIRST.replace("42", "43")], checkpointer=saver)
    assert other.invoke(None, fork)["answer"] == "43"


def test_a_thread_taken_back_goes_another_way(graph_of: Any, clip: Path) -> None:
    """LangGraph's time travel: an edited history is logged anew, and the episode is that of the new way."""
    saver = InMemorySaver()
    graph = graph_of(EVERY_NODE, checkpointer=saver)
    graph.invoke(ask(clip), THREAD)
    [past] = [
        s for s in graph.get_state_history(THREAD) if s.next == ("policy",) and len(s.values["messages"]) == 4
    ]
    edited = past.values["messages"][-1].model_copy(update={"content": "nothing to see"})
    fork = graph.update_state(past.config, {"messages": [edited]}, as_node="re_encode")
    other = graph_of([SELECT, "<not_found>no</not_found>"], checkpointer=saver)
    result = other.invoke(None, fork)
    assert (result["status"], result["answer"]) == ("refused", None)
    episode = Episode.read(result["episode"])
    assert (episode.status, len(episode.messages)) == ("refused", 5)


def test_the_graph_as_a_node_of_another(graph_of: Any, clip: Path) -> None:
    class Parent(TypedDict):
        media: str
        question: str
        messages: Annotated[list[Any], add_messages]
        answer: str | None

    parent = StateGraph(Parent)
    parent.add_node("look", graph_of(EVERY_NODE))
    parent.add_edge(START, "look")
    parent.add_edge("look", END)
    result = parent.compile().invoke({**ask(clip), "messages": [HumanMessage("hello")]})
    assert result["answer"] == "42"
    assert [m.content for m in result["messages"]] == ["hello"]  # the loop's own messages stay inside


def test_several_questions_at_once(graph_of: Any, clip: Path) -> None:
    results = graph_of(EVERY_NODE).batch([ask(clip, f"question {n}") for n in range(4)])
    assert [r["answer"] for r in results] == ["42"] * 4
    assert len({r["episode"] for r in results}) == 4


def test_a_follow_up_reuses_what_was_seen(graph_of: Any, clip: Path) -> None:
    graph = graph_of([*EVERY_NODE, ANSWER.replace("42", "43")], checkpointer=InMemorySaver())
    first = graph.invoke(ask(clip), THREAD)
    second = graph.invoke(ask(clip, "And the blue one?"), THREAD)
    assert (second["answer"], second["evidence"][0]["view"]) == ("43", "v11")
    assert (second["usage"]["turns"], second["usage"]["images"], second["usage"]["decoded_frames"]) == (
        1,
        0,
        0,
    )
    episode = Episode.read(second["episode"])
    assert episode.header["continues"] == Episode.read(first["episode"]).id
    assert len(episode.history) == len(graph.get_state(THREAD).values["messages"])


def test_another_medium_needs_another_thread(graph_of: Any, clip: Path, tmp_path: Path) -> None:
    graph = graph_of([FIRST] * 2, checkpointer=InMemorySaver())
    graph.invoke(ask(clip), THREAD)
    other = tmp_path / "other.png"
    Image.new("RGB", (64, 64)).save(other)
    with pytest.raises(UsageError, match="other media; ask on a new thread"):
        graph.invoke(ask(other), THREAD)


BAD_TURNS = [
    ("no tags at all", "no <tool_call> and no <answer>"),
    ("<tool_call>{}</tool_call>", 'exactly the keys "name" and "arguments"'),
    (call("open_file", path="/etc/passwd"), "no tool is called 'open_file'"),
    (call("zoom", view="v99", box=[0, 0, 9, 9]), "the pictures are v1, v2"),
    (call("zoom", view="v1", box=[9, 9, 0, 0]), "x0 < x1 and y0 < y1"),
    (call("zoom", view="v1", box=[9000, 0, 9999, 9]), "outside v1, which spans"),
    (call("zoom", view="v1", box=[1, 2, 3]), "at least 4 items"),
    (call("select_frames", times=[1e9]), "time 1000000000.0: must be 0.000 to 5.000"),
    (call("select_frames", frames=[10**30]), "an integer beyond 64 bits"),
    (f'<evidence>{{"view":"v1","box":[1{"0" * 400},0,1,1]}}</evidence><answer>x</answer>', "beyond 64 bits"),
    (call("<|im_end|>", x=1), "no tool is called '<|im_end|>'"),
    (call("zoom", view="<|im_end|>", box=[0, 0, 9, 9]), "view '<|im_end|>'"),
    (call("select_frames", frames=[-1]), "frame -1: outside 0 to"),
    (call("select_frames"), "either times or frames"),
    (call("re_encode", view="v1", detail="huge"), "'low', 'medium' or 'high'"),
    ('<evidence>{"view":"v77"}</evidence><answer>x</answer>', "<evidence> names 'v77'; the pictures are"),
]


@pytest.mark.parametrize(("reply", "told"), BAD_TURNS, ids=range(len(BAD_TURNS)))
def test_a_bad_turn_is_told_what_is_wrong_and_the_run_goes_on(
    reply: str, told: str, graph_of: Any, clip: Path
) -> None:
    graph = graph_of([reply, FIRST], checkpointer=InMemorySaver())
    result = graph.invoke(ask(clip), THREAD)
    assert (result["answer"], result["usage"]["turns"], result["usage"]["images"]) == ("42", 2, 8)
    messages = graph.get_state(THREAD).values["messages"]
    [error] = [m for m in messages[3:] if isinstance(m, HumanMessage | ToolMessage)]
    assert plain(told) in str(error.text)
    if isinstance(error, ToolMessage):
        assert error.status == "error"


def test_an_integer_too_large_for_a_checkpoint_is_told_not_kept(graph_of: Any, clip: Path) -> None:
    """The LangChain way round the parser: msgpack has 64 bits, and a run must not die of it."""
    zoom = {"name": "select_frames", "args": {"frames": [10**30]}, "id": "x", "type": "tool_call"}
    graph = graph_of([AIMessage("", tool_calls=[zoom]), FIRST], checkpointer=InMemorySaver())
    assert graph.invoke(ask(clip), THREAD)["answer"] == "42"


def test_calls_that_nothing_could_keep_are_told(graph_of: Any, clip: Path) -> None:
    deep: Any = 1
    for _ in range(3000):
        deep = {"x": deep}
    odd = AIMessage(
        "",
        tool_calls=[{"name": "zoom", "args": deep, "id": None, "type": "tool_call"}],
        additional_kwargs={"raw": object(), "n": 10**30},
        usage_metadata={"input_tokens": 1, "output_tokens": -5, "total_tokens": 1},
    )
    nameless = {
        "name": "zoom",
        "args": {"view": "v1", "box": [0, 0, 50, 50]},
        "id": None,
        "type": "tool_call",
    }
    graph = graph_of([odd, AIMessage("", tool_calls=[nameless]), FIRST], checkpointer=InMemorySaver())
    result = graph.invoke(ask(clip), THREAD)
    assert (result["answer"], result["usage"]["images"], result["usage"]["new_tokens"]) == ("42", 9, 0)


def test_a_thousand_calls_are_refused_in_no_time(graph_of: Any, clip: Path) -> None:
    zoom = {"name": "zoom", "args": {"view": "v1", "box": [0, 0, 50, 50]}, "type": "tool_call"}
    many = AIMessage("", tool_calls=[{**zoom, "id": f"x{n}"} for n in range(1000)])
    started = time.process_time()
    assert graph_of([many, FIRST]).invoke(ask(clip))["answer"] == "42"
    assert time.process_time() - started < 8


def test_a_picture_replaced_during_the_run_is_told(graph_of: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    Image.new("RGB", (200, 100), "white").save(page)

    def swap(messages: list[Any]) -> str:
        Image.effect_noise((200, 100), 90).save(page)
        return call("zoom", view="v1", box=[0, 0, 50, 50])

    with pytest.raises(MediaError, match="changed since this run began"):
        graph_of([swap, FIRST]).invoke(ask(page))


def test_every_label_names_its_own_frame(graph_of: Any, clip: Path) -> None:
    """A model that copies a time from a label must get that frame again."""
    with open_source(clip) as source:
        views = whole(source, list(range(source.count)), profile=QWEN2_5_VL, max_tokens=144)
        for view in views:
            shown = label(Picture("v1", view, ""))
            time = float(re.search(r"at ([\d.]+) s", shown)[1])  # type: ignore[index]
            assert source.nearest(time) == view.frame


def test_choices_go_with_their_question(graph_of: Any, clip: Path) -> None:
    graph = graph_of([FIRST, FIRST], checkpointer=InMemorySaver())
    graph.invoke({**ask(clip), "choices": ["red", "blue"]}, THREAD)
    graph.invoke(ask(clip, "and the name?"), THREAD)
    questions = [
        str(m.text) for m in graph.get_state(THREAD).values["messages"] if isinstance(m, HumanMessage)
    ]
    assert "(B) blue" in questions[0]
    assert "(B) blue" not in questions[1]


def test_a_question_after_a_failed_opening_sees_the_overview(
    graph_of: Any, clip: Path, tmp_path: Path
) -> None:
    saver = InMemorySaver()
    full = graph_of([FIRST], store=MediaStore(tmp_path / "full", max_bytes=10), checkpointer=saver)
    with pytest.raises(RunError, match="is full"):
        full.invoke(ask(clip), THREAD)
    result = graph_of([FIRST], checkpointer=saver).invoke(ask(clip), THREAD)
    assert (result["answer"], result["usage"]["images"]) == ("42", 8)
    assert Episode.read(result["episode"]).header["continues"] is None


def test_a_call_that_a_failed_run_left_open_is_answered(
    graph_of: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = InMemorySaver()
    graph = graph_of([SELECT, FIRST], checkpointer=saver)

    def broken(*_: Any) -> Any:
        raise RunError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Nodes, "_choose", broken)
        with pytest.raises(RunError):
            graph.invoke(ask(clip), THREAD)
    result = graph.invoke(ask(clip, "again?"), THREAD)
    messages = graph.get_state(THREAD).values["messages"]
    called = [c["id"] for m in messages if isinstance(m, AIMessage) for c in m.tool_calls]
    assert [m.tool_call_id for m in messages if isinstance(m, ToolMessage)] == called
    assert len(Episode.read(result["episode"]).history) == len(messages)


def test_an_answer_on_the_last_turn_stands_whatever_it_cites(graph_of: Any, clip: Path) -> None:
    wrong = '<evidence>{"view":"v77"}</evidence><answer>42</answer>'
    result = graph_of([wrong], create=create_single_pass_graph).invoke(ask(clip))
    assert (result["answer"], result["status"], result["evidence"]) == ("42", "answered", [])
    result = graph_of([SELECT, wrong], budget=Budget(turns=2)).invoke(ask(clip))
    assert (result["answer"], result["status"]) == ("42", "forced")


def test_a_damaged_frame_is_told_and_the_others_are_shown(
    graph_of: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = Source.frames

    def damaged(self: Source, indices: Any) -> Any:
        for frame in frames(self, indices):
            if frame.index in (spoilt, 10):
                raise MediaError("frame can't be decoded")
            yield frame

    with open_source(clip) as source:
        spoilt = source.overview(8)[3]
    monkeypatch.setattr(Source, "frames", damaged)
    graph = graph_of([call("select_frames", frames=[9, 10]), FIRST], checkpointer=InMemorySaver())
    assert graph.invoke(ask(clip), THREAD)["usage"]["images"] == 8
    messages = graph.get_state(THREAD).values["messages"]
    assert f"not shown: frame {spoilt}" in str(messages[1].text)
    assert "not shown: frame 10" in str(messages[3].text)


def test_sources_are_closed_when_left_alone(
    graph_of: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("r4agent.graphs.sources.IDLE_SECONDS", 0.2)
    closed: list[Source] = []
    close = Source.close
    monkeypatch.setattr(Source, "close", lambda source: (closed.append(source), close(source)))
    for _ in graph_of(EVERY_NODE).stream(ask(clip)):
        break  # the caller walks away
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not closed:
        time.sleep(0.05)
    assert len(closed) == 1


def test_the_last_turn_demands_an_answer(graph_of: Any, clip: Path) -> None:
    def asked(messages: list[Any]) -> str:
        assert LAST_TURN in str(messages[-1].text)
        return FIRST

    result = graph_of([SELECT, asked], budget=Budget(turns=2)).invoke(ask(clip))
    assert (result["status"], result["answer"]) == ("forced", "42")


def test_a_call_on_the_last_turn_is_not_run(graph_of: Any, clip: Path) -> None:
    result = graph_of([SELECT, ZOOM], budget=Budget(turns=2)).invoke(ask(clip))
    assert (result["status"], result["answer"], result["usage"]["images"]) == ("budget", None, 10)


def test_not_found_is_refused(graph_of: Any, clip: Path) -> None:
    result = graph_of(["<not_found>no red sign</not_found>"]).invoke(ask(clip))
    assert (result["status"], result["answer"], result["evidence"]) == ("refused", None, [])


@pytest.mark.parametrize(
    ("budget", "told"),
    [(Budget(images=9), "1 pictures of"), (Budget(image_tokens=1200), "asked for")],
)
def test_pictures_beyond_the_budget_are_not_made(
    budget: Budget, told: str, graph_of: Any, clip: Path
) -> None:
    graph = graph_of([SELECT, FIRST], budget=budget, checkpointer=InMemorySaver())
    result = graph.invoke(ask(clip), THREAD)
    assert result["usage"]["images"] == 8
    assert result["usage"]["image_tokens"] <= budget.image_tokens
    told_so = [m for m in graph.get_state(THREAD).values["messages"] if isinstance(m, ToolMessage)]
    assert told in str(told_so[0].text)


def test_seconds_end_a_run(graph_of: Any, clip: Path) -> None:
    result = graph_of([SELECT, ZOOM], budget=Budget(seconds=0.001)).invoke(ask(clip))
    assert (result["status"], result["usage"]["turns"]) == ("budget", 1)


def test_a_failing_policy_raises_and_the_episode_says_so(graph_of: Any, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="turn 2 asks for another"):
        graph_of([SELECT]).invoke(ask(clip))
    [path] = (tmp_path / "episodes").glob("*.jsonl")
    episode = Episode.read(path)
    assert episode.status == "failed"
    assert "turn 2" in episode.end["error"]


def test_an_opening_that_fails_leaves_no_broken_episode(
    graph_of: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = InMemorySaver()
    full = graph_of(EVERY_NODE, store=MediaStore(tmp_path / "full", max_bytes=10), checkpointer=saver)
    with pytest.raises(RunError, match="is full"):
        full.invoke(ask(clip), THREAD)
    assert all(not path.stat().st_size for path in (tmp_path / "episodes").glob("*"))
    result = graph_of(EVERY_NODE, checkpointer=saver).invoke(None, THREAD)
    assert Episode.read(result["episode"]).status == "answered"


def test_a_failed_run_can_be_taken_up_again(graph_of: Any, clip: Path) -> None:
    saver = InMemorySaver()
    with pytest.raises(RunError):
        graph_of([SELECT], checkpointer=saver).invoke(ask(clip), THREAD)
    result = graph_of([SELECT, ZOOM, ANSWER], checkpointer=saver).invoke(None, THREAD)
    assert result["answer"] == "42"
    assert Episode.read(result["episode"]).status == "answered"


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ({"media": "", "question": "q"}, UsageError),
        ({"media": "x.mp4", "question": " "}, UsageError),
        ({"media": "x.mp4", "question": "q", "choices": "abc"}, UsageError),
        ({"media": "/nowhere/x.mp4", "question": "q"}, MediaError),
    ],
)
def test_bad_input_is_refused(question: dict[str, str], error: type[Exception], graph_of: Any) -> None:
    with pytest.raises(error):
        graph_of([ANSWER]).invoke(question)


def test_single_pass_looks_once_and_has_no_tools(graph_of: Any, clip: Path) -> None:
    def once(messages: list[Any]) -> str:
        assert "<tools>" not in str(messages[0].text)
        assert LAST_TURN not in str(messages[-1].text)
        return FIRST

    result = graph_of([once], create=create_single_pass_graph).invoke(ask(clip))
    assert (result["status"], result["usage"]["turns"], result["usage"]["images"]) == ("answered", 1, 8)
    assert graph_of([SELECT], create=create_single_pass_graph).invoke(ask(clip))["status"] == "budget"


def test_a_model_that_calls_tools_the_langchain_way(graph_of: Any, clip: Path) -> None:
    zoom = {"name": "zoom", "args": {"view": "v1", "box": [0, 0, 50, 50]}, "id": "x1", "type": "tool_call"}
    replies = [
        AIMessage("", tool_calls=[zoom]),
        AIMessage("", tool_calls=[zoom, {**zoom, "id": "x2"}]),
        ANSWER.replace("v11", "v9"),
    ]
    graph = graph_of(replies, checkpointer=InMemorySaver())
    assert graph.invoke(ask(clip), THREAD)["answer"] == "42"
    answers = [m for m in graph.get_state(THREAD).values["messages"] if isinstance(m, ToolMessage)]
    assert [(m.tool_call_id, m.status) for m in answers] == [
        ("x1", "success"),
        ("x1", "error"),
        ("x2", "error"),
    ]


def test_special_tokens_in_the_question_stay_text(graph_of: Any, clip: Path) -> None:
    graph = graph_of([FIRST], checkpointer=InMemorySaver())
    graph.invoke(ask(clip, "What is <|im_end|> or </tool_call> or <|image_pad|>?"), THREAD)
    shown = str(graph.get_state(THREAD).values["messages"][1].text)
    assert "im_end" in shown
    for power in ("<|im_end|>", "</tool_call>", "<|image_pad|>"):
        assert power not in shown


def test_state_holds_references_and_grows_by_under_300_bytes_a_picture(graph_of: Any, clip: Path) -> None:
    def size_with(count: int) -> int:
        frames = call("select_frames", frames=list(range(count)))
        graph = graph_of([frames, FIRST], checkpointer=InMemorySaver())
        graph.invoke(ask(clip), THREAD)
        values = graph.get_state(THREAD).values
        return sum(len(JsonPlusSerializer().dumps_typed(v)[1]) for v in values.values())

    assert (size_with(16) - size_with(2)) / 14 <= 300


def test_the_log_holds_what_training_needs(graph_of: Any, clip: Path) -> None:
    result = graph_of(EVERY_NODE).invoke(ask(clip))
    episode = Episode.read(result["episode"])
    header = episode.header
    assert header["question"] == "What does the red sign say?"
    assert header["media"]["id"].startswith("src:")
    assert {"pillow", "decoder", "r4agent"} <= set(header["versions"])
    assert header["budget"]["turns"] == Budget().turns
    assert [m["role"] for m in episode.messages] == ["system", "human", *["ai", "tool"] * 3, "ai"]
    assert [m["step"] for m in episode.messages if m["role"] == "ai"] == ["Call"] * 3 + ["Answer"]
    assert "base64" not in Path(result["episode"]).read_text()
