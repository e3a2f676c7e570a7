"""What a turn costs us hardly grows with those before it. Milliseconds: benchmarks/node_overhead.py."""

import cProfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from r4agent import Budget
from r4agent.media import open_source

from .conftest import call


def test_a_turn_costs_little_more_after_many_turns_than_after_few(
    graph_of: Callable[..., Any], clip: Path
) -> None:
    """In function calls, which are the same on a busy machine. Where all that was said is read, spelt or
    looked through anew in each node, 32 turns take several times as many each as 8."""

    def calls(turns: int) -> float:
        """Function calls a turn, once the views are made."""
        budget = Budget(turns=turns, images=100, image_tokens=10**6, seconds=1e6)
        boxes = [[10 + n, 10, 200 + n, 100] for n in range(turns - 1)]
        zooms = [call("zoom", view=f"v{n % 8 + 1}", box=box) for n, box in enumerate(boxes)]
        graph = graph_of([*zooms, "<answer>42</answer>"], budget=budget)
        for _ in range(2):
            with cProfile.Profile() as profile:
                result = graph.invoke({"media": str(clip), "question": "What?"})
        assert (result["answer"], result["usage"]["turns"]) == ("42", turns)
        return sum(entry.callcount for entry in profile.getstats()) / turns

    with (
        open_source(clip) as source,
        mock.patch("r4agent.graphs.sources.open_source", return_value=source),
        mock.patch.object(source, "close"),
    ):
        few, many = calls(8), calls(32)
    assert many < 1.3 * few
    assert few < 8_000  # 5,000 as this was written
