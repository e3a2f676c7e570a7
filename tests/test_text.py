import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4agent.geometry import Box
from r4agent.text import Line, Match, contains, in_reading_order, normalise

any_text = st.text(st.characters(), max_size=40)  # every code point, lone surrogates too


def line(text: str, x: float = 0, y: float = 0, width: float = 100, height: float = 10) -> Line:
    return Line(text, Box(x, y, x + width, y + height, "shown"), 0.9)


@st.composite
def pages(draw: st.DrawFn) -> list[Line]:
    where = st.floats(0, 500)
    side = st.floats(1, 200)
    made = st.builds(line, any_text, where, where, side, side)
    return draw(st.lists(made, max_size=6))


@pytest.mark.parametrize(
    ("given_text", "normal"),
    [
        ("  Hello,\tWorld!\n", "hello, world"),
        ("“Quoted”", "quoted"),
        ("it’s", "it's"),
        ("a \u2013 b \u2014 c \u2212 5", "a - b - c - 5"),
        ("Straße", "strasse"),
        ("\uff11\uff12\uff41", "12a"),
        ("-5", "-5"),
        ("$12", "$12"),
        ("100%.", "100%"),
        (".gitignore", ".gitignore"),
        ("(foo)", "foo"),
        ("main()", "main"),
        ("C++", "c++"),
        ("...", ""),
        ("", ""),
    ],
)
def test_normalise(given_text: str, normal: str) -> None:
    assert normalise(given_text) == normal


@given(any_text)
def test_normalise_raises_on_nothing_and_is_single_spaced(text: str) -> None:
    normal = normalise(text)
    assert normal == normal.strip()
    assert "  " not in normal
    assert normalise(f"  “{text}”  ") == normalise(f'"{text}"')


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("page 12 of 40", "12"),
        ("Parser Error: syntax error at end of input", "syntax error at end of input"),
        ("Parser Error: syntax error", "parser error: Syntax Error."),
        ("git checkout -b Feature/X", "feature/x"),
        ("total: $12.50", "$12.50"),
        ("文件中的文字很小", "文字"),
        ("main.py:12", "12"),
        ("use C++ here", "C++"),
        ("at 12:30, lunch", "12:30"),
        ("the “Default Mode”", "default mode"),
    ],
)
def test_an_answer_that_stands_there_scores_one(text: str, answer: str) -> None:
    lines = (line("something else", y=0), line(text, y=50), line("other", y=100))
    assert contains(lines, answer) == Match(1.0, (lines[1],))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("1234", "12"),
        ("12.5", "12"),
        ("12:30", "12"),
        ("v12", "12"),
        ("category", "cat"),
        ("art of the deal", "the dea"),
        ("nothing of it", "zebra"),
        ("", "zebra"),
    ],
)
def test_a_part_of_a_word_or_number_is_not_the_answer(text: str, answer: str) -> None:
    assert contains([line(text)], answer).score < 1


def test_near_misses_score_by_edit_distance() -> None:
    assert contains([line("see 0bject here")], "object").score == pytest.approx(5 / 6)
    assert contains([line("a syntaxerror here")], "syntax error").score == pytest.approx(11 / 12)
    assert contains([line("a syn tax here")], "syntax").score == pytest.approx(6 / 7)
    assert contains([line("zebra")], "okapi").score < 0.5


def test_an_answer_with_nothing_to_find_scores_zero() -> None:
    for answer in ("", "  ", "...", "()"):
        assert contains([line("...")], answer) == Match(0.0)
    assert contains([], "zebra") == Match(0.0)
    assert Match(0.0).box is None


def test_an_answer_may_run_on_in_the_row_or_in_the_column() -> None:
    row = [line("GROUP BY", 0, 0, 80), line("THRESHOLD", 90, 1, 90), line("LIMIT 5", 190, 0, 60)]
    assert contains(row, "group by threshold") == Match(1.0, tuple(row[:2]))
    assert contains(row, "by threshold limit") == Match(1.0, tuple(row))
    column = [line("the answer is long", 0, 0), line("and goes on below", 2, 12), line("to the end", 0, 24)]
    found = contains(column, "is long and goes on below to the end")
    assert found == Match(1.0, tuple(column))
    assert found.box == Box(0, 0, 102, 34, "shown")
    assert contains(column, "below to").lines == tuple(column[1:])


def test_lines_far_apart_are_not_joined() -> None:
    for apart in (
        [line("GROUP BY", 0, 0, 80), line("THRESHOLD", 400, 0)],
        [line("GROUP"), line("BY", 0, 60)],
    ):
        assert contains(apart, "group by threshold").score < 1
        assert contains(apart, "group by").lines == (apart[0],)


def test_the_first_of_equal_places_wins_and_a_single_line_before_two() -> None:
    lines = [line("on", y=0), line("call", y=12), line("on call", y=100), line("on call", y=200)]
    assert contains(lines, "on call").lines == (lines[2],)


@given(pages(), any_text)
def test_contains_raises_on_no_text(lines: list[Line], answer: str) -> None:
    found = contains(lines, answer)
    assert 0 <= found.score <= 1
    assert bool(found.lines) == (found.score > 0)
    assert all(one in lines for one in found.lines)


@given(pages())
def test_each_line_contains_itself(lines: list[Line]) -> None:
    for one in lines:
        found = contains(lines, one.text)
        assert found.score in (0.0, 1.0)
        assert found.score == 1.0 or not any(c.isalnum() for c in normalise(one.text))


def test_reading_order_is_by_rows() -> None:
    rows = [
        [line("File", 0, 0, 30), line("Edit", 40, 2, 30), line("View", 80, -1, 30)],
        [line("Heading", 0, 20, 80, 24), line("v1", 100, 26)],
        [line("left", 0, 50), line("right", 120, 53)],
        [line("last", 0, 62)],
    ]
    flat = [one for row in rows for one in row]
    for order in itertools.islice(itertools.permutations(flat), 0, None, 997):
        assert in_reading_order(order) == tuple(flat)


def test_a_tall_label_does_not_swallow_the_rows_beside_it() -> None:
    label = line("axis", 0, 0, 10, 100)
    ticks = [line(str(at), 20, 12 * at) for at in range(8)]
    ordered = in_reading_order([label, *ticks])
    assert [one for one in ordered if one is not label] == ticks


@given(pages())
def test_reading_order_keeps_every_line(lines: list[Line]) -> None:
    ordered = in_reading_order(lines)
    assert sorted(map(id, ordered)) == sorted(map(id, lines))
    assert in_reading_order(ordered) == ordered
