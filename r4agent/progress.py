"""What a person sees on the terminal while the command works, and what it prints at the end.

Promises: progress goes to standard error, and only when that is a terminal.
Does not: decide anything.
"""

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from r4agent.doctor.check import Check
from r4agent.errors import printable
from r4agent.evaluation import Results, summary
from r4agent.media.store import MediaStore

if TYPE_CHECKING:
    from r4agent.training.index import Entry
    from r4agent.training.stages import Done
    from r4agent.training.trajectories import Made

Event = dict[str, Any]


@contextmanager
def live(media: str) -> Iterator[Callable[[Event], None]]:
    """A function that shows the graph's custom events as they come."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda event: None
        return
    with console.status(escape(f"opening {media}")) as status:

        def show(event: Event) -> None:
            line = describe(event)
            if event["event"] == "turn":
                console.print(f"[dim]turn {event['turn']}[/dim]  {escape(printable(str(event['step'])))}")
                line = "looking"
            elif event["event"] in ("frame", "region"):
                console.print(f"        [dim]{escape(line)}[/dim]")
            status.update(escape(line))

        yield show


def describe(event: Event) -> str:
    """One custom event of the graph in a few words."""
    match event["event"]:
        case "opened":
            duration = f", {event['duration']:.1f} s" if event["duration"] else ""
            return f"looking at {event['count']} frames{duration}"
        case "frame":
            return f"look at {_when(event)}"
        case "region":
            return f"zoom into {event['of']} at {event['box']}, {_when(event)}"
        case _:
            return str(event["event"])


def _when(event: Event) -> str:
    return f"page {event['frame'] + 1}" if event["time"] is None else f"{event['time']:.2f} s"


SUPPORT = {
    "yes": ", the reader finds it there",
    "no": ", the reader does not find it there",
    "unchecked": ", not checked by a reader",
}


def print_result(result: dict[str, Any]) -> None:
    """The answer, its evidence and its cost, for a person."""
    answer, store = result["answer"], MediaStore()
    _line("answer", answer if answer is not None else "none", style="bold" if answer is not None else "dim")
    _line("status", result["status"] + (SUPPORT[result["supported"]] if answer is not None else ""))
    for place in result["evidence"]:
        when = f"page {place['page']}" if place["time"] is None else f"{place['time']:.2f} s"
        _line("read", f"{when}  {[round(v) for v in place['box']]}  {place['text']}")
        _line("", str(store.path(place["image"])), style="dim")
    used = result["usage"]
    _line(
        "cost",
        f"{used['turns']} turns, {used['images']} pictures, {used['image_tokens']:,} image tokens, "
        f"{used['decoded_frames']} frames decoded, {used['seconds']:.1f} s",
    )
    _line("log", result["episode"])


SAID = 5  # failed questions whose errors are printed; the page has all


def print_summary(results: Results, figures: dict[str, Any]) -> None:
    """An evaluation's figures with their 95 % intervals, for a person."""
    _line("evaluated", results.title, style="bold")
    asked, failed = figures["n"], figures["failed"]
    _line(
        "questions", f"{asked}, of which {failed} failed: --resume asks them again" if failed else str(asked)
    )
    _line("statuses", ", ".join(f"{count} {status}" for status, count in figures["statuses"].items()))
    for row in [row for row in results.rows if row.failed][:SAID]:
        _line("", f"{row.id}: {row.error}", style="red")
    for metric, (low, high) in figures["ci95"].items():
        count = figures["counts"][metric]
        of = "" if count == figures["scored"] else f"  of {count}"
        _line(metric.replace("_", " "), f"{figures[metric]:.3f}  [{low:.3f}, {high:.3f}]{of}")
    costs = [f"{value:,.1f} {name.replace('_', ' ')}" for name, value in figures["cost"].items() if value]
    for label, part in zip(("mean cost", ""), (costs[:4], costs[4:]), strict=True):
        if part:
            _line(label, ", ".join(part))
    _line("results", str(results.path))
    _line("look at them", f"r4 view {shlex.quote(str(results.path))}")


def print_made(made: "Made", out: Path) -> None:
    """What trajectories were kept, and why others were not."""
    kinds = ", ".join(f"{count} {plan}" for plan, count in made.plans.most_common())
    _line("kept", f"{made.kept} of {made.items}{': ' if kinds else ''}{kinds}", style="bold")
    if made.there:
        _line("there already", str(made.there))
    for number, (why, count) in enumerate(made.dropped.most_common()):
        _line("" if number else "dropped tries", f"{count}  {why}")
    _line("store", str(out))


def print_entries(entries: "Sequence[Entry]") -> None:
    """What is in an episode store, one line an episode; never cut, so that ids can be copied."""
    rows = [("episode", "status", "supported", "turns", "pictures", "tokens", "stage", "tools")]
    for entry in entries:
        spent = (str(entry.turns), str(entry.pictures), "" if entry.tokens is None else str(entry.tokens))
        used = ", ".join(entry.tools.split())
        rows.append((entry.id, entry.status, entry.supported, *spent, entry.stage, used))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(printable("  ".join(cells).rstrip()))
    print(f"{len(entries)} in all")


def print_stage(done: "Done") -> None:
    """What came of a stage of training: its checkpoint, and how that answered."""
    _line(done.name, done.checkpoint, style="bold")
    if done.results:
        figures = summary(done.results)
        scores = [f"{name.replace('_', ' ')} {figures[name]:.3f}" for name in figures["ci95"]]
        failed = [f"{figures['failed']} questions failed"] if figures["failed"] else []
        _line("", ", ".join([*scores, *failed]))


def print_comparison(found: dict[str, Any]) -> None:
    """Two evaluations side by side: by metric, by category, by cost."""
    for name in ("a", "b"):
        _line(name.upper(), found[name]["title"], style="bold")
        _line("", found[name]["path"], style="dim")
    _line(
        "questions",
        f"{found['n']} compared; {found['only_a']} only in A, {found['only_b']} only in B; "
        f"failed and left out: {found['failed_a']} in A, {found['failed_b']} in B",
    )
    if found["differs"]:
        _line("also differ in", ", ".join(found["differs"]))
    metrics = [(name.replace("_", " "), pair) for name, pair in found["metrics"].items()]
    _table(("metric", *COMPARED), [(name, *_compared(pair)) for name, pair in metrics])
    groups = [(group["category"], group["exact_match"]) for group in found["categories"]]
    _table(("exact match of", *COMPARED), [(name, *_compared(pair)) for name, pair in groups if pair])
    costs = [(name.replace("_", " "), cost) for name, cost in found["cost"].items()]
    figures = [(name, *(f"{cost[key]:,.1f}" for key in ("a", "b", "difference"))) for name, cost in costs]
    _table(("mean cost", "A", "B", "B − A"), figures)


COMPARED = ("n", "A", "B", "B − A", "95 %", "better", "worse", "p")


def _compared(pair: dict[str, Any]) -> tuple[str, ...]:
    low, high = pair["ci95"]["difference"]
    return (
        str(pair["n"]),
        f"{pair['a']:.3f}",
        f"{pair['b']:.3f}",
        f"{pair['difference']:+.3f}",
        f"{low:+.3f} {high:+.3f}",
        str(pair["wins"]),
        str(pair["losses"]),
        f"{pair['p']:.3f}" if pair["p"] >= 0.001 else "<0.001",
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns, the first to the left and the others to the right; nothing where there are no rows."""
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", no_wrap=bool(number))
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    console = Console(highlight=False)
    with console.capture() as text:
        console.print(table)
    print(f"\n{text.get()}", end="")


def print_check(check: Check) -> None:
    """A finding of the doctor's, and what to do about one that is not well."""
    sign = {True: "ok", False: "no", None: "--"}[check.ok]
    style = {True: "", False: "red", None: "dim"}[check.ok]
    width = Console().width - LABEL
    for label, text, colour in ((f"{sign}  {check.name}", check.found, style), ("", check.todo, "yellow")):
        for number, line in enumerate(_wrapped(text, width)):
            _line("" if number else label, line, style=colour)


def _wrapped(text: str, width: int) -> list[str]:
    """Lines that leave words, and commands, as they can be copied."""
    whole = COMMAND.sub(lambda command: command[0].replace(" ", "\xa0"), printable(text))
    lines = wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines]


COMMAND = re.compile(r'`[^`]*`|pip install( --\S+)* "[^"]*"')
LABEL = 16  # columns


def _line(label: str, text: str, *, style: str = "") -> None:
    """One line of the result; never cut, so that paths can be copied, and never able to drive a terminal."""
    console = Console(highlight=False)
    with console.capture() as line:  # rich itself would end the program with code 1 on a closed pipe
        console.print(f"{label:<{LABEL}}", end="")
        console.print(escape(printable(text)), style=style, soft_wrap=True)
    print(line.get(), end="")


@contextmanager
def counter(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A function `(done, total)` that moves a progress bar with the time left."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(unit, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
