"""The documentation's snippets run as they stand: README.md and docs/*.md.

Python blocks run in one namespace a file, in order, in an empty folder where `examples/` is the
checkout's. Of bash, sh and console blocks, the lines that call `r4` run, and must end with exit code 0, or
with N where the line closes with the comment `# exits N`; other lines (pip, git, make) are not run.
A block right below `<!-- not run: reason -->` is skipped; the reason must be given.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..conftest import well_read

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r"^(?P<indent> {0,3})(?P<ticks>`{3,})(?P<language>[\w-]*)")
NOT_RUN = re.compile(r"^<!--\s*not run:(?P<reason>.*)-->\s*$")
EXITS = re.compile(r"#\s*exits (\d+)\s*$")
SECONDS = 300  # for one command


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its first line of code, counted from 1."""

    language: str
    code: str
    line: int
    not_run: str | None


def blocks(text: str) -> Iterator[Block]:
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        at += 1
        if not fence:
            continue
        marker = NOT_RUN.match(lines[at - 2].strip()) if at >= 2 else None
        start = at
        while at < len(lines) and not re.fullmatch(rf" {{0,3}}{fence['ticks']}`*\s*", lines[at]):
            at += 1
        assert at < len(lines), f"line {start}: the block is never closed"
        code = "\n".join(line.removeprefix(fence["indent"]) for line in lines[start:at])
        yield Block(fence["language"], code, start + 1, marker["reason"].strip() if marker else None)
        at += 1


def commands(code: str) -> Iterator[tuple[str, int]]:
    """The lines that call `r4`, with the exit code each is documented to end with."""
    for line in code.replace("\\\n", " ").splitlines():
        command = line.strip().removeprefix("$ ")
        if re.match(r"r4(\s|$)", command):
            documented = EXITS.search(command)
            yield command, int(documented[1]) if documented else 0


def run_document(document: Path, binaries: Path) -> int:
    """Run a document's blocks in the present folder; `binaries` is where `r4` is. Returns how many ran."""
    ran = 0
    namespace: dict[str, Any] = {"__name__": "__main__"}
    environment = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    for block in blocks(document.read_text(encoding="utf-8")):
        where = f"{document.name}:{block.line}"
        if block.not_run is not None:
            assert block.not_run, f"{where}: 'not run:' gives no reason"
        elif block.language == "python":
            padded = "\n" * (block.line - 1) + block.code  # tracebacks then show the document's own lines
            exec(compile(padded, str(document), "exec"), namespace)
            ran += 1
        elif block.language in {"bash", "sh", "console"}:
            for command, expected in commands(block.code):
                shell = ["bash", "-o", "pipefail", "-c", command]
                done = subprocess.run(shell, env=environment, timeout=SECONDS, capture_output=True, text=True)
                assert done.returncode == expected, (
                    f"{where}: {command}: exit code {done.returncode}, documented {expected}\n"
                    f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
                )
                ran += 1
    return ran


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_snippets_run(
    document: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("R4_HOME", str(well_read(tmp_path_factory.getbasetemp() / "home")))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    run_document(document, Path(sys.executable).parent)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that writes a document into an empty folder with an `r4` that exits with its argument."""
    fake = tmp_path / "r4"
    fake.write_text('#!/bin/sh\necho "$@" >>said\nexit "${1:-0}"\n')
    fake.chmod(0o755)
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        (tmp_path / "page.md").write_text(text)
        return tmp_path / "page.md"

    return write


def fenced(language: str, *lines: str) -> str:
    return "\n".join([f"```{language}", *lines, "```", ""])


def test_python_blocks_share_a_namespace(write: Any, tmp_path: Path) -> None:
    page = write(
        fenced("python", "x = 1") + "words\n" + fenced("python", "assert x == 1", "open('made', 'w')")
    )
    assert run_document(page, tmp_path) == 2
    assert (tmp_path / "made").exists()


def test_wrong_python_fails_at_its_line(write: Any, tmp_path: Path) -> None:
    page = write("title\n\n" + fenced("python", "x = 1", "x.nothing"))
    with pytest.raises(AttributeError, match="nothing") as caught:
        run_document(page, tmp_path)
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 5)


def test_commands_run_with_their_documented_exit_codes(write: Any, tmp_path: Path) -> None:
    page = write(
        fenced("console", "$ r4 0 first", "r4 said this", "$ r4 3 \\", "  second  # exits 3", "$ pip x")
    )
    with pytest.raises(AssertionError, match=r"page.md:2: r4 said this: exit code 2, documented 0"):
        run_document(page, tmp_path)
    page = write(fenced("bash", "r4 0 first", "make nothing", "r4 3 \\", "  second  # exits 3"))
    assert run_document(page, tmp_path) == 2
    assert (tmp_path / "said").read_text().splitlines()[-2:] == ["0 first", "3 second"]


def test_wrong_exit_code_fails_also_in_a_pipe(write: Any, tmp_path: Path) -> None:
    for line in ("r4 4", "r4 0  # exits 4", "r4 4 | cat"):
        with pytest.raises(AssertionError, match="documented"):
            run_document(write(fenced("bash", line)), tmp_path)


def test_marked_block_is_skipped_with_a_reason(write: Any, tmp_path: Path) -> None:
    wrong = fenced("python", "1 / 0")
    assert run_document(write("<!-- not run: needs a GPU -->\n" + wrong), tmp_path) == 0
    with pytest.raises(AssertionError, match="gives no reason"):
        run_document(write("<!-- not run: -->\n" + wrong), tmp_path)
    with pytest.raises(ZeroDivisionError):
        run_document(write("<!-- not run: too far away -->\n\n" + wrong), tmp_path)


def test_other_blocks_and_open_blocks(write: Any, tmp_path: Path) -> None:
    assert (
        run_document(write(fenced("text", "r4 7") + fenced("", "r4 7") + "no block: r4 7\n"), tmp_path) == 0
    )
    with pytest.raises(AssertionError, match="never closed"):
        run_document(write("```python\nx = 1\n"), tmp_path)
