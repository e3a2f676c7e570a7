"""Engines and requests that tests share."""

import random
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

FAMILIES = ["qwen2_5_vl", "qwen3_vl"]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def transformers_engine(tiny: Callable[[str], Path]) -> Iterator[Callable[[str], Any]]:
    """From a family to one engine of transformers' on its tiny checkpoint, for all tests."""
    from r4agent.engines import Checkpoint
    from r4agent.engines.hf import TransformersEngine

    @cache
    def engine(family: str) -> TransformersEngine:
        started.append(TransformersEngine(Checkpoint.load(tiny(family))))
        return started[-1]

    started: list[TransformersEngine] = []
    yield engine
    for one in started:
        one.close()


@pytest.fixture
def ask(family: str, tiny: Callable[[str], Path]) -> Callable[..., Any]:
    """Makes a request with some pictures, the same for the same seed; keywords are its Sampling's."""
    import parity

    from r4agent.engines import Checkpoint, Request, Sampling

    checkpoint = Checkpoint.load(tiny(family))

    def made(pictures: int = 1, *, chance: int = 0, **sampling: Any) -> Request:
        drawn = parity.request(checkpoint, pictures, 1, random.Random(chance))
        return Request(drawn.ids, drawn.pictures, drawn.load, Sampling(**{"max_tokens": 12, **sampling}))

    return made
