"""The student, its forward pass, and a small pool of frames."""

from typing import Any

import pytest

from r4agent.engines import Checkpoint

from ...conftest import needs


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    needs("transformers")
    from r4agent.training.nano.student import make_student

    return Checkpoint.load(make_student(tmp_path_factory.mktemp("nano") / "start"))


@pytest.fixture(scope="session")
def model(student: Checkpoint) -> Any:
    from transformers import Qwen2_5_VLForConditionalGeneration

    return Qwen2_5_VLForConditionalGeneration.from_pretrained(student.folder)


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The frames of twenty clips."""
    needs("torch")
    from r4agent.training.nano.pool import Pool, draw
    from r4agent.training.nano.student import BUDGET

    folder = tmp_path_factory.mktemp("frames")
    assert list(draw(folder, range(7, 27), BUDGET)) == [20]
    return Pool.load(folder, range(7, 27))
