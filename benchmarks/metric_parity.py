"""Parity of the answer metrics: how often other implementations score otherwise, and why.

    python benchmarks/metric_parity.py [--n 10000] [--seed 0] [--lmms-eval FOLDER] [--vtvqa EVALUATOR.py]

Random predictions, each made from its answer by a number of edits, are scored by r4agent and by others. For
each other implementation the ways in which it is known to differ are written down as quirks, as what to do
to r4agent's score to get its own. A difference that the quirks do not predict, and a predicted one that does
not come, is counted as unexplained.

anls and anls-star come with the extra `dev`. With --lmms-eval, the folder where `pip install --no-deps
--target FOLDER lmms-eval==0.7.3` put it, and --vtvqa, the file of bytedance/VTVQA, theirs are compared too.
Prints the table of docs/metrics.md and ends with one line of JSON.
"""

import argparse
import importlib.util
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import anls as anls_package
import anls_star
from rapidfuzz.distance import Levenshtein

from r4agent.evaluation import answers as ours

Score = Callable[[str, tuple[str, ...]], float | None]  # None: it raises
WORDS = (
    "a an the in at none one two ten whats dont it's Total open 7 12.5 1,000 v1.2. a-b x/y - : $ ; £ ( ) ? !"
)
SIGNS = " abcdeABC012.,-:'" * 3 + "éßİ漢"


@dataclass(frozen=True)
class Peer:
    """metric: ours, of the same name. quirks: in words, each with our score when we share that one; model:
    when we share them all, which must be theirs."""

    name: str
    metric: str
    score: Score
    quirks: dict[str, Score]
    model: Score


def pairs(n: int, seed: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Predictions and one to three answers, from equal to unlike, so that every threshold is crossed."""
    rng = random.Random(seed)
    for _ in range(n):
        answer = _text(rng)
        others = [_edited(rng, answer, rng.randint(0, 3)) for _ in range(rng.choice((0, 0, 1, 2)))]
        edits = rng.choice((0, 1, 2, rng.randint(0, len(answer) + 2)))
        yield _edited(rng, answer, edits), (answer, *others)


def _text(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return "".join(rng.choices(SIGNS, k=rng.randint(0, 12)))
    return " ".join(rng.choices(WORDS.split(), k=rng.randint(1, 4)))


def _edited(rng: random.Random, text: str, edits: int) -> str:
    for _ in range(edits):
        at, end = sorted(rng.choices(range(len(text) + 1), k=2))
        end = min(end, at + 1)
        put = rng.choice(
            (*SIGNS, "", text[at:end].swapcase(), "  ", rng.choice((" the ", " in ", "$", ": ")))
        )
        text = text[:at] + put + text[end:]
    return text


def anls_variant(*, half: bool = True, spaces: bool = True, upper: bool = False, empty: bool = True) -> Score:
    """Our ANLS, but: without `half`, exactly 0.5 scores 0; without `spaces`, runs of them are one; with
    `upper`, lengths are those in upper case; without `empty`, two empty strings raise."""

    def one(prediction: str, answer: str) -> float:
        prediction, answer = prediction.lower().strip(), answer.lower().strip()
        if not spaces:
            prediction, answer = _single(prediction), _single(answer)
        if not upper:
            value = ours.anls(prediction, (answer,))
        else:
            longer = max(len(prediction.upper()), len(answer.upper()))
            value = 1 - Levenshtein.distance(prediction, answer) / longer if longer else 1.0
        return 0.0 if value < 0.5 or (value == 0.5 and not half) else value

    def score(prediction: str, answers: tuple[str, ...]) -> float | None:
        if not empty and not prediction.strip() and any(not answer.strip() for answer in answers):
            return None
        return max(one(prediction, answer) for answer in answers)

    return score


def _single(text: str) -> str:
    return " ".join(text.split())


def exact_variant(*, words: bool = True, marks: bool = True) -> Score:
    """Our exact match, but: without `words`, "in" and "at" stay; without `marks`, those that M4-ViteVQA
    added to the list stay."""
    dropped = ours._DROPPED if words else ours._DROPPED - {"in", "at"}
    kept = ours._MARKS if marks else ';/[]"{}()=+\\_-><@`!'

    def score(prediction: str, answers: tuple[str, ...]) -> float:
        with patch.multiple(ours, _DROPPED=dropped, _MARKS=kept):
            return ours.exact_match(prediction, answers)

    return score


def packages() -> list[Peer]:
    """The peers that the extra `dev` brings."""
    half, spaces = "exactly 0.5 scores 0", "a run of spaces is one"
    upper = "length in upper case (ß is SS)"
    return [
        Peer(
            f"anls {version('anls')}",
            "anls",
            lambda prediction, answers: anls_package.anls_score(prediction, list(answers)),
            {
                half: anls_variant(half=False),
                spaces: anls_variant(spaces=False),
                upper: anls_variant(upper=True),
            },
            anls_variant(half=False, spaces=False, upper=True),
        ),
        Peer(
            f"anls-star {version('anls-star')}",
            "anls",
            lambda prediction, answers: anls_star.anls_score(answers, prediction),
            {spaces: anls_variant(spaces=False)},
            anls_variant(spaces=False),
        ),
    ]


def lmms_eval(folder: Path) -> list[Peer]:
    vqa = _module(folder / "lmms_eval/tasks/_task_utils/vqa_eval_metric.py").EvalAIAnswerProcessor()
    squad = _module(folder / "lmms_eval/tasks/mmsearch/score/f1_score.py")
    return [
        Peer(
            "lmms-eval 0.7.3, EvalAIAnswerProcessor",
            "exact_match",
            lambda prediction, answers: float(vqa(prediction) in [vqa(answer) for answer in answers]),
            {'"in" and "at" stay': exact_variant(words=False), "13 marks stay": exact_variant(marks=False)},
            exact_variant(words=False, marks=False),
        ),
        Peer(
            "lmms-eval 0.7.3, SQuAD 2.0 F1 of mmsearch",
            "f1",
            lambda prediction, answers: max(squad.get_f1_score(prediction, answer) for answer in answers),
            {},
            ours.f1,
        ),
    ]


def vtvqa(file: Path) -> list[Peer]:
    module = _module(file)
    exact, anls = module.STVQAAccuracyEvaluator(), object.__new__(module.STVQAANLSEvaluator)
    anls.get_edit_distance = Levenshtein.distance  # what its __init__ would import editdistance for

    def asked(evaluator: object) -> Score:
        def score(prediction: str, answers: tuple[str, ...]) -> float | None:
            try:
                return evaluator.eval_pred_list([{"pred_answer": prediction, "gt_answers": answers}])
            except ZeroDivisionError:
                return None

        return score

    raises = anls_variant(empty=False)
    return [
        Peer("VTVQA evaluator.py, accuracy", "exact_match", asked(exact), {}, ours.exact_match),
        Peer("VTVQA evaluator.py, ANLS", "anls", asked(anls), {"two empty strings raise": raises}, raises),
    ]


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(peer: Peer, questions: Sequence[tuple[str, tuple[str, ...]]]) -> dict[str, object]:
    """Counts: same; differing, by the quirk that alone changes the score, or several; unexplained; and how
    many pairs score more than 0 with us, so that agreement on nothing shows."""
    metric: Score = getattr(ours, peer.metric)
    differ, same, unexplained, positive = Counter(dict.fromkeys(peer.quirks, 0)), 0, 0, 0
    for prediction, answers in questions:
        own, theirs = metric(prediction, answers), peer.score(prediction, answers)
        positive += own > 0
        if not _equal(theirs, peer.model(prediction, answers)):
            unexplained += 1
        elif _equal(own, theirs):
            same += 1
        else:
            reasons = [q for q, score in peer.quirks.items() if not _equal(score(prediction, answers), own)]
            differ[reasons[0] if len(reasons) == 1 else "several of these"] += 1
    return {"same": same, "differ": dict(differ), "unexplained": unexplained, "positive": positive}


def table_row(peer: Peer, counts: dict[str, object], n: int) -> str:
    why = "; ".join(f"{quirk}: {count:,}" for quirk, count in counts["differ"].items()) or "none known"
    return (
        f"| {peer.metric} | {peer.name} | {n:,} | {counts['positive']:,} | {counts['same']:,} "
        f"| {why} | {counts['unexplained']} |"
    )


def _equal(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else abs(one - other) < 1e-12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lmms-eval", type=Path)
    parser.add_argument("--vtvqa", type=Path)
    options = parser.parse_args()
    peers = packages()
    peers += lmms_eval(options.lmms_eval) if options.lmms_eval else []
    peers += vtvqa(options.vtvqa) if options.vtvqa else []
    questions = list(pairs(options.n, options.seed))
    found = {peer.name: compare(peer, questions) for peer in peers}

    print("| metric | other implementation | pairs | score > 0 | same | differ, by quirk | unexplained |")
    print("|---|---|---|---|---|---|---|")
    for peer in peers:
        print(table_row(peer, found[peer.name], options.n))
    print(json.dumps({"n": options.n, "seed": options.seed, "peers": found}))


if __name__ == "__main__":
    main()
