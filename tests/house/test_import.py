"""`import r4agent` is quick and light, and every public name can be reached."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import r4agent

HEAVY = {
    "torch", "vllm", "trl", "transformers", "langgraph", "langchain_core", "decord", "av", "cv2", "rapidocr",
    "onnxruntime", "pypdfium2", "rich", "jinja2",
}  # fmt: skip
PROBE = """
import json, sys, time
start = time.perf_counter()
import r4agent
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted(sys.modules)]))
"""


def fresh_import(folder: Path) -> tuple[float, set[str]]:
    """Seconds that `import r4agent` takes in a new interpreter, and what is loaded after it."""
    out = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=folder, check=True, capture_output=True, text=True
    )
    seconds, modules = json.loads(out.stdout)
    return seconds, set(modules)


def test_import_is_quick_and_light(tmp_path: Path) -> None:
    runs = [fresh_import(tmp_path) for _ in range(3)]
    assert not HEAVY & runs[0][1]
    assert min(seconds for seconds, _ in runs) < 0.5


@pytest.mark.parametrize("name", r4agent.__all__)
def test_public_name_resolves(name: str) -> None:
    assert getattr(r4agent, name) is not None
    assert name in dir(r4agent)
