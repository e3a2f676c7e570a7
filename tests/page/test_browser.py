"""Pages in headless Chromium, opened from disk: they look, read and behave as they should.

`opened` also fails a test when a page writes to its console, raises, or asks the network for anything.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from r4agent.evaluation.results import Results, Row, write_row
from r4agent.log import Log
from r4agent.page import episode_page, write_episode_page, write_results_page
from r4agent.page.index import Listed, index_page
from r4agent.page.render import write

from .conftest import HOSTILE, lines_of, long_episode, worked, written

Open = Callable[..., Any]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WIDTHS = "[document.documentElement.scrollWidth, innerWidth]"
LOADED = "image => image.decode().then(() => image.naturalWidth)"


@pytest.fixture(scope="module")
def page_file(episode: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_episode_page(episode, tmp_path_factory.mktemp("page") / "a b ü #1.html")


@pytest.fixture(scope="module")
def results_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    runs = []
    for control in (None, "blank-crop"):
        log = Log(folder / f"{control}.jsonl")
        config = {"policy": "ocr", "graph": "rumination", "control": control}
        questions = {"name": "text world, level 2", "n": 12, "seed": 1}
        header = {"questions": questions, "config": config, "prompt": HOSTILE, "versions": {}, "machine": "m"}
        log.once("results", {"type": "results", "schema": 1, **header})
        for n in range(12):
            score = float(n % 3 > 0)
            row = Row(
                id=f"q{n}", media="m", question=HOSTILE, answers=("x" * 200,), category=f"kind {n % 4}",
                status="answered", answer="long_word_" * 30, scores={"exact_match": score, "anls": score},
                cost=dict.fromkeys(("image_tokens", "turns", "megapixels", "decoded_frames", "seconds"), n),
            )  # fmt: skip
            write_row(log, row)
        runs.append(Results.read(log.path))
    return write_results_page(runs, folder / "page")


@pytest.fixture(scope="module")
def index_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 2,000 episodes."""
    rows = [
        Listed(
            href=f"pages/{n}.html", question=f"What does sign {n} say? {HOSTILE if n == 5 else ''}",
            answer=f"CODE{n}" if n % 7 else None, media="m.mp4", how="r4-ocr",
            status="answered" if n % 7 else "refused", judged=("right", "wrong", "")[n % 3], supported="yes",
            tools=("zoom",) if n % 2 else (), turns=3,
            pictures=9, seconds=1.5, created=datetime.fromtimestamp(1.8e9 + n),
        )
        for n in range(2000)
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("index")
    return write(folder / "index.html", index_page(folder, rows, [], [HOSTILE]))


def test_every_picture_and_the_crop_of_the_evidence_are_shown(page_file: Path, opened: Open) -> None:
    with opened(page_file) as page:
        images = page.locator("img").all()
        assert len(images) == 12
        for image in images:
            image.scroll_into_view_if_needed()
            assert image.evaluate(LOADED) > 0
        crop = page.locator("#evidence .close img")
        box, picture = page.locator("#evidence .close .box").bounding_box(), crop.bounding_box()
        assert picture["width"] > 200
        assert picture["x"] - 4 <= box["x"] <= box["x"] + box["width"] <= picture["x"] + picture["width"] + 4


def test_a_region_is_boxed_on_its_parent(page_file: Path, opened: Open) -> None:
    with opened(page_file) as page:
        thumb = page.locator(".sight.region .from svg")
        thumb.scroll_into_view_if_needed()
        background = thumb.evaluate("svg => getComputedStyle(svg).backgroundImage")
        assert background.startswith('url("data:image/webp')
        outer, box = thumb.bounding_box(), thumb.locator(".box").bounding_box()
        assert 0 < box["width"] < outer["width"]
        assert outer["width"] / outer["height"] == pytest.approx(840 / 476, rel=0.2)


def test_hostile_text_is_read_as_text(hostile: Path, opened: Open, tmp_path: Path) -> None:
    with opened(write_episode_page(hostile, tmp_path / "h.html")) as page:
        assert page.evaluate("window.hit") is None
        for place in ("h1", "#answer", ".thought >> nth=0", "#evidence q", ".about b"):
            said = page.locator(place).inner_text()
            assert "<script>window.hit = 1<" in said
            assert "{{ 7 * 7 }}" in said
            assert "U+202E" in said
        assert "</tool_call>" in page.locator("h1").inner_text()
        assert page.evaluate("document.images.length") > 0
        assert page.evaluate("[...document.images].every(i => i.src.startsWith('data:image/webp'))")


def test_right_to_left_text_keeps_its_place(episode: Path, opened: Open, tmp_path: Path) -> None:
    """What comes after a piece of Hebrew or Arabic stands to its right, where it was put."""
    lines = lines_of(episode)
    lines[-1]["evidence"][0]["text"] = "שלום 12 \u202eevil"
    path = write_episode_page(written(tmp_path / "e.jsonl", lines), tmp_path / "e.html")
    with opened(path) as page:
        quote = page.locator("#evidence q").bounding_box()
        when = page.locator("#evidence .when").bounding_box()
        assert when["x"] < quote["x"]


@pytest.mark.parametrize("name", ["page_file", "results_file", "index_file"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_scrolls_sideways(
    name: str, width: int, opened: Open, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(name)
    with opened(path, **(PHONE | {"viewport": {"width": width, "height": 844}})) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        wide, window = page.evaluate(WIDTHS)
        assert wide <= window == width


def test_hostile_text_does_not_widen_a_phone(hostile: Path, opened: Open, tmp_path: Path) -> None:
    with opened(write_episode_page(hostile, tmp_path / "h.html"), **PHONE) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        wide, window = page.evaluate(WIDTHS)
        assert wide <= window


@pytest.mark.parametrize("name", ["page_file", "results_file", "index_file"])
def test_the_dark_has_colours_of_its_own_and_contrast(
    name: str, opened: Open, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(name)
    seen = []
    for scheme in ("light", "dark"):
        with opened(path, color_scheme=scheme) as page:
            colours = [
                page.evaluate(f"getComputedStyle(document.body).{c}") for c in ("backgroundColor", "color")
            ]
            quiet = page.evaluate("getComputedStyle(document.querySelector('.about')).color")
            seen.append(colours)
            assert contrast(*colours) > 7
            assert contrast(colours[0], quiet) > 4.5
    assert seen[0] != seen[1]
    assert luminance(seen[0][0]) > 0.8 > 0.1 > luminance(seen[1][0])


def luminance(colour: str) -> float:
    values = [int(v) / 255 for v in colour[4:-1].split(",")[:3]]
    red, green, blue = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_keys_go_through_turns_and_enlarge_pictures(page_file: Path, opened: Open) -> None:
    focused = "document.activeElement.id"
    with opened(page_file) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.locator(".skip").bounding_box()["width"] > 50
        for key, turn in (("j", "opening"), ("j", "turn-1"), ("j", "turn-2"), ("k", "turn-1")):
            page.keyboard.press(key)
            assert page.evaluate(focused) == turn
        page.keyboard.press("Enter")
        dialog = page.locator("dialog")
        dialog.wait_for(state="visible")
        assert "v9" in dialog.inner_text()
        page.keyboard.press("ArrowRight")
        assert "v10" in dialog.inner_text()
        picture = dialog.locator("svg image").bounding_box()
        assert picture["width"] > 800
        page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")
        # The picture that was left. The close event comes a moment after the dialog has gone.
        page.locator(".open:focus").wait_for()


def test_a_click_on_the_evidence_enlarges_it_with_its_box(page_file: Path, opened: Open) -> None:
    with opened(page_file, **PHONE) as page:
        page.locator("#evidence .close a").tap()
        dialog = page.locator("dialog")
        assert dialog.locator("rect.box").count() == 1
        dialog.locator("button").tap()
        assert dialog.is_hidden()


def test_without_javascript_all_is_there_to_read(
    page_file: Path, index_file: Path, opened: Open, episode: Path
) -> None:
    with opened(page_file, java_script_enabled=False) as page:
        assert page.locator("#evidence .close img").is_visible()
        assert page.locator(".turn").count() == 6
        page.locator(".lane.evidence a").click()
    with opened(index_file, java_script_enabled=False) as page:
        assert page.locator("tbody tr").count() == 2000
        assert page.locator("#filters").is_hidden()


def test_every_part_has_a_name(page_file: Path, opened: Open) -> None:
    with opened(page_file) as page:
        assert page.locator("main, [role=main]").count() == 1
        for svg in page.locator("svg:not([aria-hidden])").all():
            assert svg.get_attribute("aria-label")
        for link in page.locator("a").all():
            name = link.evaluate(
                "a => a.textContent.trim() || a.querySelector('img')?.alt"
                " || a.querySelector('[aria-label]')?.getAttribute('aria-label')"
            )
            assert name


def test_filters_of_the_index(index_file: Path, opened: Open) -> None:
    shown = "document.querySelectorAll('tbody tr:not([hidden])').length"
    with opened(index_file) as page:
        assert page.evaluate(shown) == 2000
        assert page.evaluate("window.hit") is None
        page.keyboard.press("/")
        page.keyboard.type("code42")
        assert page.evaluate(shown) == sum(f"{n}".startswith("42") for n in range(2000) if n % 7)
        page.get_by_label("Search").fill("")
        page.get_by_label("Status").select_option("refused")
        refused = [n for n in range(2000) if n % 7 == 0]
        assert page.evaluate(shown) == len(refused)
        page.get_by_label("Verdict").select_option("wrong")
        page.get_by_label("zoom").check()
        both = [n for n in refused if n % 3 == 1 and n % 2]
        assert page.evaluate(shown) == len(both)
        assert page.locator("#count").inner_text() == f"{len(both)} of 2000"
        page.reload()  # the filters stand in the address
        assert page.evaluate(shown) == len(both)
        page.keyboard.press("j")
        page.keyboard.press("j")
        link = page.evaluate("document.activeElement.getAttribute('href')")
        assert link == f"pages/{both[1]}.html"
        page.get_by_role("button", name="Clear").click()
        page.get_by_text("2000 of 2000").wait_for()
        assert page.evaluate(shown) == 2000
        page.get_by_label("Search").fill("nothing is like this")
        assert page.locator("#none").is_visible()


def test_an_index_of_two_thousand_is_quick(index_file: Path, opened: Open) -> None:
    with opened(index_file) as page:
        loaded = worked(page)
        page.evaluate(
            "() => { const q = document.querySelector('[name=q]'); q.value = 'code7';"
            " q.dispatchEvent(new Event('input', {bubbles: true}));"
            " document.body.offsetHeight; }"
        )
        filtered = worked(page) - loaded
        size = index_file.stat().st_size
        print(f"index of 2,000: {size / 1e6:.1f} MB, opened in {loaded:.1f} s, filtered in {filtered:.2f} s")
        assert loaded < 8
        assert filtered < 1


@pytest.mark.slow
def test_an_episode_of_a_thousand_views_opens_quickly(tmp_path: Path, opened: Open) -> None:
    path = long_episode(tmp_path, turns=125, a_turn=8)
    page_file = write(tmp_path / "long.html", episode_page(path))
    size = page_file.stat().st_size
    with opened(page_file) as page:
        loaded = worked(page)
        assert page.locator(".sight").count() == 1000
        last = page.locator(".sight img").last
        last.scroll_into_view_if_needed()
        assert last.evaluate(LOADED) > 0
    print(f"a thousand views: {size / 1e6:.1f} MB, opened in {loaded:.1f} s")
    assert size < 60e6
    assert loaded < 8
