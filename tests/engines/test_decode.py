"""Drawing a token: from the likeliest that have top_p together, by one number; beside the same in plain
Python."""

import math
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r4agent.engines.decode import Row, draw

LOGITS = st.lists(st.floats(-20, 20), min_size=3, max_size=12)


def row(temperature: float = 1.0, top_p: float = 1.0, seed: int = 0) -> Row:
    return Row((1,), (), (), temperature, top_p, Random(seed), lambda token, logprob: False)


def drawn(
    logits: list[float], rows: list[Row], banned: tuple[int, ...] = ()
) -> tuple[list[int], list[float]]:
    import torch

    tokens, logprobs = draw(torch.tensor([logits] * len(rows)), rows, banned)
    return tokens.tolist(), logprobs.tolist()


def expected(
    logits: list[float], banned: tuple[int, ...], top_p: float, temperature: float, chance: float
) -> Any:
    """The shares that are left, by token, and the token on which `chance` falls."""
    weights = {i: math.exp((x - max(logits)) / temperature) for i, x in enumerate(logits) if i not in banned}
    kept: dict[int, float] = {}
    for token in sorted(weights, key=lambda token: -weights[token]):
        if sum(kept.values()) >= top_p * sum(weights.values()):
            break
        kept[token] = weights[token]
    place = chance * sum(kept.values())
    for token, weight in kept.items():
        if place < weight:
            return kept, token
        place -= weight
    return kept, token


@settings(deadline=None)
@given(
    LOGITS,
    st.sets(st.integers(0, 2), max_size=2),
    st.floats(0.05, 1),
    st.sampled_from([0.3, 1.0, 2.0]),
    st.integers(0, 9),
)
def test_one_number_picks_the_token(
    logits: list[float], ban: set[int], top_p: float, temperature: float, seed: int
) -> None:
    logits = [float(f"{x:.3g}") + number / 7 for number, x in enumerate(logits)]
    banned = tuple(sorted(ban))
    tokens, logprobs = drawn(logits, [row(temperature, top_p, seed)], banned)
    kept, token = expected(logits, banned, top_p, temperature, Random(seed).random())
    assert tokens[0] in kept or tokens[0] not in banned  # float32 may move the rim of top_p by a token
    if tokens[0] != token:
        near = expected(logits, banned, top_p + 1e-5, temperature, Random(seed).random() - 1e-5)
        far = expected(logits, banned, top_p - 1e-5, temperature, Random(seed).random() + 1e-5)
        assert tokens[0] in (near[1], far[1])
    raw = logits[tokens[0]] - math.log(sum(math.exp(x) for x in logits))
    assert logprobs[0] == pytest.approx(raw, abs=1e-4)


def test_frequencies_are_the_models() -> None:
    logits = [1.0, 0.0, 2.0, -1.0, 0.5]
    rows = [row(seed=seed) for seed in range(20_000)]
    counts = Counter(drawn(logits, rows, banned=(2,))[0])
    shares = {i: math.exp(x) for i, x in enumerate(logits) if i != 2}
    assert set(counts) == set(shares)
    for token, share in shares.items():
        assert counts[token] / len(rows) == pytest.approx(share / sum(shares.values()), abs=0.012)


def test_greedy_rows_beside_warm_ones() -> None:
    logits = [0.1, 0.3, 0.2]
    tokens, logprobs = drawn(logits, [row(0.0), row(5.0, seed=1), row(0.0), row(5.0, top_p=1e-6)])
    assert [tokens[0], tokens[2], tokens[3]] == [1, 1, 1]
    assert logprobs[0] == pytest.approx(math.log(math.exp(0.3) / sum(map(math.exp, logits))), abs=1e-6)
