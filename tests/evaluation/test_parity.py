"""Our ANLS beside the packages anls and anls-star, on 10,000 random pairs: named quirks explain all."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import metric_parity

from r4agent.evaluation import answers

QUESTIONS = list(metric_parity.pairs(10_000, seed=0))


@pytest.mark.parametrize("peer", metric_parity.packages(), ids=lambda peer: peer.name)
def test_the_pairs_that_differ_are_those_the_quirks_predict(peer: metric_parity.Peer) -> None:
    differ, predicted = set(), set()
    for pair in QUESTIONS:
        own, theirs, model = answers.anls(*pair), peer.score(*pair), peer.model(*pair)
        assert theirs == pytest.approx(model, abs=1e-12), pair
        if own != pytest.approx(theirs, abs=1e-12):
            differ.add(pair)
        if own != pytest.approx(model, abs=1e-12):
            predicted.add(pair)
    assert differ == predicted
    assert 100 < len(differ) < 2000


@pytest.mark.parametrize("peer", metric_parity.packages(), ids=lambda peer: peer.name)
def test_every_quirk_is_exercised_as_often_as_documented(peer: metric_parity.Peer) -> None:
    found = metric_parity.compare(peer, QUESTIONS)
    assert found["unexplained"] == 0
    assert all(count >= 50 for count in found["differ"].values())
    documented = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text()
    assert metric_parity.table_row(peer, found, len(QUESTIONS)) in documented.splitlines()


def test_an_unknown_difference_is_seen() -> None:
    peer = metric_parity.packages()[0]
    shifted = metric_parity.Peer(peer.name, peer.metric, peer.score, {}, answers.anls)
    assert metric_parity.compare(shifted, QUESTIONS)["unexplained"] > 500


def test_the_pairs_cross_every_threshold() -> None:
    scores = [answers.anls(*pair) for pair in QUESTIONS]
    assert scores.count(0.0) > 500
    assert scores.count(0.5) > 100
    assert scores.count(1.0) > 500
    assert sum(0.5 < score < 1 for score in scores) > 3000
