"""Outcomes: what stages of a curriculum came to, as `r4 eval` finds it, and as a page.

Promises: an evaluation that was finished is not repeated, one that was killed goes on; the page of a stage
and that of all stages are of what is on disk.
Does not: train.
"""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

from r4agent.engines import open_engine
from r4agent.evaluation import Results, Subject, evaluate
from r4agent.page import write_results_page
from r4agent.page.training_page import Trained, write_training_page
from r4agent.policy.chat import ChatR4
from r4agent.training import recorder
from r4agent.training.curriculum import Curriculum
from r4agent.training.recorder import Progress

START = "00-start"  # the folder of what the model could do before

Watch = Callable[[str], AbstractContextManager[Progress]]
"""From what is counted to a function that is told how many of it are done, and of how many."""


def unwatched(unit: str) -> AbstractContextManager[Progress]:
    """Nobody looks on."""
    return nullcontext(lambda done, total: None)


def evaluated(curriculum: Curriculum, model: str, folder: Path, watch: Watch) -> Results | None:
    """The evaluation of a checkpoint, in `folder/evaluation`; None where the curriculum wants none."""
    asked = curriculum.evaluation
    if asked is None:
        return None
    budget = curriculum.asked_with
    done, questions = folder / "evaluation" / "done", asked.load()
    decides = asked.model_dump(mode="json") | {"budget": budget.model_dump(), "sha256": questions.sha256}
    said = json.dumps(decides)
    if done.exists() and done.read_text() == said:
        return _latest(folder)
    with closing(open_engine(asked.engine, model, base_url=None, api_key=None)) as engine:
        policy = ChatR4(model=model, engine=engine, max_tokens=asked.max_tokens)
        subject = Subject(policy, budget=budget)
        with watch(f"questions after {folder.name}") as progress:
            results = evaluate(
                questions,
                subject,
                out=folder / "evaluation",
                resume=True,
                workers=asked.workers,
                progress=progress,
            )
    write_results_page(results, folder / "evaluation")
    if results.finished:  # else those that failed are asked again
        done.write_text(said)
    return results


def write_pages(curriculum: Curriculum) -> None:
    """The page of all stages so far, and that of each."""
    told = [_trained(curriculum.out / START, "start")]
    for number, stage in enumerate(curriculum.stages, start=1):
        folder = curriculum.folder(number)
        if (folder / "checkpoint").is_dir():
            told.append(_trained(folder, stage.name))
            write_training_page(told[-1:], folder / "index.html", stage.name)
    known = [stage for stage in told if stage.lines or stage.results]
    write_training_page(known, curriculum.out / "index.html", curriculum.out.name)


def _trained(folder: Path, name: str) -> Trained:
    note = folder / "stage.json"
    return Trained(
        name=name,
        folder=folder,
        lines=tuple(recorder.read(folder / "metrics.jsonl")),
        results=_latest(folder),
        config=json.loads(note.read_text()) if note.exists() else {},
    )


def _latest(folder: Path) -> Results | None:
    files = sorted((folder / "evaluation").glob("*.jsonl"))
    return Results.read(files[-1]) if files else None
