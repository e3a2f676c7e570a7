"""What CI may not skip."""

import os
from importlib.util import find_spec

import pytest


@pytest.mark.skipif("CI" not in os.environ, reason="a machine of one's own may lack vLLM; CI may not")
def test_ci_has_every_package_that_tests_would_skip_without() -> None:
    packages = ("vllm", "torch", "transformers", "trl", "peft", "datasets", "tokenizers", "httpx", "rapidocr")
    assert [package for package in packages if find_spec(package) is None] == []


@pytest.mark.xdist_group("house")
def test_tests_of_a_group_share_a_worker(request: pytest.FixtureRequest) -> None:
    """As long as pytest-xdist sees the mark, it is in the test's id. Where it does not, servers and engines
    begin in every worker, and memory runs out."""
    if request.config.getoption("loadgroup", False):
        assert request.node.nodeid.endswith("@house")
