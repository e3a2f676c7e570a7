"""The command `r4`: ask, eval, compare, view, textworld, clean, doctor.

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from r4agent import __version__
from r4agent.errors import MissingError, R4Error, RunError, UsageError, one_line, printable

if TYPE_CHECKING:
    from r4agent.evaluation import Questions
    from r4agent.graphs.rumination import Graph
    from r4agent.reader import Reader

ANSWERED, NO_ANSWER, BUG, INTERRUPTED = 0, 1, 70, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # an answer may be in a script that the terminal has not
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code: int = options.run(options)
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


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every error here."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"r4: {printable(message)}; run {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="r4",
        description="Ask a question about a text-rich video, document or picture.",
        epilog="exit codes: 0 answered, 1 no answer, 2 wrong arguments, 3 media, 4 not installed, 5 failed",
    )
    parser.add_argument("--version", action="version", version=f"r4agent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    ask = commands.add_parser("ask", help="ask a question about a video, PDF, picture or folder")
    ask.add_argument("media", metavar="VIDEO", help="video, gif, PDF, picture, or folder of pictures")
    ask.add_argument("question", metavar="QUESTION")
    ask.add_argument("--policy", default="ocr", metavar="ocr|MODULE:NAME", help="who looks (default: ocr)")
    ask.add_argument(
        "--budget",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="turns, images, image_tokens, new_tokens, seconds, overview_images, …; may be repeated",
    )
    ask.add_argument("--single-pass", action="store_true", help="see the overview once, no tools")
    ask.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    ask.add_argument("--page", type=Path, metavar="OUT.html", help="also write a page of what was seen")
    ask.add_argument("--gif", type=Path, metavar="OUT.gif", help="also animate the evidence")
    ask.set_defaults(run=_ask)

    test = commands.add_parser("eval", help="score a policy on many questions, with controls and intervals")
    test.add_argument(
        "questions", metavar="textworld|PATH.jsonl", help="the text world, or a file of questions"
    )
    test.add_argument(
        "--root",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder that media may lie in, besides that of the questions; may be repeated",
    )
    test.add_argument("--level", type=int, metavar="L", help="of the text world")
    test.add_argument("--n", type=int, metavar="N", help="how many questions, drawn by lot (default: all)")
    test.add_argument("--seed", type=int, default=0, metavar="S", help="of the lot, or of the text world")
    test.add_argument("--policy", default="ocr", metavar="ocr|MODULE:NAME", help="who looks (default: ocr)")
    test.add_argument("--single-pass", action="store_true", help="see the overview once, no tools")
    test.add_argument(
        "--control",
        choices=("equal-pixels", "random-crop", "blank-crop", "no-tool"),
        help="equal-pixels: a single pass with as many image tokens; the others: looking spoilt",
    )
    test.add_argument("--budget", action="append", default=[], metavar="KEY=VALUE", help="as in r4 ask")
    test.add_argument(
        "--workers", type=int, metavar="W", help="processes (default: for ocr one a core, at most 8; else 1)"
    )
    test.add_argument("--out", type=Path, metavar="DIR", help="folder of results (default: $R4_HOME/results)")
    test.add_argument("--resume", action="store_true", help="go on with the latest run of the same questions")
    test.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    test.set_defaults(run=_eval)

    versus = commands.add_parser("compare", help="compare two evaluations on the questions that both asked")
    versus.add_argument("a", metavar="A", help="a result file of r4 eval, or its name in $R4_HOME/results")
    versus.add_argument("b", metavar="B", help="another; differences are B − A")
    versus.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    versus.set_defaults(run=_compare)

    view = commands.add_parser("view", help="make a page of an episode, of a folder of them, or of results")
    view.add_argument(
        "what", nargs="+", metavar="EPISODE|DIR|RESULTS", help="a file, a folder, an id; several result files"
    )
    view.add_argument("--out", type=Path, metavar="PATH", help="the page, or the folder of the index")
    view.add_argument("--gif", type=Path, metavar="OUT.gif", help="animate an episode's evidence")
    view.set_defaults(run=_view)

    world = commands.add_parser("textworld", help="generate text-rich videos with questions and exact boxes")
    world.add_argument("--level", type=int, metavar="L", help="0 to 3; a gallery shows all unless told")
    world.add_argument("--n", type=int, metavar="N", help="how many clips; of a gallery, a level (3)")
    world.add_argument("--seed", type=int, default=0, metavar="S")
    where = world.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="DIR", help="write clips and their records")
    where.add_argument("--gallery", type=Path, metavar="OUT.html", help="write a page that shows some")
    world.set_defaults(run=_textworld)

    clean = commands.add_parser("clean", help="delete stored pictures that no episode refers to")
    clean.set_defaults(run=_clean)

    doctor = commands.add_parser("doctor", help="check this installation, and say what to change")
    doctor.set_defaults(run=_doctor)
    return parser


def _ask(options: argparse.Namespace) -> int:
    from r4agent.budget import Budget
    from r4agent.graphs import create_rumination_graph, create_single_pass_graph
    from r4agent.progress import live, print_result

    for out in (options.page, options.gif):
        if out and out.is_dir():
            raise UsageError(f"{out}: is a folder; name a file")
    budget = Budget.parse(options.budget)
    create = create_single_pass_graph if options.single_pass else create_rumination_graph
    sys.path.append(os.getcwd())  # where MODULE:NAME is looked for last, as `python -m` does first
    graph = create(options.policy, budget=budget, reader=_reader())
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
    result: dict[str, Any] = {}
    for mode, data in graph.stream(question, stream_mode=["custom", "values"]):
        assert isinstance(data, dict)
        if mode == "custom":
            show(data)
        else:
            result = data
    return {key: result[key] for key in ("answer", "status", "supported", "evidence", "usage", "episode")}


def _reader() -> "Reader | None":
    """A reader to check answers with. Without the extra `ocr` answers are said to be unchecked, and the ocr
    policy, which needs one, says what to install."""
    from r4agent.media.store import home
    from r4agent.reader import Reader

    try:
        return Reader(cache=home() / "read")
    except MissingError:
        return None


def _eval(options: argparse.Namespace) -> int:
    from r4agent.budget import Budget
    from r4agent.evaluation import Subject, evaluate, summary
    from r4agent.progress import counter, print_summary

    if options.out and options.out.exists() and not options.out.is_dir():
        raise UsageError(f"--out {options.out}: is no folder; results are files in one")
    sys.path.append(os.getcwd())
    subject = Subject(
        policy=options.policy,
        single_pass=options.single_pass,
        control=options.control,
        budget=Budget.parse(options.budget),
    )
    workers = options.workers
    if workers is None:  # the reader keeps a core busy; what another policy needs is not ours to say
        workers = min(os.cpu_count() or 1, 8) if options.policy == "ocr" else 1
    questions = _questions(options)
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


def _questions(options: argparse.Namespace) -> "Questions":
    from r4agent.evaluation import of_file, of_textworld

    if options.questions == "textworld":
        if options.level is None or options.n is None:
            raise UsageError("eval textworld: give --level and --n")
        return of_textworld(options.level, options.n, options.seed)
    if options.level is not None:
        raise UsageError(f"--level goes with textworld; {options.questions} is taken for a file of questions")
    return of_file(options.questions, options.n, options.seed, options.root)


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


def _clean(options: argparse.Namespace) -> int:
    from r4agent.episode import pictures_of
    from r4agent.media.store import MediaStore, home

    freed = MediaStore().collect(pictures_of(home() / "episodes"))
    print(f"freed {freed / 1e6:.1f} MB in {home() / 'pictures'}; delete old episodes first to free more")
    return ANSWERED


def _doctor(options: argparse.Namespace) -> int:
    from r4agent.doctor import examine
    from r4agent.progress import print_checks

    checks = examine()
    print_checks(checks)
    return 0 if all(check.ok for check in checks) else 4
