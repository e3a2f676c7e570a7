"""The page of an episode, as HTML: what it holds, and what it can't be made to do."""

import base64
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from r4agent import MediaStore
from r4agent.command import main
from r4agent.errors import RunError
from r4agent.page import episode_page, write_episode_page
from r4agent.page.album import ALLOWANCE, Album
from r4agent.page.reading import read_episode
from r4agent.page.render import write
from r4agent.page.story import tell

from .conftest import HOSTILE, Tree, lines_of, long_episode, written

OUTSIDE = re.compile(
    r"""(?:src|href|action|data|url\()\s*=?\s*["'(]?\s*(?:https?:|//|file:|javascript:)""", re.I
)


@pytest.fixture(scope="module")
def page(episode: Path) -> str:
    return episode_page(episode)


def test_question_answer_and_evidence_come_before_the_turns(page: str) -> None:
    text = Tree(page).text
    told = [text.index(word) for word in ("What is it?", "42", "Evidence", "Where it looked", "What it did")]
    assert told == sorted(told)


def test_every_picture_is_shown_and_described(page: str, episode: Path) -> None:
    tree = Tree(page)
    seen = {s.picture.ref for s in _sights(episode)}
    images = tree.all("img")
    assert len(images) == len(seen) + 1  # each once, and the close-up of the evidence
    assert all(image["src"].startswith("data:image/webp;base64,") for image in images)
    assert all(image["alt"] and image["width"] and image["height"] for image in images)
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in tree.all("svg"))


def _sights(episode: Path) -> list[Any]:
    story = tell(*read_episode(episode))
    return [s for o in (*story.opening, *(o for t in story.turns for o in t.observations)) for s in o.sights]


def test_fragments_lead_somewhere(page: str) -> None:
    tree = Tree(page)
    ids = [a["id"] for _, a in tree.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"] for a in tree.all("a")} <= {f"#{name}" for name in ids}


def test_the_page_may_load_nothing_and_run_only_its_own_script(page: str) -> None:
    tree = Tree(page)
    policy = next(a["content"] for a in tree.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    assert not OUTSIDE.search(page)
    assert not [a for _, a in tree.tags if "style" in a]
    assert not [name for _, a in tree.tags for name in a if name.startswith("on")]


def test_hostile_text_is_text(hostile: Path) -> None:
    page = episode_page(hostile)
    tree = Tree(page)
    assert len(tree.all("script")) == 1
    assert "window.hit" not in re.findall(r"<script>(.*?)</script>", page, re.S)[0]
    assert not [image for image in tree.all("img") if not image["src"].startswith("data:")]
    assert page.count("{{ 7 * 7 }}") >= 5
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2069\u200e\u200b\u2060") & set(page)
    visible = HOSTILE.split("\u202e")[0].strip()
    for place in ("h1", "answer", "thought", "close", "error"):
        assert visible in tree.text, place
    assert not [a for _, a in tree.tags for name in a if name.startswith("on")]


def test_missing_pictures_show_their_recipe(episode: Path, tmp_path: Path) -> None:
    tree = Tree(episode_page(episode, store=MediaStore(tmp_path / "empty")))
    assert tree.all("img") == []
    assert tree.text.count("not in the store") >= 11
    for sight in _sights(episode):
        assert sight.picture.view.recipe in tree.text


def test_a_damaged_picture_is_as_one_that_is_missing(episode: Path, tmp_path: Path) -> None:
    ref = _sights(episode)[0].picture.ref
    store = MediaStore(tmp_path / "pictures")
    store.path(ref).parent.mkdir(parents=True)
    store.path(ref).write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert "not in the store" in Tree(episode_page(episode, store=store)).text


def test_references_that_are_none_are_missing_pictures(episode: Path, tmp_path: Path) -> None:
    text = re.sub(r"img:[0-9a-f]{64}", "../../../etc/passwd", episode.read_text())
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    assert Tree(episode_page(path)).all("img") == []


def test_the_same_picture_is_embedded_once(episode: Path, tmp_path: Path) -> None:
    lines = lines_of(episode)
    ref = next(b["file_id"] for b in lines[2]["content"] if b["type"] == "image")
    text = re.sub(r"img:[0-9a-f]{64}", ref, json.dumps(lines))
    page = episode_page(written(tmp_path / "same.jsonl", json.loads(text)))
    uris = re.findall(r"data:image/webp;base64,[A-Za-z0-9+/=]+", page)
    assert len(uris) == len(set(uris))
    assert page.count("seen before") >= 10


def test_many_pictures_are_made_smaller_but_not_the_evidence(tmp_path: Path) -> None:
    path = long_episode(tmp_path, turns=2, a_turn=5)
    pictures = tell(*read_episode(path)).pictures
    store = MediaStore(tmp_path / "pictures")
    album = Album(store, pictures * 1, sharp=[pictures[0].ref])
    assert album.shrunk == 100
    album._scale = 0.5
    first, second = album.shot(pictures[0].ref), album.shot(pictures[1].ref)
    assert first is not None
    assert second is not None
    assert (first.width, second.width) == (840, 420)
    assert ALLOWANCE / (840 * 476) > 250  # so many are shown as the policy saw them


def test_what_an_evaluation_says_is_shown(episode: Path) -> None:
    from r4agent.page import Judged

    text = Tree(episode_page(episode, judged=Judged("wrong", "Wrong.", ("43", "forty-three")))).text
    assert "Wrong." in text
    assert "forty-three" in text


def test_a_page_that_is_up_to_date_is_left_alone(episode: Path, tmp_path: Path) -> None:
    log = tmp_path / "e.jsonl"
    log.write_bytes(episode.read_bytes())
    out = write_episode_page(log, tmp_path / "pages" / "e.html")
    made = out.stat().st_mtime_ns
    assert write_episode_page(log, out).stat().st_mtime_ns == made
    with log.open("a") as file:
        file.write("torn")
    assert write_episode_page(log, out).stat().st_mtime_ns > made
    assert "cut off" in Tree(out.read_text()).text


def test_a_page_that_cannot_be_written_is_said_in_one_line(episode: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="--out"):
        write_episode_page(episode, tmp_path / "file" / "e.html")


def test_a_page_never_takes_the_place_of_a_device_or_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="not a plain file"):
        write(tmp_path / "pipe", "page")
    assert (tmp_path / "pipe").is_fifo()


def test_view_takes_a_path_or_an_id(
    episode: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("R4_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "episodes").mkdir()
    (tmp_path / "episodes" / f"{episode.stem}.jsonl").write_bytes(episode.read_bytes())
    assert main(["view", episode.stem]) == 0
    assert capsys.readouterr().out == f"{episode.stem}.html\n"
    assert main(["view", str(episode), "--out", "here.html"]) == 0
    assert Path("here.html").exists()
    os.mkfifo(tmp_path / "pipe")
    for wrong in (
        "nothing",
        str(tmp_path / "here.html"),
        str(tmp_path / "pictures"),
        str(tmp_path / "pipe"),
        300 * "a",
    ):
        capsys.readouterr()
        assert main(["view", wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_ask_draws_what_it_saw_and_still_answers_when_it_can_not(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("R4_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "drawing_policy.py").write_text(
        "from r4agent import ScriptedPolicy\n"
        'sees = ScriptedPolicy(replies=[\'<evidence>{"view": "v1"}</evidence><answer>42</answer>\'])\n'
        "blind = ScriptedPolicy(replies=['<not_found>no</not_found>'])\n"
    )
    page, gif = tmp_path / "a.html", tmp_path / "a.gif"
    drawn = ["--json", "--page", str(page), "--gif", str(gif)]
    assert main(["ask", str(clip), "q?", "--policy", "drawing_policy:sees", *drawn]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["answer"] == "42"
    assert err.splitlines() == [f"page: {page}", f"gif: {gif}"]
    assert gif.read_bytes().startswith(b"GIF89a")
    assert main(["ask", str(clip), "q?", "--policy", "drawing_policy:blind", *drawn]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["status"] == "refused"
    assert "no evidence" in err
