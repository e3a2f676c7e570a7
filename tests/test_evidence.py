"""Evidence: the cited place, narrowed by a real reader, in source pixels."""

import pytest
from PIL import Image, ImageDraw, ImageFont

from r4agent import MediaStore, Reader
from r4agent.evidence import check_cites, gather
from r4agent.geometry import QWEN2_5_VL, Box, Size
from r4agent.media.view import Picture, View
from r4agent.protocol import Answer, Cite

FRAME = Size(1120, 560)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MediaStore:
    return MediaStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def pictures(store: MediaStore) -> dict[str, Picture]:
    """Two frames of 1120x560, each shown at half size: `Total 48.20` at (400, 200), then another text."""
    made = {}
    for number, text in enumerate(["Total 48.20", "Thank you"], start=1):
        frame = Image.new("RGB", (1120, 560), "white")
        ImageDraw.Draw(frame).text((400, 200), text, "black", ImageFont.load_default(size=48))
        view = View(number * 10, number / 2, FRAME.box, Size(560, 280))
        made[f"v{number}"] = Picture(f"v{number}", view, store.put(view.cut(frame)))
    return made


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


def test_a_cited_answer_is_found_and_boxed_in_source_pixels(
    pictures: dict[str, Picture], store: MediaStore, reader: Reader
) -> None:
    answer = Answer("48.20", (Cite("v1"),))
    [place], supported = gather(answer, pictures, profile=QWEN2_5_VL, store=store, reader=reader)
    assert supported == "yes"
    assert (place.time, place.page, place.view, place.image) == (0.5, None, "v1", pictures["v1"].ref)
    assert "48.20" in place.text
    assert place.box == pytest.approx((400, 210, 670, 250), abs=24)


def test_a_cite_elsewhere_is_not_support(
    pictures: dict[str, Picture], store: MediaStore, reader: Reader
) -> None:
    for cite in (Cite("v2"), Cite("v1", (0, 0, 100, 50))):
        [place], supported = gather(
            Answer("48.20", (cite,)), pictures, profile=QWEN2_5_VL, store=store, reader=reader
        )
        assert supported == "no"
        assert "48.20" not in place.text


def test_another_digit_is_another_number(
    pictures: dict[str, Picture], store: MediaStore, reader: Reader
) -> None:
    """`Total 48.20` is nine tenths of `Total 48.21`, and no support for it."""
    answer = Answer("Total 48.21", (Cite("v1"),))
    assert gather(answer, pictures, profile=QWEN2_5_VL, store=store, reader=reader)[1] == "no"


def test_an_answer_that_cites_nothing_is_looked_for(
    pictures: dict[str, Picture], store: MediaStore, reader: Reader
) -> None:
    [place], supported = gather(Answer("48.20"), pictures, profile=QWEN2_5_VL, store=store, reader=reader)
    assert (supported, place.view) == ("yes", "v1")
    assert gather(Answer("7"), pictures, profile=QWEN2_5_VL, store=store, reader=reader) == ([], "no")


def test_without_a_reader_nothing_is_claimed(pictures: dict[str, Picture], store: MediaStore) -> None:
    answer = Answer("48.20", (Cite("v1", (200, 100, 340, 130)),))
    [place], supported = gather(answer, pictures, profile=QWEN2_5_VL, store=store, reader=None)
    assert (supported, place.text, place.box) == ("unchecked", "", (400, 200, 680, 260))
    assert gather(Answer("x"), pictures, profile=QWEN2_5_VL, store=store, reader=None) == ([], "unchecked")


def test_pages_are_counted_from_one(store: MediaStore) -> None:
    page = Picture(
        "v1", View(4, None, Box(0, 0, 100, 100), Size(56, 56)), store.put(Image.new("RGB", (56, 56)))
    )
    [place], _ = gather(
        Answer("x", (Cite("v1"),)), {"v1": page}, profile=QWEN2_5_VL, store=store, reader=None
    )
    assert (place.time, place.page) == (None, 5)


@pytest.mark.parametrize(
    ("cite", "told"),
    [
        (Cite("v9"), "names 'v9'; the pictures are v1, v2"),
        (Cite("v1", (9, 9, 1, 1)), "x0 < x1"),
        (Cite("v1", (9000, 0, 9001, 5)), "outside v1"),
        (Cite("v1", (0, 0, float("inf"), 5)), "finite"),
    ],
)
def test_a_bad_cite_is_told(cite: Cite, told: str, pictures: dict[str, Picture]) -> None:
    problem = check_cites(Answer("x", (cite,)), pictures, QWEN2_5_VL)
    assert problem is not None
    assert told in problem
    assert check_cites(Answer("x", (Cite("v1", (0, 0, 5, 5)),)), pictures, QWEN2_5_VL) is None
