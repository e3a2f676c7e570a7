"""What a terminal session prints: commands of a developer's day with their output, as coloured runs.

Promises: each command can be asked about, and the run that answers is a run of its own. Versions, hashes,
sizes and paths are made up. Does not: place or time anything; terminal.py does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from r4agent.textworld.words import FILES, FOLDERS, HOSTS, PACKAGES, TOOLS


@dataclass(frozen=True, slots=True)
class Run:
    """Part of a line. tint: ink, dim, accent, good or bad. ask: a question that this run answers."""

    string: str
    tint: str = "ink"
    ask: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a session. kind: command or output. brief: it stands a moment only, then the next line
    takes its row."""

    runs: tuple[Run, ...]
    kind: str = "output"
    brief: bool = False


Command = tuple[str, list[Line]]


def typed(command: str) -> Line:
    """The line of a prompt and the command behind it."""
    return Line((Run("$ ", "good"), Run(command)), kind="command")


def _line(*runs: Run | str, brief: bool = False) -> Line:
    return Line(tuple(Run(run) if isinstance(run, str) else run for run in runs), brief=brief)


def _version(rng: Random) -> str:
    return f"{rng.randint(0, 24)}.{rng.randint(0, 40)}.{rng.randint(0, 19)}"


def _hex(rng: Random, length: int) -> str:
    return f"{rng.randrange(16**length):0{length}x}"


def version(rng: Random) -> Command:
    tool = rng.choice(TOOLS)
    answer = Run(_version(rng), ask=(f"Which version does {tool} print?", "terminal version"))
    return f"{tool} --version", [_line(f"{tool} version ", answer, f" (build {_hex(rng, 6)})")]


def log(rng: Random) -> Command:
    lines = []
    for verb, thing in zip(rng.sample(VERBS, 5), rng.sample(THINGS, 5), strict=True):
        message = f"{verb} {thing}"
        ask = (f"What is the hash of the commit '{message}'?", "terminal hash")
        lines.append(_line(Run(_hex(rng, 7), "accent", ask), f" {message}"))
    return "git log --oneline -5", lines


def listing(rng: Random) -> Command:
    folder = rng.choice(FOLDERS)
    lines = []
    for name in rng.sample(FILES, rng.randint(4, 7)):
        size = rng.randint(120, 9_999_999)
        ask = (f"What is the size of {name} in the listing?", "terminal size")
        date = (
            f"{rng.choice(MONTHS)} {rng.randint(1, 28):2d} {rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
        )
        lines.append(_line("-rw-r--r-- dev ", Run(f"{size:>8}", "ink", ask), f" {date} {name}"))
    return f"ls -l {folder}", lines


def find(rng: Random) -> Command:
    name = rng.choice(FILES)
    path = "/".join(rng.sample(FOLDERS, rng.randint(2, 3)))
    ask = (f"In which folder is {name} found?", "terminal path")
    return f"find . -name {name}", [_line("./", Run(path, "ink", ask), f"/{name}")]


def failure(rng: Random) -> Command:
    step, name = rng.choice(STEPS), rng.choice(FILES)
    error = f"{rng.choice(ERRORS)} '{name}'"
    ask = (f"What error does 'make {step}' report?", "terminal error")
    code = Run(
        str(rng.randint(2, 199)), "bad", (f"With which exit code does 'make {step}' end?", "terminal number")
    )
    return f"make {step}", [
        _line(f"make: entering '{rng.choice(FOLDERS)}'"),
        _line(Run("error: ", "bad"), Run(error, "ink", ask)),
        _line(f"make: *** [{step}] Error ", code),
    ]


def suite(rng: Random) -> Command:
    where = rng.choice(FOLDERS)
    failed, passed = rng.randint(2, 40), rng.randint(41, 990)
    asks = (
        (f"How many tests failed in {where}?", "terminal number"),
        (f"How many tests passed in {where}?", "terminal number"),
    )
    progress = [_line(f"{where} ", "." * (12 * i), f" {17 * i}%", brief=True) for i in range(1, 6)]
    counts = Run(str(failed), "bad", asks[0]), " failed, ", Run(str(passed), "good", asks[1]), " passed"
    return f"pytest {where}", [*progress, _line(*counts, f" in {rng.uniform(1, 90):.2f}s")]


def link(rng: Random) -> Command:
    """A status line that is overwritten: each step is to be read while it stands."""
    names, total = rng.sample(FILES, 4), rng.randint(6, 19)
    lines = []
    for step, name in enumerate(names, start=rng.randint(1, total - 4)):
        ask = (f"Which file is packed in step {step}/{total}?", "terminal status")
        lines.append(_line(Run(f"[{step}/{total}]", "dim"), " packing ", Run(name, "ink", ask), brief=True))
    return "make package", [*lines, _line(Run("done", "good"))]


def install(rng: Random) -> Command:
    package, other = rng.sample(PACKAGES, 2)
    ask = (f"Which version of {package} was installed?", "terminal version")
    return f"pip install {package}", [
        _line(f"Collecting {package}"),
        _line(f"Collecting {other}"),
        _line(Run("Successfully installed ", "good"), f"{package}-", Run(_version(rng), "ink", ask)),
    ]


def ping(rng: Random) -> Command:
    host = rng.choice(HOSTS)
    address = f"10.{rng.randint(1, 250)}.{rng.randint(1, 250)}.{rng.randint(2, 250)}"
    ask = (f"Which IP address does {host} have?", "terminal address")
    head = _line(f"PING {host} (", Run(address, "ink", ask), ") 56 bytes")
    times = [_line(f"64 bytes: icmp_seq={i} time={rng.uniform(0.3, 80):.1f} ms") for i in range(1, 4)]
    return f"ping -c 3 {host}", [head, *times]


def environment(rng: Random) -> Command:
    lines = []
    for name in rng.sample(VARIABLES, 4):
        if name.endswith("PORT"):
            value = str(rng.randint(1025, 65_000))
        elif name.endswith("DIR"):
            value = f"/{'/'.join(rng.sample(FOLDERS, 2))}"
        else:
            value = _hex(rng, 8)
        ask = (f"What is the value of {name}?", "terminal value")
        lines.append(_line(Run(f"{name}=", "accent"), Run(value, "ink", ask)))
    return "cat .env", lines


COMMANDS: tuple[Callable[[Random], Command], ...] = (
    version, log, listing, find, failure, suite, link, install, ping, environment,
)  # fmt: skip
VERBS = ("fix", "speed up", "document", "remove", "rename", "test", "split", "simplify", "revert", "cache")
THINGS = (
    "the parser", "old flags", "the tokenizer", "date handling", "the login form", "retry logic",
    "the importer", "unused code", "the scheduler", "error messages", "the price list",
)  # fmt: skip
ERRORS = (
    "cannot open",
    "no rule for target",
    "permission denied for",
    "unexpected end of",
    "checksum mismatch in",
)
STEPS = ("docs", "all", "release", "check", "image", "schema")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
VARIABLES = (
    "API_PORT",
    "CACHE_DIR",
    "BUILD_ID",
    "DB_PORT",
    "LOG_DIR",
    "SESSION_KEY",
    "WORKER_ID",
    "DATA_DIR",
)
