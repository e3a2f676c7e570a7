"""What tests of every folder share: where the checkout is, checkpoints that revive safe types only, tiny
models, and a server of them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"  # read when langgraph is imported, so before any test does
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for a hub
os.environ["OMP_NUM_THREADS"] = "1"  # workers share the cores: threads of torch would spin while they wait
os.environ["VLLM_NO_USAGE_STATS"] = "1"
os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"  # GiB an engine

import pytest


def pytest_make_parametrize_id(val: object) -> str | None:
    """A long value is named by its beginning. pytest puts a test's name into the environment, which every
    process inherits that the test begins, and beyond 128 KB none can begin."""
    if isinstance(val, str | bytes) and len(val) > 100:
        return f"{val[:40]!a} and {len(val) - 40} more"
    return None


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a family, `qwen2_5_vl` or `qwen3_vl`, to the folder of a tiny random checkpoint of it."""
    needs("torch")

    @cache
    def made(family: str) -> Path:
        from r4agent.engines.tiny import make_tiny

        return make_tiny(family, tmp_path_factory.mktemp("tiny") / family)

    return made


def needs(package: str) -> None:
    """Skips a test without its package. In CI every package is there (tests/house/test_ci.py)."""
    if find_spec(package) is None:
        pytest.skip(f"no {package}; docs/models.md says how to install it")


def well_read(folder: Path) -> Path:
    """An R4_HOME for what a test makes. What the embedded reader has read is shared with the user's own: to
    read the demo anew takes half a minute."""
    from r4agent.media.store import home

    folder.mkdir(exist_ok=True)
    read = home() / "read"
    read.mkdir(parents=True, exist_ok=True)
    if not (folder / "read").exists():
        (folder / "read").symlink_to(read)
    return folder


@pytest.fixture(scope="session")
def served(
    tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """From a family to the address of a real `vllm serve` on its tiny checkpoint, begun at first use."""
    needs("vllm")
    running: list[subprocess.Popen[bytes]] = []

    @cache
    def address(family: str) -> str:
        from r4agent.engines.cpu import serve_environment

        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        log = tmp_path_factory.mktemp("served") / f"{family}.log"
        command = [
            *(sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(tiny(family))),
            *("--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port)),
            *(
                "--enable-scale-out",
                "--enable-prompt-tokens-details",
                "--enforce-eager",
                "--dtype",
                "float32",
            ),
            *("--max-model-len", "16384", "--max-num-seqs", "32"),
            *("--limit-mm-per-prompt", '{"image": 48, "video": 0}'),
        ]
        environment = serve_environment() | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_SERVER_DEV_MODE": "1"}
        with log.open("wb") as file:  # a session of its own: vLLM's processes end together
            process = subprocess.Popen(
                command, env=environment, stdout=file, stderr=file, start_new_session=True
            )
        running.append(process)
        for _ in range(240):
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return f"http://127.0.0.1:{port}"
            time.sleep(1)
        pytest.fail(f"vllm serve did not begin: {log.read_text(errors='replace')[-3000:]}")

    yield address
    for process in running:
        with suppress(ProcessLookupError):  # it died by itself, as its test has said
            os.killpg(process.pid, signal.SIGTERM)
    for process in running:
        process.wait(60)
