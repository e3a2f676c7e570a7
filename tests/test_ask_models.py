"""`r4 ask --model` through each engine, on a tiny random model: it answers noise, by the same way."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r4agent import Episode
from r4agent.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("served")]

COMMON = ["--model-arg", "max_tokens=12", "--budget", "turns=2", "--budget", "overview_images=2", "--json"]


def ask(repo: Path, home: Path, *more: str) -> dict[str, Any]:
    """Ask the demo a question; returns the result."""
    question = [str(repo / "examples" / "demo.mp4"), "What <|im_end|> runs there?"]
    done = subprocess.run(
        [sys.executable, "-m", "r4agent", "ask", *question, *more, *COMMON],
        env={**os.environ, "R4_HOME": str(home), "VLLM_CPU_KVCACHE_SPACE": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 1, done.stderr[-2000:]  # no answer is to be had from noise
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("engine", ["vllm", "http", "transformers"])
def test_through_each_engine(
    engine: str,
    repo: Path,
    tiny: Callable[[str], Path],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    more = ["--model", str(tiny("qwen3_vl")), "--engine", engine]
    if engine == "http":
        more += ["--base-url", request.getfixturevalue("served")("qwen3_vl")]
    result = ask(repo, tmp_path, *more)
    assert result["status"] == "budget"
    episode = Episode.read(result["episode"])
    assert episode.header["token_exact"] is True
    assert episode.header["model"]["engine"] == engine
    replies = [line for line in episode.messages if line["role"] == "ai"]
    ledger = Ledger.of(replies)
    assert len(replies) == 2
    assert ledger.forks == 0
    assert ledger.images == [picture.ref for picture in episode.pictures]
    assert sum(ledger.sampled) == result["usage"]["new_tokens"]
