"""Documents: what a page really shows agrees with the record, and the same seed gives the same file."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image, ImageChops

from r4agent.item import Item
from r4agent.media import open_source
from r4agent.reader import Reader
from r4agent.text import contains
from r4agent.textworld import Document, clip_file, make_clip
from r4agent.textworld.level1 import SCANNED
from r4agent.textworld.press import press
from r4agent.textworld.stage import holds
from r4agent.textworld.world import Corners, Ink

SEEDS = range(40)


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return [make_clip(1, seed) for seed in SEEDS]


def test_every_kind_is_there_of_one_to_two_hundred_pages(documents: list[Document]) -> None:
    pages = [document.frames for document in documents]
    assert min(pages) <= 2
    assert 100 < max(pages) <= 200
    assert sum(2 <= count <= 31 for count in pages) > 0.7 * len(pages)
    kinds = {item.meta["kind"].split()[0] for document in documents for item in document.items}
    assert kinds == {"report", "slide", "invoice", "letter", "form", "unanswerable"}
    scans = [document for document in documents if document.scan]
    assert 0 < len(scans) < len(documents) / 3
    assert max(scan.frames for scan in scans) <= SCANNED


def test_few_questions_cannot_be_answered_and_many_have_distractors(documents: list[Document]) -> None:
    items = [item for document in documents for item in document.items]
    vain = [item for item in items if item.meta.get("unanswerable")]
    assert 0.02 < len(vain) / len(items) < 0.1
    assert all(not item.answers and not item.evidence for item in vain)
    assert sum("distractors" in item.meta for item in items) > len(items) / 2


def test_one_text_on_one_page_answers_each_question(documents: list[Document]) -> None:
    for document in documents[:20]:
        assert document.items
        assert len({item.question for item in document.items}) == len(document.items)
        for item in document.items:
            assert Item.model_validate_json(item.model_dump_json()) == item
            if item.answers:
                (text,) = (text for text in document.texts if holds(text.string, item.answers[0]))
                (shown,), (span,) = text.shown, item.evidence
                assert (text.string,) == item.answers
                assert (span.unit, span.start, span.end, span.box) == ("page", *[shown.stop] * 2, shown.box)
                assert text.height >= 10
            for other in item.meta.get("distractors", []):
                assert not holds(other["text"], item.answers[0])
                assert 1 <= other["start"] <= other["end"] <= document.frames


def test_no_text_leaves_its_page_or_lies_over_another(documents: list[Document]) -> None:
    """Two pixels are let pass: neighbouring runs of one line may touch."""
    for document in documents[:20]:
        pages: dict[int, list[tuple[Corners, str]]] = {}
        for text in document.texts:
            (shown,) = text.shown
            pages.setdefault(shown.first, []).append((shown.box, text.string))
        for boxes in pages.values():
            array = np.array([box for box, _ in boxes])
            for i, (box, string) in enumerate(boxes):
                wide = np.minimum(array[:, 2], box[2]) - np.maximum(array[:, 0], box[0])
                high = np.minimum(array[:, 3], box[3]) - np.maximum(array[:, 1], box[1])
                over = np.flatnonzero((wide > 2) & (high > 2))
                assert over.tolist() == [i], (string, [boxes[j][1] for j in over])


def changed(document: Document, number: int, page: int) -> Corners | None:
    """Where page `page` is otherwise without text `number`: its ink as it is really rendered."""
    paints = [replace(paint, first=0, stop=1) for paint in document.paints if paint.first == page]
    rest = [paint for paint in paints if not (isinstance(paint, Ink) and paint.text == number)]
    whole, bare = (
        replace(document, paints=tuple(some), frames=1, scan=None, _file=[]).render(0)
        for some in (paints, rest)
    )
    difference = ImageChops.difference(whole, bare).convert("L")
    return difference.point(lambda value: 255 * (value > 32)).getbbox()


def check_boxes(document: Document, count: int) -> None:
    for number in range(0, len(document.texts), max(1, len(document.texts) // count)):
        text = document.texts[number]
        (shown,) = text.shown
        seen = changed(document, number, shown.first)
        assert seen is not None, text.string
        assert np.abs(np.subtract(seen, shown.box)).max() <= 2, (text.string, seen, shown.box)


def test_boxes_are_the_ink_that_is_rendered(documents: list[Document]) -> None:
    for document in [d for d in documents if d.frames <= 12][:8]:
        check_boxes(document, 4)


def test_a_file_says_what_the_record_says(documents: list[Document]) -> None:
    """What PDFium reads out of the file, page by page, holds every text of the page."""
    for document in [document for document in documents if not document.scan][:12]:
        file = pypdfium2.PdfDocument(document.file)
        pages = [" ".join(page.get_textpage().get_text_bounded().split()) for page in file]
        for text in document.texts:
            for shown in text.shown:
                assert " ".join(text.string.split()) in pages[shown.first]


def test_text_that_a_file_would_not_show_is_refused(documents: list[Document]) -> None:
    document = next(document for document in documents if not document.scan)
    ink = next(paint for paint in document.paints if isinstance(paint, Ink))
    with pytest.raises(ValueError, match="ASCII"):
        press(replace(document, paints=(replace(ink, string="12 m\u00b2"),)))


def test_a_page_is_what_media_shows(documents: list[Document], tmp_path: Path) -> None:
    """Its size, its pixels and, on a scan too, dark ink inside the answer's box and paper around it."""
    scan = next(document for document in documents if document.scan and document.frames <= 4)
    for document in (documents[3], documents[8], scan):
        path, items = clip_file(1, document.seed, tmp_path)
        with open_source(path) as source:
            assert source.kind == "pdf"
            for item in [item for item in items if item.evidence][:3]:
                (span,) = item.evidence
                image = source.frame(int(span.start) - 1).image
                assert image.size == (document.size.width, document.size.height)
                assert image.tobytes() == document.render(int(span.start) - 1).tobytes()
                assert span.box is not None
                inside = np.asarray(image.crop(tuple(map(int, span.box))).convert("L"), int)
                assert inside.min() < np.median(inside) - 60


def test_threads_may_make_documents_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda seed: clip_file(1, seed, tmp_path)[0], [3, 8, 9, 3, 8, 9, 11, 15]))
        shown = list(pool.map(lambda seed: make_clip(1, seed).render(0).tobytes(), [11, 15, 11, 15]))
    assert made[:3] == made[3:6]
    assert sorted(tmp_path.iterdir()) == sorted(set(made))
    assert shown[:2] == shown[2:]
    for path, seed in zip(made, (3, 8, 9), strict=False):
        assert path.read_bytes() == make_clip(1, seed).file


def test_a_seed_gives_the_same_file_and_another_seed_another() -> None:
    one, again, other = make_clip(1, 33), make_clip(1, 33), make_clip(1, 34)
    assert one == again
    assert press(one) == press(again) != press(other)
    assert one.render(0).tobytes() == again.render(0).tobytes()
    with pytest.raises(IndexError, match=r"page 2: .* has pages 0 to 1"):
        one.render(one.frames)


@pytest.mark.slow
def test_fifty_documents_open_and_their_answers_are_where_they_should_be(tmp_path: Path) -> None:
    for seed in range(50):
        document = make_clip(1, seed)
        path, items = clip_file(1, seed, tmp_path)
        with open_source(path) as source:
            assert source.count == document.frames
            assert {source.size_of(index) for index in range(source.count)} == {document.size}
            assert source.frame(source.count - 1).image.getextrema() != ((255, 255),) * 3
        assert items
        check_boxes(document, 1)


@pytest.mark.slow
def test_a_reader_finds_the_answers(documents: list[Document], tmp_path: Path) -> None:
    reader, found = Reader(), []
    for document in documents[:10]:
        path, items = clip_file(1, document.seed, tmp_path)
        item = next(item for item in items if item.evidence)
        (span,) = item.evidence
        assert span.box is not None
        with open_source(path) as source:
            image: Image.Image = source.frame(int(span.start) - 1).image
        high = span.box[3] - span.box[1]
        x0, y0, x1, y1 = (round(v + d * high) for v, d in zip(span.box, (-3, -1, 3, 1), strict=True))
        found.append(contains(reader.read(image.crop((x0, y0, x1, y1))), item.answers[0]).score == 1)
    assert sum(found) >= 9
