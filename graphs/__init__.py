"""State, nodes and the compiled graphs."""

from r4agent.graphs.rumination import create_rumination_graph, create_single_pass_graph
from r4agent.graphs.state import RuminationInput, RuminationOutput, RuminationState, pictures
from r4agent.graphs.tool import as_tool

__all__ = [
    "RuminationInput",
    "RuminationOutput",
    "RuminationState",
    "as_tool",
    "create_rumination_graph",
    "create_single_pass_graph",
    "pictures",
]
