from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r4agent.errors import MediaError
from r4agent.geometry import Box
from r4agent.item import Item, Span, read_items, write_items

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
number = st.floats(0, 1e5, allow_nan=False)
extent = st.floats(0.01, 1e5, allow_nan=False)
boxes = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), number, number, extent, extent)
spans = st.builds(
    lambda start, length, box, unit: Span(start=start, end=start + length, box=box, unit=unit),
    number,
    number,
    st.none() | boxes,
    st.sampled_from(["seconds", "page"]),
)
items = st.builds(
    Item,
    id=text,
    media=text,
    question=text,
    answers=st.lists(text, max_size=3).map(tuple),
    choices=st.lists(text, max_size=3).map(tuple),
    evidence=st.lists(spans, max_size=2).map(tuple),
    meta=st.dictionaries(text, text | st.integers(-(2**53), 2**53) | st.booleans() | st.none(), max_size=3),
)


@given(st.lists(items, max_size=4))
def test_items_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, rows: list[Item]) -> None:
    path = tmp_path_factory.mktemp("items") / "rows.jsonl"
    assert write_items(path, rows) == len(rows)
    assert list(read_items(path)) == rows


def test_one_item_is_one_line_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_items(path, [Item(id="1", media="a.mp4", question="two\nlines\u2028?")])
    assert path.read_text(encoding="utf-8").count("\n") == 1
    path.write_text("\n  \n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert [item.id for item in read_items(path)] == ["1"]


GOOD = '{"id": "1", "media": "a.mp4", "question": "?"}\n'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "2", "media": "a.mp4"}', "question: Field required"),
        ('{"id": "2", "media": "a.mp4", "question": "?", "answer": "x"}', "answer: Extra inputs"),
        (
            '{"id": "2", "media": "a.mp4", "question": "?", "evidence": [{"start": 1}]}',
            "evidence.0.end: Field",
        ),
        (
            '{"id": "2", "media": "a", "question": "?", "evidence": [{"start": 1, "end": 2, "unit": "s"}]}',
            "evidence.0.unit: Input should be 'seconds' or 'page'",
        ),
        ('{"id": "2", "media": ', "the line: Invalid JSON"),
        ("[]", "the line: "),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(GOOD + "\n" + line + "\n" + GOOD, encoding="utf-8")
    rows = read_items(path)
    assert next(rows).id == "1"
    with pytest.raises(MediaError) as caught:
        next(rows)
    message = str(caught.value)
    assert message.startswith(f"{path}:3: not an Item: ")
    assert says in message
    assert "\n" not in message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"none\.jsonl: can't be read .*No such file"):
        list(read_items(tmp_path / "none.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "\xe9"}')
    with pytest.raises(MediaError, match=r"latin\.jsonl: can't be read .*utf-8"):
        list(read_items(tmp_path / "latin.jsonl"))


def test_an_item_does_not_change() -> None:
    item = Item(id="1", media="a.mp4", question="?")
    with pytest.raises(ValidationError, match="frozen"):
        item.id = "2"


def test_a_spans_box_is_in_source_pixels() -> None:
    assert Span(start=0, end=1, box=(1, 2, 3, 4)).source_box == Box(1, 2, 3, 4, "source")
    assert Span(start=0, end=1).source_box is None
