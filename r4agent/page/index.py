"""The index: a table of many episodes, each with its page, and filters.

Promises: whatever the folder holds is listed or named as unreadable; right and wrong are said only where a
result file says so; two thousand episodes stay quick, since a page made before is left alone.
Does not: look deeper than one folder below.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from r4agent import __version__
from r4agent.episode import Episode
from r4agent.errors import R4Error, UsageError, one_line
from r4agent.evaluation.results import Results
from r4agent.page.episode_page import Judged
from r4agent.page.pages import Job, write_pages
from r4agent.page.reading import kind_of, read_episode
from r4agent.page.render import render, write
from r4agent.page.results_page import judged, write_results_page
from r4agent.page.story import tell


@dataclass(frozen=True, slots=True)
class Listed:
    """One episode in the table. how: its policy, and what sets the run apart from plain rumination.
    judged: right, wrong, or "" where it is not known."""

    href: str
    question: str
    answer: str | None
    media: str
    how: str
    status: str
    judged: str
    supported: str
    tools: tuple[str, ...]
    turns: int
    pictures: int
    seconds: float
    created: datetime | None


def write_index(
    folder: Path, out: Path | None = None, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> Path:
    """Write the index of the episodes in `folder`, and of those that its result files name, into `out`
    (default: the folder), with a page for each episode and each result file."""
    out = out or folder
    logs, results, problems = _found(folder)
    verdicts = {Path(row.episode).stem: judged(row) for run in results for row in run.rows if row.episode}
    named = [Path(row.episode) for run in results for row in run.rows if row.episode]
    logs = list({path.stem: path for path in [*named, *logs]}.values())
    if not logs and not results and not problems:
        raise UsageError(f"{folder}: no episodes and no results in it; r4 ask and r4 eval write some")
    rows, unread = _rows(logs, verdicts)
    jobs = [Job(path, out / "pages" / f"{path.stem}.html", verdicts.get(path.stem)) for path, _ in rows]
    unmade = write_pages(jobs, progress)
    broken = {job.log for job in unmade}
    problems += unread + [f"{job.log.name}: {why}" for job, why in unmade.items()]
    listed = sorted(
        (row for path, row in rows if path not in broken),
        key=lambda row: row.created or datetime.min,
        reverse=True,
    )
    evaluations = [_evaluation([run], f"evaluation-{_name(run.path, folder)}.html", out) for run in results]
    evaluations += [_evaluation(runs, f"compared-{key}.html", out) for key, runs in _alike(results)]
    return write(out / "index.html", index_page(folder, listed, evaluations, problems))


def index_page(
    folder: Path, listed: list[Listed], evaluations: list[tuple[str, str]], problems: list[str]
) -> str:
    """The index itself. evaluations: address and title of each result page."""
    return render(
        "index.html",
        title=f"Episodes: {folder.absolute().name}",
        scripts=("index.js",),
        folder=str(folder.absolute()),
        listed=listed,
        evaluations=evaluations,
        problems=problems,
        statuses=sorted({row.status for row in listed}),
        tools=sorted({tool for row in listed for tool in row.tools}),
        known=any(row.judged for row in listed),
        version=__version__,
    )


def _found(folder: Path) -> tuple[list[Path], list[Results], list[str]]:
    """The episodes and the result files in a folder and in those right below it, and which can't be read."""
    logs, results, problems = [], [], []
    for path in sorted({*folder.glob("*.jsonl"), *folder.glob("*/*.jsonl")}):
        match kind_of(path):
            case "episode":
                logs.append(path)
            case "results":
                try:
                    run = Results.read(path)
                    if run.rows:
                        results.append(run)
                    else:
                        problems.append(f"{path.name}: no question was asked yet")
                except R4Error as error:
                    problems.append(one_line(error))
    return logs, results, problems


def _rows(
    logs: Iterable[Path], verdicts: dict[str, Judged | None]
) -> tuple[list[tuple[Path, Listed]], list[str]]:
    rows, problems = [], []
    for path in logs:
        try:
            episode, damage = read_episode(path)
            rows.append((path, _listed(episode, verdicts.get(path.stem))))
            if damage:
                problems.append(damage)
        except R4Error as error:
            problems.append(one_line(error))
    return rows, problems


def _listed(episode: Episode, verdict: Judged | None) -> Listed:
    story = tell(episode)
    end = episode.end or {}
    return Listed(
        href=quote(f"pages/{episode.path.stem}.html"),
        question=story.question,
        answer=story.answer,
        media=story.media,
        how=how_of(episode.header),
        status=story.status,
        judged=verdict.css if verdict else "",
        supported=end.get("supported", "unchecked") if story.answer is not None else "",
        tools=tuple(sorted(story.tools)),
        turns=story.spent.get("turns", len(story.turns)),
        pictures=story.spent.get("images", len(story.pictures)),
        seconds=story.spent.get("seconds", 0.0),
        created=story.created,
    )


def how_of(header: dict[str, Any]) -> str:
    """Who looked, and how: `r4-ocr`, `r4-ocr, single pass`, `r4-ocr, blank-crop`."""
    apart = header.get("control") or ("" if header.get("tools") else "single pass")
    return f"{header.get('policy')}{', ' if apart else ''}{apart}"


def _alike(results: Sequence[Results]) -> list[tuple[str, list[Results]]]:
    """Result files of the same questions, where there are several: worth a page side by side."""
    groups: dict[str, list[Results]] = {}
    for run in results:
        groups.setdefault(str(run.header["questions"]["sha256"])[:12], []).append(run)
    return [(key, runs) for key, runs in groups.items() if len(runs) > 1]


def _name(path: Path, folder: Path) -> str:
    """A name for what was found in a folder: two files of one name in different folders have two."""
    return "-".join(path.relative_to(folder).with_suffix("").parts)


def _evaluation(runs: list[Results], name: str, out: Path) -> tuple[str, str]:
    """Write the page of result files beside the index; its address and title."""
    write_results_page(runs, out, name=name)
    title = runs[0].title if len(runs) == 1 else f"{len(runs)} runs of {runs[0].header['questions']['name']}"
    return quote(name), title
