"""The repository carries no path of one machine, and a demo clip that is small."""

import re
import subprocess
from pathlib import Path

import pytest

# A folder of somebody's machine at the start of a path; `network/work/x` and `https://h/home/` are not.
PRIVATE = re.compile(r"(?<![\w.~:/-])/(?:work|root|home|Users)/\w")


def tracked(repo: Path) -> list[Path]:
    if not (repo / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files are tracked")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repo, check=True, capture_output=True, text=True)
    return [repo / name for name in listed.stdout.split("\0") if name and (repo / name).is_file()]


def test_no_private_path_in_a_text_file(repo: Path) -> None:
    found = []
    for file in tracked(repo):
        data = file.read_bytes()
        if b"\0" in data[:8000]:
            continue
        for number, line in enumerate(data.decode("utf-8").splitlines(), start=1):
            if PRIVATE.search(line):
                found.append(f"{file.relative_to(repo)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_private_path_is_recognised() -> None:
    folder = "/".join(["", "home", "someone", "clip.mp4"])
    assert PRIVATE.search(f'open("{folder}")')
    assert not PRIVATE.search("https://host" + folder)
    assert not PRIVATE.search("~" + folder)


def test_demo_clip_is_small(repo: Path) -> None:
    assert (repo / "examples" / "demo.mp4").stat().st_size <= 2 * 1024 * 1024
