"""The picture of the graph in docs/architecture.md is the graph.

`python tests/graphs/test_picture.py` redraws it.
"""

import re
from pathlib import Path

from r4agent import ScriptedPolicy, create_rumination_graph

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
BLOCK = re.compile(r"(?<=```mermaid\n).*?(?=```)", re.DOTALL)


def drawn() -> str:
    return create_rumination_graph(ScriptedPolicy(replies=[])).get_graph().draw_mermaid()


def test_the_picture_in_the_docs_is_the_graph() -> None:
    [picture] = BLOCK.findall(PAGE.read_text())
    assert picture == drawn()


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: drawn(), PAGE.read_text()))
