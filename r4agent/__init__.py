"""Visual rumination for text-rich video, as one LangGraph graph.

    from r4agent import create_rumination_graph

    graph = create_rumination_graph(policy="ocr")
    result = graph.invoke({"media": "examples/demo.mp4", "question": "Which snapshot was saved?"})

Promises: importing this loads nothing heavy; each name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r4agent.budget import Budget, Spent
    from r4agent.episode import Episode
    from r4agent.errors import MediaError, MissingError, R4Error, RunError, UsageError
    from r4agent.evidence import Evidence
    from r4agent.geometry import QWEN2_5_VL, QWEN3_VL, Box, ModelProfile, Size
    from r4agent.graphs import as_tool, create_rumination_graph, create_single_pass_graph
    from r4agent.graphs.middleware import RuminationMiddleware
    from r4agent.item import Item, Span
    from r4agent.media import Limits, Source, open_source
    from r4agent.media.roots import Roots
    from r4agent.media.store import MediaStore
    from r4agent.media.view import Picture, View
    from r4agent.policy import ScriptedPolicy
    from r4agent.policy.chat import ChatR4
    from r4agent.reader import Reader

__version__ = "0.1.0"

_HOME = {
    "r4agent.budget": ("Budget", "Spent"),
    "r4agent.episode": ("Episode",),
    "r4agent.errors": ("MediaError", "MissingError", "R4Error", "RunError", "UsageError"),
    "r4agent.evidence": ("Evidence",),
    "r4agent.geometry": ("QWEN2_5_VL", "QWEN3_VL", "Box", "ModelProfile", "Size"),
    "r4agent.graphs": ("as_tool", "create_rumination_graph", "create_single_pass_graph"),
    "r4agent.graphs.middleware": ("RuminationMiddleware",),
    "r4agent.item": ("Item", "Span"),
    "r4agent.media": ("Limits", "Source", "open_source"),
    "r4agent.media.roots": ("Roots",),
    "r4agent.media.store": ("MediaStore",),
    "r4agent.media.view": ("Picture", "View"),
    "r4agent.policy": ("ScriptedPolicy",),
    "r4agent.policy.chat": ("ChatR4",),
    "r4agent.reader": ("Reader",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "QWEN2_5_VL",
    "QWEN3_VL",
    "Box",
    "Budget",
    "ChatR4",
    "Episode",
    "Evidence",
    "Item",
    "Limits",
    "MediaError",
    "MediaStore",
    "MissingError",
    "ModelProfile",
    "Picture",
    "R4Error",
    "Reader",
    "Roots",
    "RuminationMiddleware",
    "RunError",
    "ScriptedPolicy",
    "Size",
    "Source",
    "Span",
    "Spent",
    "UsageError",
    "View",
    "as_tool",
    "create_rumination_graph",
    "create_single_pass_graph",
    "open_source",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'r4agent' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
