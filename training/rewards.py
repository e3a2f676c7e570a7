"""Rewards: what an episode is worth, as plain functions. `r4agent.training.scoring` adds them up.

Promises: each follows from the episode and its item alone; features of pictures are an argument. A failed
episode, and one that never ended, has no reward: None, which is not 0. A reward that an item can't have (no
answer is known) is None too.
Does not: learn, or look at what another group did.

R_div, R_rep and R_cur are Video-R4's (arXiv 2511.17490): R' = R + λ_div R_div + λ_rep R_rep + λ_cur R_cur,
with R = correctness + format. docs/rewards.md says how each can be earned without being deserved.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from r4agent.episode import Episode
from r4agent.errors import UsageError
from r4agent.evaluation.answers import score_answer
from r4agent.evaluation.sight import score_sight
from r4agent.evidence import holds
from r4agent.item import Item
from r4agent.media.store import MediaStore
from r4agent.reader import Reader
from r4agent.text import contains
from r4agent.training.looks import looks, overview, steps

Features = Callable[[Sequence[str]], NDArray[np.float32]]
"""From n references (`img:<sha256>`) to an (n, d) array of rows of unit length."""

ENDED = ("Answer", "NotFound")


def ended(episode: Episode) -> bool:
    """Whether the episode has a reward at all: it ended, and not by an error."""
    return episode.status not in (None, "failed")


def accuracy(episode: Episode, item: Item) -> float | None:
    """1 if the answer is right, else 0: M4-ViteVQA's exact match, the option chosen where there are choices,
    `refused` where the item is unanswerable."""
    return _score(episode, item, "choice" if item.choices else "exact_match")


def anls(episode: Episode, item: Item) -> float | None:
    """ANLS: the best over the accepted answers of 1 − edits / longer length, 0 below 0.5."""
    return _score(episode, item, "anls")


def well_formed(episode: Episode) -> float | None:
    """1 if each reply is exactly one well-formed step and the last of them ends the run (<answer> or
    <not_found>), else 0. Whether a call could be carried out is `tool_success`'s business."""
    if not ended(episode):
        return None
    made = steps(episode)
    return float(bool(made) and made[-1] in ENDED and "Malformed" not in made)


def diversity(episode: Episode, features: Features) -> float | None:
    """R_div = mean over ordered pairs i ≠ j of (1 − cos(v_i, v_j)), over the regions zoomed into (Video-R4).
    Fewer than two: 0 (ours)."""
    if not ended(episode):
        return None
    crops = [picture.ref for look in looks(episode) if look.tool == "zoom" for picture in look.pictures]
    if len(crops) < 2:
        return 0.0
    v = features(crops)
    n = len(crops)
    return float(1 - ((v @ v.T).sum() - (v * v).sum()) / (n * (n - 1)))


def coverage(episode: Episode, features: Features) -> float | None:
    """R_rep = exp(−mean_i min_j ‖v_i − v_j‖₂), i over the input frames, j over the frames of the last clip
    (Video-R4). Input frames are those of the overview, the last clip is what the last `select_frames`
    brought; without one: 0 (ours). Unit length is ours too: without it the exponential is near 0."""
    if not ended(episode):
        return None
    clips = [look.pictures for look in looks(episode) if look.tool == "select_frames" and look.pictures]
    frames = overview(episode)
    if not clips or not frames:
        return 0.0
    v, w = (features([picture.ref for picture in part]) for part in (frames, clips[-1]))
    distances = np.linalg.norm(v[:, None, :] - w[None, :, :], axis=2)
    return math.exp(-float(distances.min(axis=1).mean()))


def tool_success(episode: Episode) -> float | None:
    """The share of calls that were carried out; 0 without calls."""
    if not ended(episode):
        return None
    made = looks(episode)
    return sum(look.done for look in made) / len(made) if made else 0.0


def evidence(
    episode: Episode, item: Item, reader: Reader | None = None, store: MediaStore | None = None
) -> float | None:
    """1 if a picture given to the policy shows the answer, else 0 (ours; R_div and R_rep's rival).

    Where the item knows the answer's boxes: a picture holds one, at a moment when it stands there, large
    enough to be read (`r4agent.evaluation.sight`). Else: the reader finds an accepted answer in a picture.
    None where no answer is known. UsageError where a reader is needed and there is none."""
    if not ended(episode) or not item.answers:
        return None
    if any(span.box for span in item.evidence):
        views = [picture.view for picture in episode.pictures]
        return score_sight(item, views, [], answered=False)["evidence_recall"]
    if reader is None or store is None:
        raise UsageError(
            f"reward evidence: item {item.id} has no boxes; give a reader and the pictures' store"
        )
    for picture in reversed(episode.pictures):  # the closest looks come last
        lines = reader.read(store.get(picture.ref), ref=picture.ref)
        if any(holds(contains(lines, answer), answer) for answer in item.answers):
            return 1.0
    return 0.0


@dataclass(frozen=True, slots=True)
class Curiosity:
    """R_cur = α · max(0, H − share of the group's rollouts that looked) · 1[n > 0] − β · max(0, n − N), n the
    calls that this rollout had carried out. Form and constants are Pixel Reasoner's; Video-R4's
    own are not published.

    N = 1 punishes rumination: each call after the first costs β. For zooms of zooms, raise N to the calls
    that you want."""

    H: float = 0.3
    N: int = 1
    alpha: float = 0.5
    beta: float = 0.05

    def __call__(self, group: Sequence[Episode]) -> list[float | None]:
        """Of each episode of a group; those that have no reward don't count for the share."""
        calls = [sum(look.done for look in looks(e)) if ended(e) else None for e in group]
        counted = [n for n in calls if n is not None]
        share = sum(n > 0 for n in counted) / len(counted) if counted else 0.0
        bonus = self.alpha * max(0.0, self.H - share)
        return [None if n is None else bonus * (n > 0) - self.beta * max(0, n - self.N) for n in calls]


def _score(episode: Episode, item: Item, name: str) -> float | None:
    if not ended(episode):
        return None
    assert episode.end is not None
    return score_answer(item, episode.end["answer"], episode.end["status"])[name]
