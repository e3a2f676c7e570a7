"""`roots=`: media that a run may open."""

from pathlib import Path
from typing import Any

import pytest

from r4agent import Episode, MediaError, Roots, create_single_pass_graph

from .conftest import EVERY_NODE
from .test_rumination import FIRST


def test_media_in_a_root_by_its_name(graph_of: Any, clip: Path) -> None:
    result = graph_of(EVERY_NODE, roots=[clip.parent]).invoke({"media": clip.name, "question": "?"})
    assert result["answer"] == "42"
    assert Episode.read(result["episode"]).header["media"]["path"] == str(clip)
    once = graph_of([FIRST], create_single_pass_graph, roots=Roots(clip.parent))
    assert once.invoke({"media": str(clip), "question": "?"})["answer"] == "42"


def test_media_elsewhere_is_refused_before_it_is_touched(graph_of: Any, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link.mp4").symlink_to(clip)
    graph = graph_of(EVERY_NODE, roots=str(tmp_path / "root"))
    for name in (str(clip), "link.mp4", "../signs.mp4", f"file://{clip}"):
        with pytest.raises(MediaError, match=r".*/root"):
            graph.invoke({"media": name, "question": "?"})
    assert not (tmp_path / "episodes").exists()


def test_without_roots_the_developer_names_any(graph_of: Any, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(clip)
    result = graph_of(EVERY_NODE).invoke({"media": str(tmp_path / "link.mp4"), "question": "?"})
    assert result["answer"] == "42"
