import pytest
from hypothesis import given
from hypothesis import strategies as st

from r4agent.episode import Status
from r4agent.errors import UsageError
from r4agent.evaluation.answers import anls, choice, exact_match, f1, score_answer, vqa_form
from r4agent.item import Item

METRICS = (exact_match, anls, f1)
TEXT = st.text(st.sampled_from("abA 01.,'s-$?the") | st.characters(), max_size=12)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("The  Cat", "cat"),
        ("two cats at the door in an hour", "2 cats door hour"),
        ("None", "0"),
        ("1,000", "1000"),  # commas go at once …
        ("1,000-2", "1000 2"),  # … so the rule for commas in numbers never deletes the dash
        ("a-b", "b"),  # "a" is an article once the dash is a space
        ("x-y", "x y"),
        ("x-y - z", "xy z"),  # one dash that touches a space deletes them all
        ("$5", "5"),
        ("10:30", "10 30"),
        ("v1.2.", "v1.2"),
        ("3.a", "3a"),  # the mistyped look-behind
        ("." * 40, "." * 8),  # the flag passed as the count: re.UNICODE is 32
        ("whats", "what's"),
        ("what's", "what 's"),  # the two never meet
        ("somebody'd", "somebodyd"),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("one\ntwo\tthree", "1 2 3"),
        ("Ø", ""),
        ("the?", ""),
    ],
)
def test_the_form_that_exact_match_compares(text: str, form: str) -> None:
    assert vqa_form(text) == form


def test_exact_match() -> None:
    assert exact_match("The Two cats.", ["dogs", "2 cats"]) == 1
    assert exact_match("3 cats", ["dogs", "2 cats"]) == 0
    assert exact_match("in", ["A"]) == 1  # upstream's: nothing equals nothing
    assert exact_match("what's up", ["whats up"]) == 0  # upstream's


def test_anls_keeps_one_half_and_drops_what_is_below() -> None:
    assert anls("abcd", ["abxy"]) == 0.5
    assert anls("abc", ["axy"]) == 0
    assert anls("abc", ["abx"]) == pytest.approx(2 / 3)
    assert anls(" ABC ", ["zzz", "abc"]) == 1
    assert anls("a  b", ["a b"]) == 0.75  # a run of spaces counts
    assert anls("", [" "]) == 1
    assert anls("", ["abc"]) == 0


def test_f1_over_tokens() -> None:
    assert f1("the red car", ["red car"]) == 1
    assert f1("a big red car", ["red car"]) == pytest.approx(0.8)
    assert f1("red red car", ["red car"]) == pytest.approx(0.8)  # a word counts as often as it is wanted
    assert f1("1,000", ["1000"]) == 1
    assert f1("blue", ["red car", "blue!"]) == 1
    assert f1("the", ["a"]) == 1
    assert f1("", ["red"]) == 0


@given(TEXT)
def test_the_same_text_scores_one(text: str) -> None:
    assert all(metric(text, [text]) == 1 for metric in METRICS)


@given(TEXT, TEXT)
def test_scores_are_in_0_to_1_and_symmetric(a: str, b: str) -> None:
    for metric in METRICS:
        assert 0 <= metric(a, [b]) <= 1
        assert metric(a, [b]) == metric(b, [a])


@given(TEXT, st.lists(TEXT, min_size=1, max_size=3), TEXT)
def test_another_answer_never_lowers_the_score(text: str, answers: list[str], other: str) -> None:
    for metric in METRICS:
        assert metric(text, [*answers, other]) >= metric(text, answers)


@given(TEXT, st.lists(TEXT, min_size=1, max_size=3))
def test_case_and_outer_space_do_not_matter(text: str, answers: list[str]) -> None:
    if text.lower().strip() in [answer.lower().strip() for answer in answers]:
        assert all(metric(text, answers) == 1 for metric in METRICS)


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_to_compare_with_is_an_error(metric: object) -> None:
    with pytest.raises(UsageError, match="no accepted answers"):
        metric("x", [])  # type: ignore[operator]


COLOURS = ("Red", "Dark blue", "green", "none of them")


@pytest.mark.parametrize(
    "reply",
    ["B", "b", " B ", "(b)", "[B]", "B.", "B)", "(B).", "B:", "dark blue", "Dark Blue.", "B: dark blue"],
)
def test_ways_to_name_an_option(reply: str) -> None:
    assert choice(reply, COLOURS, ["Dark blue"]) == 1
    assert choice(reply, COLOURS, ["B"]) == 1
    assert choice(reply, COLOURS, ["green"]) == 0


def test_a_letter_with_a_reason_is_that_letter() -> None:
    assert choice("C. because the sign is green", COLOURS, ["green"]) == 1


@pytest.mark.parametrize(
    "reply", ["", "E", "blue", "B or C", "A, B", "B: green", "A green one", "the answer is B", "BB"]
)
def test_an_unreadable_reply_scores_nothing(reply: str) -> None:
    assert choice(reply, COLOURS, ["Dark blue"]) == 0
    assert choice(reply, COLOURS, ["green"]) == 0


def test_text_goes_before_letter() -> None:
    grades = ("B", "A", "C")
    assert choice("A", grades, ["A"]) == 1
    assert choice("B", grades, ["A"]) == 0
    assert choice("B: A", grades, ["A"]) == 1


def test_options_that_differ_in_case_only() -> None:
    assert choice("mb", ("MB", "mb"), ["mb"]) == 1
    assert choice("MB", ("MB", "mb"), ["mb"]) == 0
    assert choice("Mb", ("MB", "mb"), ["mb"]) == 0  # may be either


def test_options_that_carry_their_letters() -> None:
    labelled = ("A. Red", "B. Dark blue", "C. Green")
    assert choice("dark blue", labelled, ["B"]) == 1
    assert choice("B. Dark blue", labelled, ["B. Dark blue"]) == 1
    assert choice("A", labelled, ["B"]) == 0


def test_choice_needs_choices_and_a_right_one() -> None:
    assert choice("B", (), ["B"]) is None
    with pytest.raises(UsageError, match="name none of the choices"):
        choice("B", COLOURS, ["yellow"])


@given(st.text(max_size=8), st.lists(st.text(max_size=5), min_size=2, max_size=5))
def test_any_reply_to_any_choices_is_scored(reply: str, choices: list[str]) -> None:
    assert choice(reply, ("sure", *choices), ["sure"]) in (0, 1)


def item(**more: object) -> Item:
    return Item.model_validate({"id": "q", "media": "m.mp4", "question": "?", **more})


def test_an_answer_is_scored_by_every_metric() -> None:
    scores = score_answer(item(answers=["Dark blue"], choices=COLOURS), "dark blues", "answered")
    assert scores == {
        "exact_match": 0,
        "anls": pytest.approx(0.9),
        "f1": 0.5,
        "choice": 0,
        "distracted": None,
    }
    assert score_answer(item(answers=["Dark blue"]), "dark blue", "forced") == {
        "exact_match": 1,
        "anls": 1,
        "f1": 1,
        "choice": None,
        "distracted": None,
    }


@pytest.mark.parametrize("status", ["refused", "budget"])
def test_no_answer_scores_nothing(status: Status) -> None:
    assert score_answer(item(answers=["x"]), None, status) == {
        "exact_match": 0,
        "anls": 0,
        "f1": 0,
        "choice": None,
        "distracted": None,
    }
    assert score_answer(item(answers=["Red"], choices=COLOURS), None, status)["choice"] == 0


def test_unanswerable_items_want_a_refusal() -> None:
    vain = item(meta={"unanswerable": True})
    assert score_answer(vain, None, "refused") == {
        "exact_match": 1,
        "anls": 1,
        "f1": 1,
        "choice": None,
        "distracted": None,
    }
    assert score_answer(vain, "42", "answered")["exact_match"] == 0
    assert score_answer(vain, None, "budget")["exact_match"] == 0


def test_an_answer_that_is_a_distractors_is_told_apart_from_other_wrong_ones() -> None:
    rivals = [{"text": "Port 8081", "start": 1, "end": 2}, {"text": "8080", "start": 3, "end": 4}]
    asked = item(answers=["8080"], meta={"distractors": rivals})
    found = [score_answer(asked, answer, "answered")["distracted"] for answer in ("port 8081", "8080", "9")]
    assert found == [1, 0, 0]  # a distractor that reads as the answer is the answer
    assert score_answer(asked, None, "refused")["distracted"] == 0


def test_an_item_without_answers_has_no_scores() -> None:
    assert set(score_answer(item(), "x", "answered").values()) == {None}


def test_a_failed_run_is_not_scored() -> None:
    with pytest.raises(UsageError, match="failed run"):
        score_answer(item(answers=["x"]), None, "failed")
