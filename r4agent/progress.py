"""What a person sees on the terminal while the command works, and what it prints at the end.

Promises: progress goes to standard error, and only when that is a terminal.
Does not: decide anything.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from r4agent.doctor import Check
from r4agent.media.store import MediaStore

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
                console.print(f"[dim]turn {event['turn']}[/dim]  {escape(str(event['step']))}")
                line = "reading"
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
        case "turn":
            return f"turn {event['turn']}: {event['step']}"
        case _:
            return str(event["event"])


def _when(event: Event) -> str:
    return f"page {event['frame'] + 1}" if event["time"] is None else f"{event['time']:.2f} s"


def print_result(result: dict[str, Any]) -> None:
    """The answer, its evidence and its cost, for a person."""
    store = MediaStore()
    table = Table.grid(padding=(0, 2))
    answer = result["answer"]
    support = {
        "yes": "the reader finds it there",
        "no": "the reader does not find it",
        "unchecked": "unchecked",
    }
    table.add_row("answer", f"[bold]{escape(answer)}[/bold]" if answer is not None else "[dim]none[/dim]")
    table.add_row(
        "status", result["status"] + (f", {support[result['supported']]}" if answer is not None else "")
    )
    for place in result["evidence"]:
        when = f"page {place['page']}" if place["time"] is None else f"{place['time']:.2f} s"
        box = escape(str([round(v) for v in place["box"]]))
        table.add_row("read", f"{when}  {box}  {escape(place['text'])}")
        table.add_row("", f"[dim]{escape(str(store.path(place['image'])))}[/dim]")
    used = result["usage"]
    table.add_row(
        "cost",
        f"{used['turns']} turns, {used['images']} pictures, {used['image_tokens']:,} image tokens, "
        f"{used['decoded_frames']} frames decoded, {used['seconds']:.1f} s",
    )
    table.add_row("log", escape(result["episode"]))
    Console(highlight=False, soft_wrap=True).print(table)


def print_checks(checks: Sequence[Check]) -> None:
    """The doctor's findings, and what to do about those that are not well."""
    table = Table.grid(padding=(0, 2))
    for check in checks:
        mark = "[green]ok[/green]" if check.ok else "[red]no[/red]"
        table.add_row(mark, check.name, escape(check.found))
        if check.todo:
            table.add_row("", "", f"[yellow]{escape(check.todo)}[/yellow]")
    Console(highlight=False, soft_wrap=True).print(table)


@contextmanager
def counter(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A function `(done, total)` that moves a progress bar with the time left."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(unit, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
