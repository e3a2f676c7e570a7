"""The command `r4`: ask, eval, trajectories, episodes, compare, train, view, textworld, mcp, clean, doctor.

Promises: what a program reads goes to standard output, progress and errors to standard error; progress
is drawn on a terminal only; errors are one line; the exit code says what happened:
    0 answered · 1 no answer (not found, or the budget ended) · 2 wrong arguments · 3 the media can't be
    used · 4 something is not installed · 5 the run failed · 70 a bug in r4agent · 130 interrupted
Does not: hold logic of its own. Each subcommand calls the library as a user would.
"""

import argparse
import errno
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r4agent import training_command
from r4agent.arguments import parse
from r4agent.errors import MissingError, R4Error, RunError, UsageError, one_line
from r4agent.options import budget_of, policy_of, questions_of, reader_or_none

if TYPE_CHECKING:
    from r4agent.doctor.check import Check
    from r4agent.graphs.rumination import Graph

ANSWERED, NO_ANSWER, BUG, INTERRUPTED = 0, 1, 70, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parse(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # an answer may be in a script that the terminal has not
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = COMMANDS[options.command](options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except R4Error as error:
        print(f"r4: {one_line(error, 500)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("r4: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ANSWERED
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered has nowhere to go
            print("r4: the output can't be written: no space left; the answer is in the log", file=sys.stderr)
            return RunError.exit_code
        if os.environ.get("R4_DEBUG"):
            raise
        print(
            f"r4: internal error: {type(error).__name__}: {one_line(error)}; "
            "set R4_DEBUG=1 for the traceback and please report it",
            file=sys.stderr,
        )
        return BUG


def _ask(options: argparse.Namespace) -> int:
    from r4agent.graphs import create_rumination_graph, create_single_pass_graph
    from r4agent.progress import live, print_result

    for out in (options.page, options.gif):
        if out and out.is_dir():
            raise UsageError(f"{out}: is a folder; name a file")
    create = create_single_pass_graph if options.single_pass else create_rumination_graph
    sys.path.append(os.getcwd())  # where MODULE:NAME is looked for last, as `python -m` does first
    policy = policy_of(options)
    graph = create(policy, budget=budget_of(options, policy), reader=reader_or_none())
    with live(options.media) as show:
        result = _run(graph, {"media": options.media, "question": options.question}, show)
    if options.json:
        print(json.dumps(result))
    else:
        print_result(result)
    _show(Path(result["episode"]), options.page, options.gif)
    return ANSWERED if result["answer"] is not None else NO_ANSWER


def _run(graph: "Graph", question: Any, show: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run the graph, handing its custom events to `show`; returns the output."""
    from r4agent.graphs.state import OUTCOME

    result: dict[str, Any] = {}
    for mode, data in graph.stream(question, stream_mode=["custom", "values"]):
        assert isinstance(data, dict)
        if mode == "custom":
            show(data)
        else:
            result = data
    return {key: result[key] for key in (*OUTCOME, "episode")}


def _eval(options: argparse.Namespace) -> int:
    from r4agent.evaluation import Subject, evaluate, summary
    from r4agent.progress import counter, print_summary

    if options.out and options.out.exists() and not options.out.is_dir():
        raise UsageError(f"--out {options.out}: is no folder; results are files in one")
    sys.path.append(os.getcwd())
    policy = policy_of(options)
    subject = Subject(
        policy=policy,
        single_pass=options.single_pass,
        control=options.control,
        budget=budget_of(options, policy),
    )
    workers = options.workers
    if workers is None:  # the reader keeps a core busy; what another policy needs is not ours to say
        workers = min(os.cpu_count() or 1, 8) if subject.policy == "ocr" else 1
    questions = questions_of(options)
    with counter("questions") as step:
        results = evaluate(
            questions, subject, out=options.out, resume=options.resume, workers=workers, progress=step
        )
    figures = summary(results)
    if options.json:
        print(json.dumps(figures | {"results": str(results.path)}))
    else:
        print_summary(results, figures)
    return RunError.exit_code if figures["failed"] else ANSWERED


def _compare(options: argparse.Namespace) -> int:
    from r4agent.evaluation import Results, compare
    from r4agent.progress import print_comparison

    found = compare(Results.read(_result_file(options.a)), Results.read(_result_file(options.b)))
    if options.json:
        print(json.dumps(found))
    else:
        print_comparison(found)
    return ANSWERED


def _result_file(name: str) -> Path:
    from r4agent.media.store import home

    if Path(name).is_file():
        return Path(name)
    stored = home() / "results" / f"{name.removesuffix('.jsonl')}.jsonl"
    if "/" not in name and stored.is_file():
        return stored
    raise UsageError(
        f"{name}: no such file, and no results of that name in {stored.parent}; r4 eval writes them"
    )


def _show(episode: Path, page: Path | None, gif: Path | None) -> None:
    """Draw an episode; says where on standard error, since standard output is for the answer."""
    from r4agent.page import write_episode_page, write_gif

    if page:
        print(f"page: {write_episode_page(episode, page)}", file=sys.stderr)
    if gif:
        print(f"gif: {write_gif(episode, gif)}", file=sys.stderr)


def _view(options: argparse.Namespace) -> int:
    from r4agent.page import view, write_gif
    from r4agent.page.reading import find
    from r4agent.progress import counter

    what = [find(name) for name in options.what]
    if options.gif:
        print(write_gif(what[0], options.gif))
    if options.out or not options.gif:
        with counter("pages") as step:
            out = view(what, options.out, progress=step)
        print(out)
    return ANSWERED


def _textworld(options: argparse.Namespace) -> int:
    from r4agent.progress import counter
    from r4agent.textworld import generate
    from r4agent.textworld.gallery import gallery
    from r4agent.textworld.levels import LEVELS

    level, n, seed = options.level, options.n, options.seed
    with counter("clips") as step:
        if options.gallery:
            levels = tuple(LEVELS) if level is None else (level,)
            out = gallery(options.gallery, levels, 3 if n is None else n, seed, progress=step)
        elif level is None or n is None:
            raise UsageError("textworld --out: give --level and --n")
        else:
            out = generate(level, n, seed, options.out, progress=step)
    print(out)
    return ANSWERED


def _mcp(options: argparse.Namespace) -> int:
    from r4agent.budget import Budget
    from r4agent.media.roots import Roots

    if options.root is None and Path.cwd() == Path("/"):
        raise UsageError("mcp: the current folder is /, which has everything; give --root DIR")
    roots = Roots(options.root or ["."])
    try:
        from r4agent.mcp_server import serve
    except ModuleNotFoundError as error:
        if error.name != "mcp":
            raise
        raise MissingError('r4 mcp needs the MCP SDK; run: pip install "r4agent[mcp]"') from error
    sys.path.append(os.getcwd())
    serve(policy_of(options), roots, Budget.parse(options.budget), reader_or_none())
    return ANSWERED


def _clean(options: argparse.Namespace) -> int:
    from r4agent.episode import pictures_of
    from r4agent.media.store import MediaStore, home
    from r4agent.training.store import pictures_of_stores

    freed = MediaStore().collect(pictures_of(home() / "episodes") | pictures_of_stores(forget=options.forget))
    print(f"freed {freed / 1e6:.1f} MB in {home() / 'pictures'}; delete old episodes first to free more")
    return ANSWERED


def _doctor(options: argparse.Namespace) -> int:
    from r4agent.progress import print_check

    well = True
    for check in _checks(options):
        print_check(check)
        well = well and bool(check.ok)
    return ANSWERED if well else MissingError.exit_code


def _checks(options: argparse.Namespace) -> "Iterable[Check]":
    """Of the model, or where none is named of the installation."""
    policy = policy_of(options)
    if isinstance(policy, str):
        if options.budget:
            raise UsageError("--budget goes with --model PATH|ID: it is what the model is examined for")
        from r4agent.doctor.installation import examine

        return examine()
    from r4agent.budget import Budget
    from r4agent.doctor.model import examine_model

    try:
        budget = budget_of(options, policy)
    except R4Error:  # the first check says what is wrong with the checkpoint
        budget = Budget.parse(options.budget)
    return examine_model(policy, budget)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "ask": _ask,
    "eval": _eval,
    "trajectories": training_command.trajectories,
    "episodes": training_command.episodes,
    "compare": _compare,
    "train": training_command.train,
    "view": _view,
    "textworld": _textworld,
    "mcp": _mcp,
    "clean": _clean,
    "doctor": _doctor,
}
