"""Answers: how near a prediction is to the accepted strings.

Promises: every score is in 0–1 and is the best over the accepted answers; exact match and ANLS are those of
M4-ViteVQA (bytedance/VTVQA, evaluator.py, classes STVQAAccuracyEvaluator and STVQAANLSEvaluator), oddities
included, so that figures can be put beside published ones; f1 is SQuAD's.
Does not: understand. A right answer in a long sentence scores 0 in exact match.

The oddities are named where they are done, and in docs/metrics.md beside other implementations.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from r4agent.episode import Status
from r4agent.errors import MissingError, UsageError
from r4agent.item import Item
from r4agent.text import normalise

try:
    from rapidfuzz.distance import Levenshtein
except ImportError as error:
    raise MissingError('scoring answers needs rapidfuzz; run: pip install "r4agent[ocr]"') from error


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 if the prediction is one of the answers once both are brought to `vqa_form`, else 0."""
    wanted = vqa_form(prediction)
    return _best(answers, lambda answer: float(vqa_form(answer) == wanted))


def anls(prediction: str, answers: Sequence[str]) -> float:
    """1 − edit distance / longer length on lower-cased, stripped text; 0 where that is below 0.5.

    Exactly 0.5 is kept. Two empty strings score 1; upstream divides by zero there."""
    return _best(answers, lambda answer: _similarity(prediction.lower().strip(), answer.lower().strip()))


def f1(prediction: str, answers: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over SQuAD's tokens: lower case, no ASCII punctuation, no
    a, an, the. Where either side has no token, 1 if neither has (as SQuAD 2.0)."""
    found = _squad_tokens(prediction)
    return _best(answers, lambda answer: _overlap(found, _squad_tokens(answer)))


def choice(prediction: str, choices: Sequence[str], answers: Sequence[str]) -> float | None:
    """1 if the prediction names the right option of a multiple-choice question, else 0; None without choices.

    An option is named by its text, its letter (B, b, (b), B., B:), or letter and text (B: text). Text goes
    first: where an option reads "A", that is what "A" means. A reply that names no option, or a letter with
    another option's text, scores 0. Answers are texts or letters too."""
    if not choices:
        return None
    options = _without_labels(choices)
    right = {number for answer in answers for number in _named(answer, options)}
    if not right:
        raise UsageError(f"answers {list(answers)} name none of the choices {list(choices)}: mend the item")
    named = _named(prediction, options)
    return float(bool(named) and named <= right)


def score_answer(item: Item, answer: str | None, status: Status) -> dict[str, float | None]:
    """exact_match, anls, f1, choice and distracted of what a run came to; None where the item can't have one.

    distracted: 1 if the answer is that of one of the item's distractors and not a right one.
    A run that ended without an answer scores 0. Where the item is unanswerable, saying so (status
    `refused`) scores 1 and all else 0. A failed run is no answer at all: it raises."""
    if status == "failed":
        raise UsageError(f"item {item.id}: a failed run has no score; count it apart")
    if item.meta.get("unanswerable"):
        right = float(status == "refused")
        chosen = right if item.choices else None
        return {"exact_match": right, "anls": right, "f1": right, "choice": chosen, "distracted": None}
    if not item.answers:
        return dict.fromkeys(("exact_match", "anls", "f1", "choice", "distracted"))
    rivals = [rival["text"] for rival in item.meta.get("distractors", ())]
    distracted = 0.0 if rivals else None
    if answer is None:
        chosen = 0.0 if item.choices else None
        return {"exact_match": 0.0, "anls": 0.0, "f1": 0.0, "choice": chosen, "distracted": distracted}
    right = exact_match(answer, item.answers)
    if rivals and not right:
        distracted = exact_match(answer, rivals)
    return {
        "exact_match": right,
        "anls": anls(answer, item.answers),
        "f1": f1(answer, item.answers),
        "choice": choice(answer, item.choices, item.answers),
        "distracted": distracted,
    }


def _best(answers: Sequence[str], score: Callable[[str], float]) -> float:
    if not answers:
        raise UsageError("no accepted answers: there is nothing to compare with")
    return max(map(score, answers))


# Exact match. What upstream's tables hold; its entries that lower-cased text can't reach are left out.
_MARKS = ':£$\udcd3\x7f😘₱€¢\u200b¥↱ø;/[]"{}()=+\\_-><@`!'
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0", **{word: str(number) for number, word in enumerate(_NUMBERS)}}
_DROPPED = {"a", "an", "the", "in", "at"}
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
    he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't
    must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've
    somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd
    something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're
    they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've
    who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll
    y'all'd've you'd you'd've you'll you're you've
"""
_REPAIRED = {  # each with one apostrophe forgotten; "somebody'd" goes the other way, as it does upstream
    **{
        word[:at] + word[at + 1 :]: word
        for word in _CONTRACTED.split()
        for at, c in enumerate(word)
        if c == "'"
    },
    "somebody'd": "somebodyd",
}


def vqa_form(text: str) -> str:
    """Text as M4-ViteVQA compares it (EvalAIAnswerProcessor, after Pythia's). Its oddities:

    - commas: all go at once, so the rule for commas within numbers, which would delete marks, never applies.
    - marks: where a mark touches a space once, it is deleted everywhere in the text, else each becomes a
      space: "a-b" is "a b", but "a-b - c" is "ab c".
    - periods: the look-behind is mistyped ("(?!<=" for "(?<!"), so "3.a" loses its period too, and a flag is
      passed as the count, so only the first 32 periods are dropped.
    - words: "in" and "at" go with a, an, the; what is left may be nothing, and nothing equals nothing.
    - apostrophes: "'s" becomes a word, then "whats" becomes "what's": the two forms never meet.
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ")
    touching = {mark: f"{mark} " in text or f" {mark}" in text for mark in _MARKS}
    text = text.translate({ord(mark): "" if touches else " " for mark, touches in touching.items()})
    text = re.sub(r"\.(?!\d)", "", text, count=32)
    words = [_DIGITS.get(word, word) for word in text.split()]
    return " ".join(_REPAIRED.get(word, word) for word in words if word not in _DROPPED)


def _similarity(one: str, other: str) -> float:
    longer = max(len(one), len(other))
    similarity = 1 - Levenshtein.distance(one, other) / longer if longer else 1.0
    return similarity if similarity >= 0.5 else 0.0


def _squad_tokens(text: str) -> list[str]:
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def _overlap(found: Sequence[str], wanted: Sequence[str]) -> float:
    if not found or not wanted:
        return float(found == wanted)
    shared = (Counter(found) & Counter(wanted)).total()
    return 2 * shared / (len(found) + len(wanted))


# Multiple choice
_LABEL = re.compile(r"[(\[]?([A-Za-z])(?:[)\].:]+(?:\s+(?P<text>.+))?)?", re.DOTALL)


def _named(reply: str, options: Sequence[str]) -> set[int]:
    """The options that a reply names; several where their texts are the same, or its parts disagree."""
    by_text = _with_text(reply, options)
    label = _LABEL.fullmatch(reply.strip())
    if by_text or not label:
        return by_text
    number = string.ascii_lowercase.index(label[1].lower())
    if number >= len(options):
        return set()
    return {number} | _with_text(label["text"] or "", options)


def _with_text(text: str, options: Sequence[str]) -> set[int]:
    """Options with this text: letter for letter if there are any ("mb" is not "MB"), else in normal form."""
    same = {number for number, option in enumerate(options) if option.strip() == text.strip()}
    wanted = normalise(text)
    return same or {n for n, option in enumerate(options) if wanted and normalise(option) == wanted}


def _without_labels(choices: Sequence[str]) -> list[str]:
    """The options' texts; their labels are taken off where each option carries its own (A. red, B. blue)."""
    labels = [_LABEL.fullmatch(choice.strip()) for choice in choices]
    letters = [label[1].upper() if label and label["text"] else "" for label in labels]
    if letters != list(string.ascii_uppercase[: len(choices)]):
        return list(choices)
    return [label["text"] for label in labels if label]
