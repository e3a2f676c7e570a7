"""What CI may not skip."""

import os
from importlib.util import find_spec

import pytest


@pytest.mark.skipif("CI" not in os.environ, reason="a machine of one's own may lack vLLM; CI may not")
def test_ci_has_every_package_that_tests_would_skip_without() -> None:
    packages = ("vllm", "torch", "transformers", "trl", "peft", "datasets", "tokenizers", "httpx", "rapidocr")
    assert [package for package in packages if find_spec(package) is None] == []
