"""The page of an evaluation: what came out, how sure that is, and each question that went wrong.

Promises: failed questions are counted apart and never among the wrong; every failed and every wrong answer
is listed with a link to its episode's page, which is built beside this one.
Does not: score.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from r4agent import __version__
from r4agent.errors import R4Error, UsageError, one_line
from r4agent.evaluation.results import Results, Row
from r4agent.evaluation.statistics import cost_curve
from r4agent.evaluation.summary import METRICS, by_category, compare, summary
from r4agent.page.episode_page import Judged
from r4agent.page.pages import Job, write_pages
from r4agent.page.plots import Bar, bars, curve_table, curves
from r4agent.page.render import render, write
from r4agent.page.wording import number

SPELT = {"anls": "ANLS", "f1": "F1", "time_iou": "time IoU", "box_iou": "box IoU", "page": "page accuracy"}
NAMES = {metric: SPELT.get(metric, metric.replace("_", " ")) for metric in METRICS}
COSTS = {
    "image_tokens": "image tokens",
    "megapixels": "megapixels shown",
    "turns": "turns",
    "decoded_frames": "frames decoded",
    "seconds": "seconds",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One question that failed or was answered wrong. href: its episode's page, "" where there is none."""

    row: Row
    href: str
    scores: str


@dataclass(frozen=True, slots=True)
class Run:
    """One result file on the page."""

    title: str
    results: Results
    figures: dict[str, Any]
    categories: list[dict[str, Any]]
    failed: tuple[Entry, ...]
    wrong: tuple[Entry, ...]
    details: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracy per one cost, drawn and as a table."""

    cost: str
    plot: Markup
    table: list[tuple[str, list[str]]]


def write_results_page(
    results: Results | Sequence[Results],
    folder: Path,
    *,
    name: str = "index.html",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write the page of one or several result files, and of the episodes it links to, into `folder`."""
    runs = [results] if isinstance(results, Results) else list(results)
    if not runs:
        raise UsageError("no results to show: give at least one")
    listed = [
        row for run in runs for row in run.rows if row.episode and (row.failed or is_right(row) is False)
    ]
    jobs = [Job(Path(row.episode), folder / page_of(row), judged(row)) for row in listed]
    problems = write_pages(jobs, progress)
    broken = {str(job.out) for job in problems}
    return write(
        folder / name, results_page(runs, linked=lambda row: str(folder / page_of(row)) not in broken)
    )


def results_page(runs: Sequence[Results], *, linked: Callable[[Row], bool] = lambda row: True) -> str:
    """The page itself. linked: whether a row's episode has a page beside this one."""
    told = [_run(results, linked) for results in runs]
    about, names = _names(runs)
    return render(
        "results.html",
        title=about,
        runs=told,
        about=about,
        names=names,
        labels=NAMES,
        metrics=[(m, NAMES[m]) for m in METRICS if any(run.figures[m] is not None for run in told)],
        statuses=sorted({status for run in told for status in run.figures["statuses"]}),
        headline=_headline(told, names),
        by_category=_by_category(told, names),
        curves=list(_curves(runs, names)),
        comparisons=list(_comparisons(runs, names)),
        costs=[(c, n) for c, n in COSTS.items() if any(c in run.figures["cost"] for run in told)],
        version=__version__,
    )


def is_right(row: Row) -> bool | None:
    """Whether the answer counts as right: the choice where there are choices, else the exact match. None
    where that is not known, and for one that failed."""
    score = row.scores.get("choice")
    if score is None:
        score = row.scores.get("exact_match")
    return None if row.failed or score is None else score == 1


def judged(row: Row) -> Judged | None:
    """What an evaluation says of an episode; nothing where it can't."""
    match is_right(row):
        case True:
            return Judged("right", "Right.", row.answers)
        case False:
            return Judged("wrong", "Wrong.", row.answers)
        case None:
            return None


def page_of(row: Row) -> str:
    """Where an episode's page is, from the page that links to it."""
    return f"pages/{Path(row.episode).stem}.html"


def _run(results: Results, linked: Callable[[Row], bool]) -> Run:
    def entry(row: Row) -> Entry:
        scores = ", ".join(f"{NAMES.get(k, k)} {number(v)}" for k, v in row.scores.items() if v is not None)
        return Entry(row, quote(page_of(row)) if row.episode and linked(row) else "", scores)

    return Run(
        title=results.title,
        results=results,
        figures=summary(results),
        categories=by_category(results),
        failed=tuple(entry(row) for row in results.rows if row.failed),
        wrong=tuple(entry(row) for row in results.scored if is_right(row) is False),
        details=tuple(_details(results)),
    )


def _details(results: Results) -> Iterator[tuple[str, str]]:
    header = results.header
    for part in ("questions", "config", "versions"):
        for key, value in header.get(part, {}).items():
            if isinstance(value, dict):
                value = ", ".join(f"{k} {number(v)}" for k, v in value.items())
            yield f"{part}: {key}", str(value)
    yield "machine", str(header.get("machine", "unknown"))
    yield "file", str(results.path)


def _names(runs: Sequence[Results]) -> tuple[str, list[str]]:
    """What the page is about, and a name for each run: without the questions where all have the same, and
    numbered where two are alike."""
    about = sorted({str(run.header["questions"]["name"]) for run in runs})
    titles = [run.title.removesuffix(f": {about[0]}") if len(about) == 1 else run.title for run in runs]
    names = [
        f"{title} ({titles[: at + 1].count(title)})" if titles.count(title) > 1 else title
        for at, title in enumerate(titles)
    ]
    return " and ".join(about), names


def _headline(runs: Sequence[Run], names: Sequence[str]) -> Markup:
    shown = [m for m in METRICS if any(run.figures[m] is not None for run in runs)]
    groups = {NAMES[m]: [_bar(run.figures[m], run.figures["ci95"].get(m)) for run in runs] for m in shown}
    return bars(groups, names, "Scores with 95 % intervals") if groups else Markup("")


def _by_category(runs: Sequence[Run], names: Sequence[str]) -> Markup:
    """Exact match by category; nothing where there is but one."""
    found = [{c["category"]: c for c in run.categories} for run in runs]
    names_of = sorted({name for one in found for name in one})
    if len(names_of) < 2:
        return Markup("")
    none: dict[str, Any] = {"exact_match": None, "ci95": None}
    groups = {
        name: [_bar((c := one.get(name, none))["exact_match"], c["ci95"]) for one in found]
        for name in names_of
    }
    return bars(groups, names, "Exact match by category with 95 % intervals")


def _bar(value: float | None, ci95: Sequence[float] | None) -> Bar:
    return Bar(value, *ci95) if ci95 else Bar(value, value or 0, value or 0)


def _curves(runs: Sequence[Results], names: Sequence[str]) -> Iterator[Curve]:
    for cost, label in COSTS.items():
        scored = [[row for row in run.scored if cost in row.cost] for run in runs]
        series = [cost_curve(rows, cost) for rows in scored]
        if any(series):
            yield Curve(label, curves(series, names, label), curve_table(series, names))


def _comparisons(runs: Sequence[Results], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Each later run beside the first, or why they can't be compared."""
    for other, name in list(zip(runs, names, strict=True))[1:]:
        try:
            yield {"name": name, "first": names[0], "why": "", **compare(runs[0], other)}
        except R4Error as error:
            yield {"name": name, "first": names[0], "why": one_line(error)}
