"""State, nodes and the compiled graphs."""

from r4agent.graphs.rumination import create_rumination_graph, create_single_pass_graph
from r4agent.graphs.state import RuminationInput, RuminationOutput, RuminationState, pictures

__all__ = [
    "RuminationInput",
    "RuminationOutput",
    "RuminationState",
    "create_rumination_graph",
    "create_single_pass_graph",
    "pictures",
]
