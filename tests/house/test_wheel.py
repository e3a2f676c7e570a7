"""The wheel puts `r4agent` into site-packages and nothing else, and works from there.

It is built from a copy, so that neither the checkout's `build/` nor an editable install can leak in. The
new environment borrows the dependencies of this one, at the end of its path: its own files come first.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import r4agent

pytestmark = pytest.mark.slow

MODULES = ("r4agent", "r4agent.tools", "r4agent.graphs", "r4agent.training", "r4agent.command")


def run(*command: str | Path, cwd: Path) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} in {cwd}:\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for folder in ("r4agent", "tools", "graphs", "training"):
        shutil.copytree(repo / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repo / file, source)
    run(sys.executable, "-P", "-m", "build", "--wheel", "--no-isolation", cwd=source)
    (built,) = (source / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it and, so far, nothing else."""
    env = tmp_path_factory.mktemp("installed") / "env"
    run(sys.executable, "-m", "venv", "--without-pip", env, cwd=env.parent)
    pip = (sys.executable, "-m", "pip", "--python", env / "bin" / "python")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=env.parent)
    return env


def site_packages(env: Path) -> Path:
    (folder,) = env.glob("lib/python*/site-packages")
    return folder


@pytest.fixture(scope="module")
def working(installed: Path) -> Path:
    """The same environment, now also seeing this one's dependencies."""
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages(installed) / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    return installed


def test_nothing_but_r4agent_is_installed(installed: Path) -> None:
    found = {entry.name for entry in site_packages(installed).iterdir()} - {"borrowed.pth"}
    assert found == {"r4agent", f"r4agent-{r4agent.__version__}.dist-info"}


def test_typing_marker_and_licence_are_inside(installed: Path) -> None:
    package = site_packages(installed)
    assert (package / "r4agent" / "py.typed").is_file()
    (licence,) = package.glob("r4agent-*.dist-info/licenses/LICENSE")
    assert "Apache License" in licence.read_text()


def test_every_source_file_is_inside(repo: Path, installed: Path) -> None:
    def sources(root: Path) -> set[str]:
        return {str(file.relative_to(root)) for file in root.rglob("*.py")}

    expected = sources(repo / "r4agent")
    for name in ("tools", "graphs", "training"):
        expected |= {f"{name}/{file}" for file in sources(repo / name)}
    assert sources(site_packages(installed) / "r4agent") == expected


def test_every_template_of_a_page_is_inside(repo: Path, installed: Path) -> None:
    templates = Path("r4agent", "page", "templates")
    expected = {file.name for file in (repo / templates).iterdir()}
    assert expected
    assert {file.name for file in (site_packages(installed) / templates).iterdir()} == expected


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_from_the_wheel(module: str, working: Path, tmp_path: Path) -> None:
    probe = f"import importlib; print(importlib.import_module({module!r}).__file__)"
    origin = run(working / "bin" / "python", "-P", "-c", probe, cwd=tmp_path)
    assert Path(origin).is_relative_to(site_packages(working)), origin


def test_command_runs(working: Path, tmp_path: Path) -> None:
    assert r4agent.__version__ in run(working / "bin" / "r4", "--version", cwd=tmp_path)
