"""The arguments of the command `r4`.

Promises: what each subcommand takes, and what is wrong with a line in one line.
Does not: import anything heavy, or run: `options.command` names what `r4agent.command` does.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from r4agent import __version__
from r4agent.errors import printable


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line; ends the process with exit code 2 where it is wrong."""
    parser = _Parser(
        prog="r4",
        description="Ask a question about a text-rich video, document or picture.",
        epilog="exit codes: 0 answered, 1 no answer, 2 wrong arguments, 3 media, 4 not installed, 5 failed",
    )
    parser.add_argument("--version", action="version", version=f"r4agent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    _ask(commands.add_parser("ask", help="ask a question about a video, PDF, picture or folder"))
    _eval(commands.add_parser("eval", help="score a policy on many questions, with controls and intervals"))
    _compare(commands.add_parser("compare", help="compare two evaluations on the questions that both asked"))
    _trajectories(
        commands.add_parser("trajectories", help="make episodes to learn from, of items with known boxes")
    )
    _episodes(commands.add_parser("episodes", help="keep episodes in a store, choose from it, pass them on"))
    _train(commands.add_parser("train", help="fine-tune a model, stage by stage, as a curriculum says"))
    _view(commands.add_parser("view", help="make a page of an episode, of a folder of them, or of results"))
    _textworld(
        commands.add_parser("textworld", help="generate text-rich videos with questions and exact boxes")
    )
    _mcp(commands.add_parser("mcp", help="serve asking and looking to an MCP client, over stdio"))
    clean = commands.add_parser("clean", help="delete stored pictures that no episode refers to")
    clean.add_argument("--forget", action="store_true", help="episode stores that are no longer there")
    _doctor(commands.add_parser("doctor", help="check this installation or a model, and say what to change"))
    return parser.parse_args(arguments)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every error here."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"r4: {printable(message)}; run {self.prog} --help\n")


def _ask(ask: argparse.ArgumentParser) -> None:
    ask.add_argument("media", metavar="VIDEO", help="video, gif, PDF, picture, or folder of pictures")
    ask.add_argument("question", metavar="QUESTION")
    _policy(ask)
    ask.add_argument("--single-pass", action="store_true", help="see the overview once, no tools")
    ask.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    ask.add_argument("--page", type=Path, metavar="OUT.html", help="also write a page of what was seen")
    ask.add_argument("--gif", type=Path, metavar="OUT.gif", help="also animate the evidence")


def _eval(test: argparse.ArgumentParser) -> None:
    _asked(test)
    _policy(test)
    test.add_argument("--single-pass", action="store_true", help="see the overview once, no tools")
    test.add_argument(
        "--control",
        choices=("equal-pixels", "random-crop", "blank-crop", "no-tool"),
        help="equal-pixels: a single pass with as many image tokens; the others: looking spoilt",
    )
    test.add_argument(
        "--workers",
        type=int,
        metavar="W",
        help="questions at once: threads for --model, else processes (default: ocr one a core, at most 8; "
        "else 1)",
    )
    test.add_argument("--out", type=Path, metavar="DIR", help="folder of results (default: $R4_HOME/results)")
    test.add_argument("--resume", action="store_true", help="go on with the latest run of the same questions")
    test.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def _asked(parser: argparse.ArgumentParser) -> None:
    """Which questions."""
    parser.add_argument(
        "questions", metavar="textworld|PATH.jsonl", help="the text world, or a file of questions"
    )
    parser.add_argument(
        "--root",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder that media may lie in, besides that of the questions; may be repeated",
    )
    parser.add_argument("--level", type=int, metavar="L", help="of the text world")
    parser.add_argument("--n", type=int, metavar="N", help="how many questions, drawn by lot (default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the lot, or of the text world")


def _trajectories(made: argparse.ArgumentParser) -> None:
    _asked(made)
    made.add_argument(
        "--kind",
        choices=("deliberate", "compositional", "closer", "search"),
        required=True,
        help="one kind of operation an episode; several; small steps from board to text; board after board",
    )
    made.add_argument(
        "--slips", type=float, default=0.0, metavar="P", help="the chance that a reply goes wrong first"
    )
    made.add_argument("--model", required=True, metavar="PATH|ID", help="the student: a Qwen-VL checkpoint")
    made.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder of an episode store")
    _budget(made)
    made.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def _train(train: argparse.ArgumentParser) -> None:
    train.add_argument("curriculum", type=Path, metavar="CURRICULUM.yaml", help="the stages, as data")
    train.add_argument("--stage", metavar="NAME", help="carry out this one only")
    train.add_argument("--resume", action="store_true", help="go on where an earlier run was ended or killed")
    train.add_argument(
        "--estimate", action="store_true", help="say what memory and time it will take, and do nothing"
    )
    train.add_argument(
        "--dry-run", action="store_true", help="one step a stage, short replies, one question: does it run?"
    )
    train.add_argument("--model", metavar="PATH|ID", help="in place of the curriculum's")
    train.add_argument("--out", type=Path, metavar="DIR", help="in place of the curriculum's")
    train.add_argument("--json", action="store_true", help="print one JSON object a stage")


def _episodes(episodes: argparse.ArgumentParser) -> None:
    actions = episodes.add_subparsers(required=True, metavar="ACTION", dest="action")
    shown = actions.add_parser("list", help="what is in a store")
    shown.add_argument("store", type=Path, metavar="STORE")
    _which(shown)
    shown.add_argument("--json", action="store_true", help="print one JSON object an episode")
    taken = actions.add_parser("gather", help="put logged episodes into a store")
    taken.add_argument("store", type=Path, metavar="STORE", help="its folder, which is made if need be")
    taken.add_argument(
        "logs", type=Path, nargs="?", metavar="DIR", help="of logs (default: $R4_HOME/episodes)"
    )
    taken.add_argument("--as-stage", default="", metavar="STAGE", help="what they are for, as `deliberate`")
    out = actions.add_parser("export", help="write episodes as rows for other trainers and machines")
    out.add_argument("store", type=Path, metavar="STORE")
    out.add_argument(
        "out", type=Path, metavar="OUT", help="a .parquet file, or .jsonl with pictures beside it"
    )
    out.add_argument("--form", choices=("tokens", "messages"), default="tokens", help="of a row (tokens)")
    _which(out)
    back = actions.add_parser("import", help="put exported rows, in the form of tokens, into a store")
    back.add_argument("store", type=Path, metavar="STORE", help="its folder, which is made if need be")
    back.add_argument("rows", type=Path, metavar="FILE", help="what export wrote")


def _which(parser: argparse.ArgumentParser) -> None:
    """Which episodes of a store: the names are those of `r4agent.training.index.Which`."""
    parser.add_argument("--status", action="append", default=[], metavar="S", help="answered, refused, …")
    parser.add_argument("--supported", action="append", default=[], metavar="yes|no|unchecked")
    parser.add_argument("--stage", action="append", default=[], metavar="STAGE")
    parser.add_argument("--tools", action="append", default=[], metavar="TOOL", help="that was used")
    parser.add_argument("--exact", action="store_true", default=None, help="of token-exact policies only")
    for what in ("turns", "pictures", "tokens"):
        parser.add_argument(f"--max-{what}", type=int, metavar="N")


def _compare(versus: argparse.ArgumentParser) -> None:
    versus.add_argument("a", metavar="A", help="a result file of r4 eval, or its name in $R4_HOME/results")
    versus.add_argument("b", metavar="B", help="another; differences are B − A")
    versus.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def _view(view: argparse.ArgumentParser) -> None:
    view.add_argument(
        "what", nargs="+", metavar="EPISODE|DIR|RESULTS", help="a file, a folder, an id; several result files"
    )
    view.add_argument("--out", type=Path, metavar="PATH", help="the page, or the folder of the index")
    view.add_argument("--gif", type=Path, metavar="OUT.gif", help="animate an episode's evidence")


def _textworld(world: argparse.ArgumentParser) -> None:
    world.add_argument("--level", type=int, metavar="L", help="0 to 3; a gallery shows all unless told")
    world.add_argument("--n", type=int, metavar="N", help="how many clips; of a gallery, a level (3)")
    world.add_argument("--seed", type=int, default=0, metavar="S")
    where = world.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="DIR", help="write clips and their records")
    where.add_argument("--gallery", type=Path, metavar="OUT.html", help="write a page that shows some")


def _mcp(mcp: argparse.ArgumentParser) -> None:
    mcp.add_argument(
        "--root",
        action="append",
        metavar="DIR",
        help="a folder that media may come from (default: the current one); may be repeated",
    )
    _policy(mcp)


def _policy(parser: argparse.ArgumentParser) -> None:
    """Who looks, and what a question may cost."""
    parser.add_argument("--policy", metavar="ocr|nano|MODULE:NAME", help="who looks (default: ocr)")
    _model(parser)
    _budget(parser)


def _doctor(doctor: argparse.ArgumentParser) -> None:
    doctor.set_defaults(policy=None)
    _model(doctor)
    _budget(doctor)


def _budget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--budget",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="turns, images, image_tokens, new_tokens, seconds, overview_images, …; may be repeated",
    )


def _model(parser: argparse.ArgumentParser) -> None:
    """A model in place of a policy."""
    parser.add_argument("--model", metavar="PATH|ID", help="a Qwen-VL checkpoint that looks")
    parser.add_argument(
        "--engine",
        choices=("vllm", "http", "transformers"),
        help="what runs it (default: http with --base-url, transformers for nano, else vllm)",
    )
    parser.add_argument("--base-url", metavar="URL", help="of a vllm serve; its key is in $VLLM_API_KEY")
    parser.add_argument(
        "--model-arg",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="temperature, max_tokens, … or one of the engine's own, as max_model_len; may be repeated",
    )
