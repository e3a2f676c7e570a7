"""What tests of evaluation share: a home of their own, and questions that need no reading."""

from pathlib import Path

import pytest

from r4agent.evaluation import Questions, of_textworld

POLICY = """
import time
from r4agent import ScriptedPolicy

def slow(messages):
    time.sleep(0.05)
    return "<not_found>too small</not_found>"

class Always(ScriptedPolicy):
    replies: list = [slow]

def always():
    return Always()

def broken():
    return ScriptedPolicy(replies=[])
"""


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips that were made once: their names say what is in them, so tests may share them."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
def r4_home(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "clips").symlink_to(clips)
    monkeypatch.setenv("R4_HOME", str(home))
    return home


@pytest.fixture
def policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with the module `scripted_for_eval`: `always` says not found, `broken` fails."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "scripted_for_eval.py").write_text(POLICY)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture(scope="session")
def signs() -> Questions:
    """Six questions about six clips of level 0."""
    return of_textworld(level=0, n=6, seed=3)
