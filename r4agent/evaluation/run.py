"""A run of an evaluation: questions through a subject, into a result file, by one process or several.

Promises: a killed run is resumed without losing or repeating a row; when questions fail one after another
the run stops and says why, and what was scored stays.
Does not: overwrite: each run that is not resumed has a file of its own.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from r4agent.budget import Budget
from r4agent.errors import RunError, UsageError
from r4agent.evaluation.asker import Asker
from r4agent.evaluation.questions import Questions
from r4agent.evaluation.results import SCHEMA, Results, Row
from r4agent.evaluation.subject import Subject, equal_pixels, machine
from r4agent.evaluation.workers import ask_in_processes, ask_in_threads
from r4agent.graphs.opening import new_id, versions
from r4agent.item import Item
from r4agent.log import Log, read_lines
from r4agent.media.store import home
from r4agent.reader import Reader

Progress = Callable[[int, int], None]
GIVE_UP = 5  # questions that fail one after another: then it is not the questions


def evaluate(
    questions: Questions,
    subject: Subject | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    workers: int = 1,
    budgets: Mapping[str, Budget] | None = None,
    progress: Progress | None = None,
) -> Results:
    """Ask every question and score it; returns the results, whose `path` is the file.

    out: folder of result files, `home()/results` by default. resume: go on with the latest run of the same
    questions and config in it, trying failed ones again; if it is finished there is nothing to do, and if
    there is none, one begins.
    workers: who ask at once: processes, where the policy is a name; threads, which share its engine, where it
    is a chat model. budgets: by an item's id, where one has another than the subject's. progress: called with
    questions done and in all. The control `equal-pixels` first runs plain rumination, unless `out` has a
    finished run of it.
    Raises RunError when the run can't go on; what was scored is kept.
    """
    subject, folder = subject or Subject(), Path(out) if out is not None else home() / "results"
    if workers < 1:
        raise UsageError(f"workers {workers}: must be 1 or more")
    if budgets is not None and subject.control == "equal-pixels":
        raise UsageError("budgets: the control equal-pixels has its own; leave out one of the two")
    header = _header(questions, subject, workers)
    if budgets is not None:
        header["config"]["budgets"] = _digest(budgets)
    if subject.control == "equal-pixels":
        baseline = _baseline(questions, subject.rumination, folder, workers, progress)
        header["config"]["baseline"] = baseline.path.name  # a resumed run must not mix the costs of two
        budgets = {row.id: equal_pixels(row, subject.budget, subject.speaks) for row in baseline.rows}
    slug = _slug(header)
    path = _begun(folder, slug, header) if resume else None
    path = path or folder / f"{new_id()}-{slug}.jsonl"
    Log(path).once("results", header)
    todo = _todo(questions, Results.read(path), subject.budget, budgets or {})
    try:
        with closing(_asked(subject, path, todo, workers)) as rows:
            _watch(rows, len(questions.items) - len(todo), len(questions.items), progress)
    except BaseException:
        if not Results.read(path).rows:  # a policy that can't be loaded leaves nothing to resume or look at
            path.unlink()
        raise
    return Results.read(path)


def _todo(
    questions: Questions, there: Results, budget: Budget, budgets: Mapping[str, Budget]
) -> list[tuple[Item, Budget]]:
    """What is not scored yet, with what it may cost; what failed before goes last, to bar nothing's way."""
    done, failed = {row.id for row in there.scored}, {row.id for row in there.rows if row.failed}
    todo = [(item, budgets.get(item.id, budget)) for item in questions.items if item.id not in done]
    return sorted(todo, key=lambda asked: asked[0].id in failed)


def _watch(rows: Iterable[Row], done: int, total: int, progress: Progress | None) -> None:
    """Follow the rows as they are written; RunError where it is no use to go on."""
    failures = 0
    if progress:
        progress(done, total)
    for count, row in enumerate(rows, start=done + 1):
        if progress:
            progress(count, total)
        failures = failures + 1 if row.failed else 0
        if failures == GIVE_UP:
            raise RunError(
                f"{GIVE_UP} questions failed in a row, the last with: {row.error}; resume it when mended"
            )


def _asked(subject: Subject, path: Path, todo: list[tuple[Item, Budget]], workers: int) -> Generator[Row]:
    if workers == 1:
        return _in_turn(subject, path, todo)
    many = ask_in_processes if isinstance(subject.policy, str) else ask_in_threads
    return many(subject, path, todo, workers)


def _in_turn(subject: Subject, path: Path, todo: list[tuple[Item, Budget]]) -> Generator[Row]:
    asker = Asker(subject, path)
    for item, budget in todo:
        yield asker.ask(item, budget)


def _baseline(
    questions: Questions, subject: Subject, folder: Path, workers: int, progress: Progress | None
) -> Results:
    """A finished run of rumination on the same questions: what a single pass has to match."""
    results = evaluate(questions, subject, out=folder, resume=True, workers=workers, progress=progress)
    if not results.finished:
        failed = len(results.rows) - len(results.scored)
        raise RunError(f"equal-pixels needs rumination's costs, and {failed} of its questions failed; resume")
    return results


def _header(questions: Questions, subject: Subject, workers: int) -> dict[str, Any]:
    return {
        "type": "results",
        "schema": SCHEMA,
        "created": time.time(),
        "questions": questions.header(),
        "config": subject.config(Reader().name),
        "prompt": subject.prompt(),
        "versions": versions(),
        "machine": machine(),
        "workers": workers,
    }


def _digest(budgets: Mapping[str, Budget]) -> str:
    said = json.dumps({key: budgets[key].model_dump() for key in sorted(budgets)})
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _begun(folder: Path, slug: str, header: dict[str, Any]) -> Path | None:
    """The latest result file in the folder that asks the same of the same subject."""
    for path in sorted(folder.glob(f"*-{slug}.jsonl"), reverse=True):
        if not read_lines(path)[0]:  # killed, or out of disk space, before its header was written
            continue
        there = Results.read(path)
        if all(there.header[key] == header[key] for key in ("questions", "config")):
            for key in ("versions", "prompt"):
                if there.header[key] != header[key]:
                    raise RunError(
                        f"{path}: was begun with other {key}; evaluate {there.title!r} anew, without resume"
                    )
            return path
    return None


def _slug(header: dict[str, Any]) -> str:
    """What a result file is of, as a part of its name."""
    config = header["config"]
    of = f"{config['policy']} {config['control'] or config['graph']} {header['questions']['name']}"
    return re.sub(r"[^a-z0-9]+", "-", of.lower()).strip("-")[:80]
