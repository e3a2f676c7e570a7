"""vLLM and transformers say the same: a smaller run of benchmarks/parity.py."""

from collections.abc import Callable
from pathlib import Path

import pytest

from r4agent.engines import Checkpoint

from ..conftest import needs


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")  # its engines follow those of test_local
def test_vllm_and_transformers_say_the_same(tiny: Callable[[str], Path], family: str) -> None:
    needs("vllm")
    import parity

    found = parity.measured(Checkpoint.load(tiny(family)), each=2, tokens=24)
    assert found.greedy_equal
    assert found.max_logprob_gap < 1e-4  # 5e-6 was seen; another picture makes 0.2


def test_a_difference_is_found() -> None:
    """The comparison itself, on engines that answer as told."""
    from concurrent.futures import Future

    import parity

    from r4agent.engines import Request, Sample

    class Says:
        name = "says"

        def __init__(self, ids: tuple[int, ...], logprobs: tuple[float, ...]) -> None:
            self.sample = Sample(ids, logprobs, "length", (1,))

        def submit(self, request: Request) -> "Future[Sample]":
            future: Future[Sample] = Future()
            future.set_result(self.sample)
            return future

    asked = [Request((1,), (), lambda ref: pytest.fail("no picture"))]
    one = Says((1, 2, 3), (-1.0, -2.0, -3.0))
    assert parity.compare(one, one, asked) == parity.Parity(True, 0.0)
    near, other = Says((1, 2, 3), (-1.0, -2.5, -3.0)), Says((1, 4, 3), (-1.25, -2.0, -9.0))
    assert parity.compare(one, near, asked) == parity.Parity(True, 0.5)
    assert parity.compare(one, other, asked) == parity.Parity(False, 0.25)
    assert parity.compare(one, Says((1, 2), (-1.0, -2.0)), asked) == parity.Parity(False, 0.0)
