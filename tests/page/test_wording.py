"""Text and numbers as a page shows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4agent.page.wording import counted, moment, number, seconds, shown, visible

STEERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2060\u200b\ufeff\x1b"


@given(st.text())
def test_shown_text_holds_no_markup_and_nothing_hidden(text: str) -> None:
    out = str(shown(text))
    inside = out.removeprefix("<bdi>").removesuffix("</bdi>")
    assert not set(STEERING) & set(out)
    plain = inside.replace('<span class="hidden-char"', "").replace("</span>", "")
    assert plain.count("<") == 0


@pytest.mark.parametrize("character", STEERING)
def test_what_steers_or_hides_is_spelt_out(character: str) -> None:
    name = f"U+{ord(character):04X}"
    assert visible(f"a{character}b") == f"a[{name}]b"
    assert f">{name}</span>" in shown(f"a{character}b")


def test_other_scripts_stay_as_they_are() -> None:
    for text in ("שלום", "日本", "عربي", "naïve", "👩‍👧", "می‌خواهم", "a\tb\nc"):
        assert shown(text) == f"<bdi>{text}</bdi>"


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.423, "0.42 s"), (41.26, "41.3 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_lengths_of_time(value: float, words: str) -> None:
    assert seconds(value) == words


@pytest.mark.parametrize(
    ("time", "words"), [(8.6667, "8.67 s"), (65.3, "1:05.30"), (3725.3, "1:02:05.30"), (59.999, "60.00 s")]
)
def test_moments(time: float, words: str) -> None:
    assert moment(time) == words


def test_numbers() -> None:
    assert [number(v) for v in (12456, 0.8765432, 14850.4, "a", True)] == [
        "12,456", "0.8765", "14,850", "a", "True",
    ]  # fmt: skip
    assert (counted(1, "turn"), counted(5000, "turn")) == ("1 turn", "5,000 turns")
