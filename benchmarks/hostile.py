"""Hostile files: `r4 ask` on each of some hundreds, every one in a process of its own with limits.

    python benchmarks/hostile.py [--n 40] [--only WORD] [--show] [--jobs 2]

The files are written by the package hostile_files, beside this one, into a temporary folder. Each is asked
about with a policy that looks at the overview and says "not found", so that opening, decoding and re-encoding
are tested, not OCR. A process is forked from this one, which has imported the package and opened nothing, and
then runs the command's own `main` in a session of its own, standard input empty: with 30 s of wall time and
limits on what it writes and the processor time it takes. --n takes so many, evenly spread over the list.

Memory is that of the process and all its descendants together: every 20 ms the high-water marks (VmHWM of
/proc/PID/status) of those alive are added up, so that peaks between two looks count; pages that processes
share count once for each. The figure is never below the kernel's own for the largest (wait4's ru_maxrss).

Mishandled is: no end in 30 s; an exit code other than 3 (refused) where the file is none to look at, or other
than 0, 1 or 3 where it may be (2 as well, where the argument itself is odd); anything on standard error but
the one line of a refusal; a refusal without a next step; no result where there should be one; 1 GB of memory;
a control character in what is printed; a process left behind; a connection to the address that some files
name. The good files, unchanged, must be looked at. A decoder that dies is a refusal like others, and counted.
Exits with 1 when anything was mishandled. Ends with one line of JSON.
"""

import argparse
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hostile_files import Case

import r4agent.command
import r4agent.graphs  # imported here, so that each of the processes need not
import r4agent.progress
from r4agent.policy.scripted import ScriptedPolicy

SECONDS = 30.0
MEMORY = 1 << 30
KILL = 3 << 30  # bytes at which a process is stopped, for the machine's sake
NEXT_STEP = re.compile(
    r"[;,] (?:so |or |and )?(?:ask|change|check|convert|cut|give|install|make|open|put|raise|remove|run|"
    r"scale|split)\b"
)
CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")  # of UTF-8, all but the line feed


def nothing() -> ScriptedPolicy:
    """The policy: whatever it is shown, it does not find it."""
    return ScriptedPolicy(replies=["<not_found>nothing</not_found>"])


@dataclass
class Run:
    """One case at work, and then what became of it."""

    case: Case
    pid: int
    out: Path
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    memory: int = 0  # bytes
    stopped: str = ""
    code: int = 0
    left: bool = False

    @property
    def reasons(self) -> list[str]:
        """Why this was mishandled; empty when it was not."""
        out, err = (self.out.with_suffix(suffix).read_bytes() for suffix in (".out", ".err"))
        lines = err.decode(errors="replace").splitlines()
        found = [
            (bool(self.stopped), self.stopped),
            (self.code not in self.due, f"exit code {self.code}"),
            (b"Traceback" in err, "a traceback"),
            (len(lines) != (self.code > 1), f"{len(lines)} lines on standard error"),
            (bool(lines) and not lines[0].startswith("r4: "), "an error that is not r4's"),
            (self.code == 3 and not NEXT_STEP.search("".join(lines)), "no next step"),
            (self.code in (0, 1) and not _is_result(out), "no result on standard output"),
            (self.memory >= MEMORY, f"{self.memory >> 20} MB"),
            (bool(CONTROL.search(out + err)), "control characters"),
            (self.left, "a process left behind"),
        ]
        return [reason for wrong, reason in found if wrong]

    @property
    def due(self) -> tuple[int, ...]:
        """The exit codes that are right: looked at, or refused, or an argument that is wrong as such."""
        if self.case.kind == "good":
            return (1,)
        if self.case.refuse:
            return (3,)
        return (0, 1, 2, 3) if self.case.folder else (0, 1, 3)

    @property
    def says(self) -> str:
        return self.out.with_suffix(".err").read_text(errors="replace").strip()


def _is_result(out: bytes) -> bool:
    try:
        return "status" in json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        return False


# -- one process ---------------------------------------------------------------------------------------


def start(case: Case, folder: Path, number: int) -> Run:
    out = folder / f"{number}.out"
    pid = os.fork()
    if pid == 0:
        code = 1  # what the interpreter ends with when an exception gets through
        try:
            os.setsid()
            _limit(out)
            os.environ["R4_HOME"] = str(folder / f"home{number % 4}")
            os.chdir(case.folder or folder)
            options = ["--policy", "hostile:nothing", "--budget", "turns=2", "--budget", "overview_images=2"]
            code = r4agent.command.main(["ask", case.media, "What does the sign say?", "--json", *options])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return Run(case, pid, out)


def _limit(out: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for target, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, out, os.O_WRONLY | os.O_CREAT),
        (2, out.with_suffix(".err"), os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(path, flags, 0o600), target)


def watch(run: Run) -> bool:
    """Measure a run and stop it if it must be; whether it has ended."""
    run.seconds = time.monotonic() - run.started
    run.memory = max(run.memory, sum(_high_water(pid) for pid in _tree(run.pid)))
    pid, status, usage = os.wait4(run.pid, os.WNOHANG)
    if not pid:
        if run.seconds > SECONDS:
            run.stopped = f"no end in {SECONDS:g} s"
        if run.memory > KILL:
            run.stopped = "stopped for its memory"
        if run.stopped:
            os.killpg(run.pid, signal.SIGKILL)
            _, status, usage = os.wait4(run.pid, 0)
        else:
            return False
    run.code = os.waitstatus_to_exitcode(status)
    run.memory = max(run.memory, usage.ru_maxrss << 10)
    run.left = not run.stopped and _lives(run.pid, until=time.monotonic() + 2)
    return True


def _tree(root: int) -> Iterator[int]:
    yield root
    try:
        for task in Path(f"/proc/{root}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))
    except (FileNotFoundError, ProcessLookupError):
        return  # it has ended since


def _high_water(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) << 10 if found else 0  # an ended process that nobody has waited for has none


def _lives(group: int, until: float) -> bool:
    """Whether a process of the group outlives its first by more than a moment."""
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.01)
    os.killpg(group, signal.SIGKILL)
    return True


# -- all of them ---------------------------------------------------------------------------------------


def run_all(cases: list[Case], folder: Path, jobs: int) -> Iterator[Run]:
    waiting, working = list(enumerate(cases))[::-1], []
    while waiting or working:
        while waiting and len(working) < jobs:
            number, case = waiting.pop()
            working.append(start(case, folder, number))
        time.sleep(0.02)
        for run in [run for run in working if watch(run)]:
            working.remove(run)
            yield run


def table(runs: list[Run]) -> None:
    kinds = defaultdict(list)
    for run in runs:
        kinds[run.case.kind].append(run)
    print(f"{'class':18} {'n':>4} {'looked at':>10} {'refused':>8} {'other':>6}", end=" ")
    print(f"{'slowest':>9} {'memory':>8} {'mishandled':>11}")
    for kind, some in [*kinds.items(), ("all", runs)]:
        codes = Counter(
            "looked" if run.code in (0, 1) else "refused" if run.code == 3 else "other" for run in some
        )
        slowest, memory = max(run.seconds for run in some), max(run.memory for run in some) >> 20
        bad = sum(bool(run.reasons) for run in some)
        print(
            f"{kind:18} {len(some):4} {codes['looked']:10} {codes['refused']:8} {codes['other']:6} "
            f"{slowest:7.1f} s {memory:5} MB {bad:11}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="at most so many, spread over the list")
    parser.add_argument("--only", default="", metavar="WORD", help="those with WORD in their class or name")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--show", action="store_true", help="say what became of each")
    options = parser.parse_args()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="hostile-") as name,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        files, outcome = Path(name, "files"), Path(name, "outcome")
        files.mkdir()
        outcome.mkdir()
        writer = [sys.executable, "-m", "hostile_files", files, str(server.getsockname()[1])]
        here = Path(__file__).parent
        written = subprocess.run(writer, check=True, stdout=subprocess.PIPE, text=True, cwd=here).stdout
        cases = [Case(**json.loads(line)) for line in written.splitlines()]
        cases = [case for case in cases if options.only in f"{case.kind}: {case.name}"]
        cases = cases[:: max(1, -(-len(cases) // options.n))]
        print(
            f"{len(cases)} files written in {time.monotonic() - began:.0f} s; {options.jobs} at once",
            flush=True,
        )
        runs = []
        for run in run_all(cases, outcome, options.jobs):
            runs.append(run)
            if run.reasons or options.show:
                told = f"{run.code}, {run.seconds:.1f} s, {run.memory >> 20} MB"
                print(
                    f"{'; '.join(run.reasons) or 'well'}: {run.case.kind}: {run.case.name} ({told})",
                    flush=True,
                )
                print(f"    {run.says[:400]}")
        server.setblocking(False)
        try:
            connected = bool(server.accept())
        except BlockingIOError:
            connected = False
        table(runs)
        died = sum("the decoder died" in run.says for run in runs)
        print(f"{time.monotonic() - began:.0f} s in all; {died} decoders died and were told of")
        if connected:
            print("an address that a file names was connected to")
        mishandled = sum(bool(run.reasons) for run in runs) + connected
    print(json.dumps({"n": len(runs), "mishandled": mishandled}))
    return int(mishandled > 0)


if __name__ == "__main__":
    sys.exit(main())
