"""The part of the command `r4` that trains: trajectories, episodes, train.

Promises: as `r4agent.command`, whose subcommands these are.
Does not: hold logic of its own.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from r4agent.errors import RunError, UsageError
from r4agent.options import questions_of

if TYPE_CHECKING:
    from r4agent.training.store import EpisodeStore, Stored

DONE = 0


def trajectories(options: argparse.Namespace) -> int:
    from r4agent.budget import Budget
    from r4agent.engines import Checkpoint
    from r4agent.progress import counter, print_made
    from r4agent.training.store import EpisodeStore
    from r4agent.training.trajectories import trajectories

    budget = Budget.parse(options.budget).over(Checkpoint.load(options.model).budget)
    questions = questions_of(options)
    with counter("items") as step:
        made = trajectories(
            questions,
            options.model,
            EpisodeStore(options.out),
            options.kind,
            slips=options.slips,
            seed=options.seed,
            budget=budget,
            progress=step,
        )
    if options.json:
        print(json.dumps(vars(made) | {"store": str(options.out)}))
    else:
        print_made(made, options.out)
    return DONE if made.kept + made.there else RunError.exit_code


def episodes(options: argparse.Namespace) -> int:
    from r4agent.training.store import EpisodeStore

    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # progress is ours to draw
    store = EpisodeStore(options.store)
    match options.action:
        case "list":
            _list(options, store)
        case "gather":
            from r4agent.media.store import home

            new, running = store.gather(options.logs or home() / "episodes", stage=options.as_stage)
            waiting = f"; {running} have not ended and stay out" if running else ""
            print(f"{new} new, {len(store)} in {store.folder}{waiting}")
        case "export":
            _export(options, store)
        case "import":
            _import(options, store)
    return DONE


def _list(options: argparse.Namespace, store: "EpisodeStore") -> None:
    from dataclasses import asdict

    from r4agent.progress import print_entries

    entries = store.entries(**_which(options))
    if options.json:
        for entry in entries:
            print(json.dumps(asdict(entry) | {"tools": entry.tools.split()}))
    else:
        print_entries(entries)


def _export(options: argparse.Namespace, store: "EpisodeStore") -> None:
    from r4agent.media.store import MediaStore
    from r4agent.progress import counter
    from r4agent.training import export, messages
    from r4agent.training.rowfile import save

    which = _which(options)
    total = len(store.entries(**which))
    if not total:
        raise UsageError(f"{store.folder}: no episode fits; r4 episodes list shows what there is")
    form = export.to_dataset if options.form == "tokens" else messages.to_messages
    with counter("episodes") as step:
        save(form(_counted(store.select(**which), total, step), MediaStore()), options.out)
    print(f"{total} episodes in {options.out}")


def _import(options: argparse.Namespace, store: "EpisodeStore") -> None:
    from r4agent.media.store import MediaStore
    from r4agent.progress import counter
    from r4agent.training import export
    from r4agent.training.rowfile import load

    rows, new = load(options.rows, export.features()), 0
    with counter("rows") as step:
        for one in _counted(export.episodes(rows, MediaStore()), len(rows), step):
            new += store.add(one.episode, stage=one.stage, item=one.item, rewards=one.rewards)
    print(f"{new} new, {len(store)} in {store.folder}")


def _which(options: argparse.Namespace) -> dict[str, Any]:
    names = ("status", "supported", "stage", "tools", "exact", "max_turns", "max_pictures", "max_tokens")
    return {name: getattr(options, name) for name in names}


def _counted(stored: "Iterable[Stored]", total: int, step: Callable[[int, int], None]) -> "Iterator[Stored]":
    for number, one in enumerate(stored):
        step(number, total)
        yield one
    step(total, total)


def train(options: argparse.Namespace) -> int:
    from r4agent.progress import counter, print_stage
    from r4agent.training.curriculum import Curriculum
    from r4agent.training.estimate import estimate

    given = {"model": options.model, "out": options.out}
    curriculum = Curriculum.read(options.curriculum, **{k: v for k, v in given.items() if v is not None})
    if options.dry_run:
        curriculum = curriculum.dry()
    speaks = os.environ.get("RANK", "0") == "0"  # of the processes of one run, as launchers number them
    for needs in estimate(curriculum):
        if speaks:
            print(needs, file=sys.stdout if options.estimate else sys.stderr)
    if options.estimate:
        return DONE
    from r4agent.training.stages import run

    for done in run(curriculum, only=options.stage, resume=options.resume, watch=counter):
        if options.json and speaks:
            print(json.dumps(done.told()), flush=True)
        elif speaks:
            print_stage(done)
    return DONE
