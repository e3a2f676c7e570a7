"""What a batch of rollouts is said to have looked like."""

import pytest

from r4agent import Episode
from r4agent.training.looks import Look, looks, overview, steps
from r4agent.training.measures import measures

from .needle import Needle, call, corner, select

BAD = call("zoom", view="v99", box=[0, 0, 9, 9])


@pytest.fixture(scope="module")
def found(needle: Needle) -> Episode:
    return needle.ask(needle.look(), needle.answer())


@pytest.fixture(scope="module")
def guessed(needle: Needle) -> Episode:
    return needle.ask(needle.answer("nothing"))


@pytest.fixture(scope="module")
def failed(needle: Needle) -> Episode:
    return needle.ask(needle.look())


def test_looks_are_calls_with_what_they_brought(needle: Needle) -> None:
    episode = needle.ask(BAD, "<tool_call>{</tool_call>", select(*needle.pictures[:2]), needle.answer())
    bad, unread, clip = looks(episode)
    assert (bad, unread) == (Look("zoom", done=False), Look("", done=False))
    assert (clip.tool, clip.done) == ("select_frames", True)
    assert [picture.name for picture in clip.pictures] == ["v9", "v10"]
    assert steps(episode) == ["Call", "Malformed", "Call", "Answer"]
    assert overview(episode) == needle.pictures


def test_a_call_after_the_last_turn_was_not_carried_out(needle: Needle) -> None:
    episode = needle.ask(needle.look(), needle.look(), turns=2)
    assert [look.done for look in looks(episode)] == [True, False]
    assert measures([(needle.item, [episode])])["cut"] == 1


def test_means_of_a_batch(needle: Needle, found: Episode, guessed: Episode, failed: Episode) -> None:
    twice = needle.ask(needle.look(), needle.look(), BAD, needle.answer())
    values = measures([(needle.item, [found, guessed, failed]), (needle.item, [twice])])
    assert values["failed"] == 1 / 4
    assert values["accuracy"] == values["tool_rate"] == pytest.approx(2 / 3)
    assert values["failure_rate"] == 1 / 4  # of found's one call and twice's three
    assert values["repeat_rate"] == 1 / 3
    assert values["evidence_recall"] == pytest.approx(2 / 3)
    assert values["turns"] == pytest.approx((2 + 1 + 4) / 3)
    assert values["pictures"] == pytest.approx((9 + 8 + 10) / 3)
    assert values["cut"] == values["tokens"] == 0  # a scripted policy counts no tokens
    assert (values["helped"], values["hurt"]) == (1, 0)  # the second group has nobody who did not look


def test_looking_that_hurts(needle: Needle, found: Episode, guessed: Episode) -> None:
    misled = needle.ask(corner(needle.wrong[0]), needle.answer("nothing"))
    knew = needle.ask(needle.answer())
    values = measures(
        [
            (needle.item, [misled, knew]),
            (needle.item, [found, misled, guessed, knew]),  # a tie, half and half
            (needle.item, [found, guessed]),
            (needle.item, [found, found]),
        ]
    )
    assert (values["helped"], values["hurt"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


def test_what_nothing_can_be_said_of_is_left_out(
    needle: Needle, found: Episode, guessed: Episode, failed: Episode
) -> None:
    bare = needle.item.model_copy(update={"evidence": ()})
    assert {"helped", "hurt", "evidence_recall"}.isdisjoint(measures([(bare, [found])]))
    assert {"failure_rate", "repeat_rate"}.isdisjoint(measures([(needle.item, [guessed])]))
    assert measures([(needle.item, [failed])]) == {"failed": 1}
    assert measures([]) == {}
