"""What each reward pays for, and what it can be made to pay for. Real graph, real clip, real vision tower."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from r4agent import Episode
from r4agent.engines import Checkpoint
from r4agent.errors import UsageError
from r4agent.reader import Reader
from r4agent.training.features import VisionFeatures
from r4agent.training.rewards import (
    Curiosity,
    accuracy,
    anls,
    coverage,
    diversity,
    evidence,
    tool_success,
    well_formed,
)

from .needle import Needle, call, corner, select, zoom


@pytest.fixture(scope="module")
def features(checkpoint: Checkpoint, needle: Needle) -> VisionFeatures:
    return VisionFeatures.load(checkpoint, needle.store)


@pytest.fixture(scope="module")
def honest(needle: Needle) -> Episode:
    """Goes straight to the sign and reads it."""
    return needle.ask(needle.look(), needle.answer())


@pytest.fixture(scope="module")
def aimless(needle: Needle) -> Episode:
    """Zooms into four corners where nothing is, and guesses."""
    looks = [corner(picture, n) for n, picture in enumerate(needle.wrong[:4])]
    return needle.ask(*looks, needle.answer("nothing"))


@pytest.fixture(scope="module")
def sweeping(needle: Needle) -> Episode:
    """Sees all eight frames again, too small to read, and guesses."""
    return needle.ask(select(*needle.pictures), needle.answer("nothing"))


@pytest.fixture(scope="module")
def failed(needle: Needle) -> Episode:
    episode = needle.ask(needle.look())
    assert episode.status == "failed"
    return episode


def test_a_right_answer(needle: Needle, honest: Episode, aimless: Episode) -> None:
    assert (accuracy(honest, needle.item), accuracy(aimless, needle.item)) == (1, 0)
    assert anls(honest, needle.item) == 1
    nearly = needle.ask(needle.answer(needle.item.answers[0] + "x"))
    assert accuracy(nearly, needle.item) == 0
    length = len(needle.item.answers[0])
    assert anls(nearly, needle.item) == pytest.approx(length / (length + 1))


def test_what_no_answer_is_known_of_has_no_accuracy(needle: Needle, honest: Episode) -> None:
    bare = needle.item.model_copy(update={"answers": ()})
    assert accuracy(honest, bare) is None
    assert evidence(honest, bare) is None


def test_an_unanswerable_question_is_answered_by_declining(needle: Needle, honest: Episode) -> None:
    without = needle.item.model_copy(update={"answers": (), "meta": {"unanswerable": True}})
    declined = needle.ask("<not_found>nowhere</not_found>")
    assert (accuracy(declined, without), accuracy(honest, without)) == (1, 0)
    assert well_formed(declined) == 1


def test_choices_are_scored_by_option(needle: Needle) -> None:
    item = needle.item.model_copy(update={"choices": ("nothing", needle.item.answers[0])})
    assert accuracy(needle.ask("<answer>B</answer>"), item) == 1


def test_form_asks_for_steps_and_an_end(needle: Needle, honest: Episode) -> None:
    assert well_formed(honest) == 1
    assert well_formed(needle.ask("I wonder.", needle.answer())) == 0
    assert well_formed(needle.ask("<tool_call>{zoom}</tool_call>", needle.answer())) == 0
    assert well_formed(needle.ask(corner(needle.right), corner(needle.right, 1), turns=2)) == 0  # no end
    assert well_formed(needle.ask(call("zoom", view="v99", box=[0, 0, 9, 9]), needle.answer())) == 1


def test_a_failed_episode_has_no_reward(needle: Needle, failed: Episode, features: VisionFeatures) -> None:
    of_item = [reward(failed, needle.item) for reward in (accuracy, anls, evidence)]
    alone = [reward(failed) for reward in (well_formed, tool_success)]
    compared = [reward(failed, features) for reward in (diversity, coverage)]
    assert {*of_item, *alone, *compared, *Curiosity()([failed])} == {None}


def test_tool_success_counts_calls_that_brought_something(needle: Needle, honest: Episode) -> None:
    bad = call("zoom", view="v99", box=[0, 0, 9, 9])
    assert tool_success(honest) == 1
    assert tool_success(needle.ask(bad, needle.look(), needle.answer())) == 0.5
    assert tool_success(needle.ask("<tool_call>{</tool_call>", needle.look(), needle.answer())) == 0.5
    assert tool_success(needle.ask(call("fly", to="Rome"), needle.answer())) == 0
    assert tool_success(needle.ask(needle.answer())) == 0


# How R_div is earned without being deserved, and the evidence reward is not.


def test_irrelevant_crops_earn_diversity(
    needle: Needle, honest: Episode, aimless: Episode, features: VisionFeatures
) -> None:
    assert diversity(honest, features) == 0  # one crop was enough
    earned = diversity(aimless, features)
    assert earned is not None
    assert earned > 0
    assert (evidence(honest, needle.item), evidence(aimless, needle.item)) == (1, 0)


def test_frames_are_no_crops(sweeping: Episode, features: VisionFeatures) -> None:
    assert diversity(sweeping, features) == 0


def test_the_same_crop_twice_is_no_diversity(needle: Needle, features: VisionFeatures) -> None:
    twice = needle.ask(needle.look(), needle.look(), needle.answer())
    assert diversity(twice, features) == pytest.approx(0, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_diversity_is_its_formula(aimless: Episode, data: st.DataObject) -> None:
    row = st.lists(st.floats(0.125, 1, width=32), min_size=3, max_size=3)
    v = unit(np.array(data.draw(st.lists(row, min_size=4, max_size=4))) * [1, -1, 1])
    pairs = [1 - float(v[i] @ v[j]) for i in range(4) for j in range(4) if i != j]
    assert diversity(aimless, given_rows(v)) == pytest.approx(sum(pairs) / len(pairs), abs=1e-5)


# How R_rep fights a single-frame needle, and the evidence reward does not.


def test_covering_the_video_beats_finding_the_needle(
    needle: Needle, sweeping: Episode, features: VisionFeatures
) -> None:
    finding = needle.ask(select(needle.right), needle.look(), needle.answer())
    swept, found = coverage(sweeping, features), coverage(finding, features)
    assert swept is not None
    assert found is not None
    assert swept > found > 0
    assert (evidence(sweeping, needle.item), evidence(finding, needle.item)) == (0, 1)


def test_only_the_last_clip_counts(needle: Needle, features: VisionFeatures) -> None:
    first, last = select(needle.right), select(*needle.wrong)
    both = needle.ask(first, last, needle.answer())
    alone = needle.ask(last, needle.answer())
    assert coverage(both, features) == coverage(alone, features)


def test_without_a_clip_nothing_is_covered(honest: Episode, features: VisionFeatures) -> None:
    assert coverage(honest, features) == 0


def test_coverage_is_its_formula(sweeping: Episode, needle: Needle) -> None:
    overview = unit(np.eye(8, 3) + 0.1)
    clip = unit(np.eye(8, 3)[::-1] + 0.2)
    rows = {picture.ref: row for picture, row in zip(sweeping.pictures, [*overview, *clip], strict=True)}
    nearest = [min(float(np.linalg.norm(v - w)) for w in clip) for v in overview]
    expected = math.exp(-sum(nearest) / 8)
    found = coverage(sweeping, lambda refs: np.stack([rows[ref] for ref in refs]))
    assert found == pytest.approx(expected, rel=1e-5)


# The rival: evidence.


def test_the_right_place_at_the_wrong_moment_is_no_evidence(needle: Needle) -> None:
    box = needle.item.evidence[0].source_box
    assert box is not None
    other = needle.ask(zoom(needle.wrong[0], box.grown(20, 20)), needle.answer())
    assert evidence(other, needle.item) == 0


def test_without_boxes_the_reader_says(needle: Needle, honest: Episode) -> None:
    bare = needle.item.model_copy(update={"evidence": ()})
    reader, store = Reader(threads=1), needle.store
    assert evidence(honest, bare, reader, store) == 1
    assert evidence(needle.ask(needle.answer(), overview=1), bare, reader, store) == 0  # a guess
    with pytest.raises(UsageError, match="has no boxes; give a reader"):
        evidence(honest, bare)


# R_cur on groups.


@pytest.fixture(scope="module")
def silent(needle: Needle) -> Episode:
    return needle.ask(needle.answer())


def test_curiosity_pays_the_few_who_look(honest: Episode, silent: Episode) -> None:
    earned = Curiosity()([honest, *[silent] * 7])
    assert earned == pytest.approx([0.5 * (0.3 - 1 / 8), *[0] * 7])


def test_curiosity_pays_nobody_where_enough_look_or_none_does(honest: Episode, silent: Episode) -> None:
    assert Curiosity()([honest, honest, silent, silent]) == [0, 0, 0, 0]
    assert Curiosity()([silent] * 4) == [0, 0, 0, 0]


def test_with_n_1_curiosity_punishes_rumination(needle: Needle, honest: Episode, silent: Episode) -> None:
    ruminating = needle.ask(corner(needle.right), corner(needle.wrong[0]), needle.look(), needle.answer())
    assert Curiosity()([ruminating, honest, silent]) == pytest.approx([-0.1, 0, 0])
    assert Curiosity(N=3)([ruminating, honest, silent]) == [0, 0, 0]


def test_a_call_that_was_refused_is_no_look(needle: Needle, silent: Episode) -> None:
    refused = needle.ask(call("zoom", view="v99", box=[0, 0, 9, 9]), needle.answer())
    assert Curiosity()([refused, silent]) == [0, 0]


def test_failed_rollouts_do_not_count_for_the_share(
    honest: Episode, silent: Episode, failed: Episode
) -> None:
    assert Curiosity(H=0.6)([honest, silent, failed]) == [pytest.approx(0.5 * (0.6 - 0.5)), 0, None]


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def given_rows(rows: NDArray[np.float32]) -> Callable[..., NDArray[np.float32]]:
    return lambda refs: rows[: len(refs)]
