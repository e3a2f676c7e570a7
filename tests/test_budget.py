import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from r4agent.budget import Budget, Spent
from r4agent.errors import UsageError


def test_parse_reads_each_key_and_leaves_the_rest() -> None:
    parsed = Budget.parse(["turns=3", "seconds=1.5", "turns=4"])
    assert (parsed.turns, parsed.seconds) == (4, 1.5)
    assert parsed.model_copy(update={"turns": Budget().turns, "seconds": Budget().seconds}) == Budget()
    assert Budget.parse([]) == Budget()
    assert Budget.parse(["turns=3"]).over(Budget(turns=9, images=4)) == Budget(turns=3, images=4)
    assert "seconds" not in Budget.parse(["turns=3"]).over(Budget(images=4)).model_fields_set


@given(st.fixed_dictionaries({}, optional={key: st.integers(4, 1000) for key in Budget.model_fields}))
def test_parse_takes_what_the_fields_take(values: dict[str, int]) -> None:
    assert Budget.parse([f"{key}={value}" for key, value in values.items()]) == Budget(**values)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("turns", "'turns': write KEY=VALUE with KEY one of turns, images,"),
        ("=3", "'=3': write KEY=VALUE"),
        ("", "'': write KEY=VALUE"),
        ("frames=3", "'frames=3': write KEY=VALUE"),
        ("TURNS=3", "'TURNS=3': write KEY=VALUE"),
        ("turns=0", "budget turns=0: .*greater than or equal to 1"),
        ("turns=1001", "budget turns=1001: .*less than or equal to 1000"),
        ("turns=1.5", "budget turns=1.5: .*integer"),
        ("turns=many", "budget turns=many: .*integer"),
        ("turns=", "budget turns=: .*integer"),
        ("turns=1=2", "budget turns=1=2: .*integer"),
        ("seconds=0", "budget seconds=0: .*greater than 0"),
        ("seconds=nan", "budget seconds=nan: "),
        ("overview_tokens=3", "budget overview_tokens=3: .*greater than or equal to 4"),
    ],
)
def test_parse_says_what_is_wrong(pair: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Budget.parse([pair])
    assert "\n" not in str(caught.value)


@given(st.sampled_from(["", *Budget.model_fields]), st.text(max_size=30))
def test_parse_raises_nothing_but_usage_errors(key: str, value: str) -> None:
    with contextlib.suppress(UsageError):
        assert getattr(Budget.parse([f"{key}={value}"]), key) == pytest.approx(float(value))


def test_a_budget_refuses_unknown_keys_and_does_not_change() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Budget(frames=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="frozen"):
        Budget().turns = 3


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1e6))
def test_spent_adds_what_is_named_and_keeps_the_rest(images: int, tokens: int, seconds: float) -> None:
    before = Spent(turns=2, images=1, seconds=0.5)
    after = before.plus(images=images, image_tokens=tokens, seconds=seconds)
    assert after == Spent(turns=2, images=1 + images, image_tokens=tokens, seconds=0.5 + seconds)
    assert before == Spent(turns=2, images=1, seconds=0.5)
    assert before.plus() == before


def test_spent_refuses_a_cost_it_does_not_know() -> None:
    with pytest.raises(AttributeError, match="frames"):
        Spent().plus(frames=1)
