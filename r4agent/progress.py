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

from r4agent.doctor import Check
from r4agent.errors import printable
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


def print_checks(checks: Sequence[Check]) -> None:
    """The doctor's findings, and what to do about those that are not well."""
    for check in checks:
        _line(f"{'ok' if check.ok else 'no'}  {check.name}", check.found, style="" if check.ok else "red")
        if check.todo:
            _line("", check.todo, style="yellow")


def _line(label: str, text: str, *, style: str = "") -> None:
    """One line of the result; never cut, so that paths can be copied, and never able to drive a terminal."""
    console = Console(highlight=False)
    with console.capture() as line:  # rich itself would end the program with code 1 on a closed pipe
        console.print(f"{label:<14}", end="")
        console.print(escape(printable(text)), style=style, soft_wrap=True)
    print(line.get(), end="")


@contextmanager
def counter(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A function `(done, total)` that moves a progress bar with the time left."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(unit, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
