"""The page of a training run: what each stage came to when it was evaluated, and its curves.

Promises: every figure that a trainer logged is drawn, those that are read first in sight and the others
folded away; one that never changed is told in words; an evaluation's figures are those of its own page,
which is linked.
Does not: train, evaluate, or read a trainer's files.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from r4agent import __version__
from r4agent.evaluation.results import Results
from r4agent.evaluation.summary import METRICS, summary
from r4agent.page.plots import Bar, bars, trend
from r4agent.page.render import render, write
from r4agent.page.results_page import NAMES

FIRST = ("loss", "reward", "rewards/", "mean_token_accuracy", "tool_rate", "failure_rate", "logprob_gap/max")
"""Curves in sight, by name or by how it begins, in this order."""
NO_CURVES = ("step", "epoch")


@dataclass(frozen=True, slots=True)
class Trained:
    """A stage. lines: what its trainer logged, `{"step": n, name: value, …}`. results: of its evaluation.
    config: what decided it, to be shown."""

    name: str
    folder: Path
    lines: Sequence[Mapping[str, Any]] = ()
    results: Results | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shown:
    """A stage on the page. level: figures that never changed. evaluation: where its evaluation's page is from
    this one, "" if there is none."""

    name: str
    first: tuple[tuple[str, Markup], ...]
    others: tuple[tuple[str, Markup], ...]
    level: tuple[tuple[str, float], ...]
    steps: int
    figures: dict[str, Any]
    evaluation: str
    config: tuple[tuple[str, str], ...]


def write_training_page(stages: Sequence[Trained], path: Path, title: str) -> Path:
    """Write the page of these stages, in their order."""
    return write(path, training_page(stages, path.parent, title))


def training_page(stages: Sequence[Trained], folder: Path, title: str) -> str:
    """The page itself, as it stands in `folder`."""
    shown = [_shown(stage, folder) for stage in stages]
    judged = [stage for stage in shown if stage.figures]
    metrics = [m for m in METRICS if any(stage.figures[m] is not None for stage in judged)]
    groups = {
        NAMES[m]: [_bar(stage.figures[m], stage.figures["ci95"].get(m)) for stage in judged] for m in metrics
    }
    names = [stage.name for stage in judged]
    return render(
        "training.html",
        title=f"Training: {title}",
        about=title,
        stages=shown,
        judged=judged,
        metrics=[(m, NAMES[m]) for m in metrics],
        headline=bars(groups, names, "Scores after each stage with 95 % intervals") if groups else None,
        version=__version__,
    )


def _shown(stage: Trained, folder: Path) -> Shown:
    logged = dict(_logged(stage.lines))
    level = {name: points[0][1] for name, points in logged.items() if len({y for _, y in points}) == 1}
    curves = {name: trend(points, name) for name, points in logged.items() if name not in level}
    first = [name for begins in FIRST for name in curves if name == begins or _under(name, begins)]
    there = stage.results is not None
    return Shown(
        name=stage.name,
        first=tuple((name, curves[name]) for name in first),
        others=tuple((name, curve) for name, curve in curves.items() if name not in first),
        level=tuple(level.items()),
        steps=max((int(line["step"]) for line in stage.lines), default=0),
        figures=summary(stage.results) if stage.results is not None else {},
        evaluation=quote(os.path.relpath(stage.folder / "evaluation" / "index.html", folder))
        if there
        else "",
        config=tuple((key, _text(value)) for key, value in stage.config.items()),
    )


def _under(name: str, begins: str) -> bool:
    """TRL logs a reward as `rewards/<name>/mean`, with its spread beside it."""
    return begins.endswith("/") and name.startswith(begins) and name.endswith("/mean")


def _logged(lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Each figure by step, in the order in which they first came."""
    for name in dict.fromkeys(name for line in lines for name in line if name not in NO_CURVES):
        points = [
            (float(line["step"]), float(line[name]))
            for line in lines
            if isinstance(line.get(name), int | float) and math.isfinite(line[name])
        ]
        if points:
            yield name, points


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "any"
    return "none" if value is None else str(value)


def _bar(value: float | None, ci95: Sequence[float] | None) -> Bar:
    return Bar(value, *ci95) if ci95 else Bar(value, value or 0, value or 0)
