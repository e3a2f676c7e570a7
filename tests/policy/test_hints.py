"""langchain-core's block types are worked out once, and are what they were."""

from typing import Any

import pytest
from langchain_core.messages import content

from r4agent.policy import hints


def test_the_types_are_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when langchain-core has no such function any more, or works them out once by itself: then
    `r4agent/policy/hints.py` can go."""
    assert isinstance(content.get_type_hints, type(content.is_data_content_block))
    remembered: Any = getattr(content, hints._NAME)
    plain = remembered.__wrapped__
    assert remembered() == plain()
    monkeypatch.setattr(content, hints._NAME, plain)
    asked: list[object] = []
    original = content.get_type_hints
    monkeypatch.setattr(content, "get_type_hints", lambda kind: (asked.append(kind), original(kind))[1])
    picture = {"type": "image", "id": "v1", "file_id": "img:0"}
    assert content.is_data_content_block(picture)
    assert asked, "langchain-core does this by itself now"
    hints.remember_block_types()
    content.is_data_content_block(picture)
    asked.clear()
    assert content.is_data_content_block(picture)
    assert not asked
