"""The story of an episode: what is told, and where each picture stands in its parent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r4agent import MediaStore, ScriptedPolicy, create_rumination_graph
from r4agent.errors import RunError
from r4agent.page.reading import read_episode
from r4agent.page.story import Story, tell

from .conftest import ANSWER, SELECT, ZOOM, call, lines_of, written


def story_of(path: Path) -> Story:
    return tell(*read_episode(path))


def test_turns_are_told_as_the_graph_understood_them(episode: Path) -> None:
    story = story_of(episode)
    assert [t.did for t in story.turns] == ["select_frames", "zoom", "malformed reply", "zoom", "answer"]
    assert [t.thought for t in story.turns][::3] == ["when is it?", "closer"]
    assert story.turns[0].call == "times: [1.0, 2.5]"
    assert [o.is_error for t in story.turns for o in t.observations] == [False, True, True, False]
    assert "the pictures are v1" in story.turns[1].observations[0].said[0]
    assert story.turns[4].call == "evidence: v11"
    assert story.tools == {"select_frames", "zoom"}
    assert (story.answer, story.status) == ("42", "answered")
    assert story.summary.startswith("5 turns, 11 pictures")


def test_a_region_stands_in_the_widest_picture_of_its_frame(episode: Path) -> None:
    story = story_of(episode)
    (sight,) = story.turns[3].observations[0].sights
    assert (sight.kind, sight.picture.name) == ("region", "v11")
    assert sight.parent is not None
    assert sight.parent.picture.name == "v9"
    assert sight.mark is not None
    region, source = sight.picture.view.region, sight.parent.picture.view.region
    assert sight.mark.x == pytest.approx(100 * region.x0 / source.width, abs=0.01)
    assert sight.mark.height == pytest.approx(100 * region.height / source.height, abs=0.01)


def test_evidence_is_marked_in_its_picture_and_in_the_whole_frame(episode: Path) -> None:
    (proof,) = story_of(episode).proofs
    assert proof.sight is not None
    assert proof.whole is not None
    assert (proof.sight.picture.name, proof.whole.picture.name) == ("v11", "v9")
    assert proof.mark is not None
    assert (proof.mark.x, proof.mark.width) == (0, 100)  # it cites all of the region
    assert proof.whole_mark == proof.sight.mark


def test_the_time_line_has_a_lane_for_each_way_of_looking(episode: Path) -> None:
    line = story_of(episode).line
    assert line is not None
    assert [(lane.name, len(lane.points)) for lane in line.lanes] == [
        ("overview", 8), ("chosen", 2), ("zoomed", 1), ("evidence", 1),
    ]  # fmt: skip
    assert all(0 <= point.x <= 100 for lane in line.lanes for point in lane.points)
    assert line.lanes[2].points[0].x == line.lanes[3].points[0].x


def test_pages_stand_in_their_order(pdf: Path, asked: Callable[..., Path]) -> None:
    zoom = call("zoom", view="v2", box=[0, 0, 100, 60])
    answer = '<evidence>{"view": "v6"}</evidence><answer>2</answer>'
    story = story_of(asked(pdf, [zoom, answer]))
    assert story.about == "document, 5 pages"
    assert [s.kind for o in story.opening for s in o.sights] == ["overview"] * 5
    (sight,) = story.turns[0].observations[0].sights
    assert (sight.kind, sight.when) == ("region", "page 2")
    assert sight.parent is not None
    assert story.line is not None
    assert [(p.x, p.width) for p in story.line.lanes[0].points] == [(20 * n, 20) for n in range(5)]
    assert story.proofs[0].when == "page 2"


def test_a_follow_up_shows_the_earlier_pictures_it_uses(clip: Path, tmp_path: Path) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    again = [call("zoom", view="v9", box=[50, 10, 200, 100]), ANSWER.replace("v11", "v12")]
    graph = create_rumination_graph(
        ScriptedPolicy(replies=[SELECT, ZOOM, ANSWER, *again]),
        store=MediaStore(tmp_path / "pictures"), episodes=tmp_path / "episodes", checkpointer=InMemorySaver(),
    )  # fmt: skip
    thread: Any = {"configurable": {"thread_id": "1"}}
    graph.invoke({"media": str(clip), "question": "first?"}, thread)
    second = Path(graph.invoke({"media": str(clip), "question": "second?"}, thread)["episode"])
    story = story_of(second)
    (before,) = story.earlier
    assert (before.question, before.answer) == ("first?", "42")
    assert [sight.picture.name for sight in before.sights] == ["v9"]
    assert before.others == 10
    first = second.with_name(f"{before.id}.jsonl")
    first.unlink()
    story = story_of(second)
    assert story.earlier == ()
    assert any("could not be read" in note for note in story.notes)


def test_endings_are_said_in_words(clip: Path, asked: Callable[..., Path]) -> None:
    def gone(messages: list[Any]) -> str:
        raise ConnectionError("the server <b>went</b> away")

    failed = story_of(asked(clip, [SELECT, gone]))
    assert (failed.status, failed.answer) == ("failed", None)
    assert "the server <b>went</b> away" in str(failed.error)
    refused = story_of(asked(clip, ["<not_found>too small</not_found>"]))
    assert (refused.status, refused.turns[0].answer) == ("refused", "too small")


def test_a_control_is_called_one(clip: Path, asked: Callable[..., Path]) -> None:
    story = story_of(asked(clip, [SELECT, "<answer>x</answer>"], control="blank-crop"))
    assert any("blank-crop" in note for note in story.notes)


def test_an_unfinished_torn_episode_tells_what_there_is(episode: Path, tmp_path: Path) -> None:
    lines = episode.read_text().splitlines(keepends=True)
    path = tmp_path / "torn.jsonl"
    path.write_text("".join(lines[:5]) + lines[5][:40])
    story = story_of(path)
    assert (story.status, len(story.turns), story.proofs) == ("unfinished", 1, ())
    assert any("cut off" in note for note in story.notes)


def test_a_damaged_line_costs_that_line(episode: Path, tmp_path: Path) -> None:
    lines = episode.read_text().splitlines(keepends=True)
    lines[5] = "\x00\x00 not json\n"
    path = tmp_path / "damaged.jsonl"
    path.write_text("".join(lines))
    story = story_of(path)
    assert story.answer == "42"
    assert any("damaged" in note and "damaged.jsonl:6" in note for note in story.notes)


def test_what_is_no_episode_is_refused_in_one_line(episode: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for text in ("", "{}\n", '{"type":"results","schema":1,"key":"results"}\n', "\x00\xff\n", "[]\n"):
        path.write_text(text)
        with pytest.raises(RunError) as refused:
            story_of(path)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("part", ["media", "question", "id"])
def test_a_header_without_a_part_is_refused_in_one_line(part: str, episode: Path, tmp_path: Path) -> None:
    lines = lines_of(episode)
    del lines[0][part]
    with pytest.raises(RunError, match="not as r4agent writes it"):
        story_of(written(tmp_path / "x.jsonl", lines))


def test_a_region_without_a_parent_stands_in_an_outline_of_the_source(episode: Path, tmp_path: Path) -> None:
    lines = lines_of(episode)
    shown = next(line for line in lines if "v9" in [b.get("id") for b in _blocks(line)])
    shown["content"] = [block for block in shown["content"] if block.get("id") != "v9"]
    story = story_of(written(tmp_path / "x.jsonl", lines))
    (sight,) = story.turns[3].observations[0].sights
    region = sight.picture.view.region
    assert (sight.kind, sight.parent) == ("region", None)
    assert sight.outline is not None
    assert sight.mark is not None
    assert sight.mark.width == pytest.approx(100 * region.width / sight.outline.width, abs=0.01)


def _blocks(line: dict[str, Any]) -> list[dict[str, Any]]:
    content = line.get("content")
    return content if isinstance(content, list) else []
