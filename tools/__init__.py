"""The typed tools: `select_frames`, `zoom`, `re_encode`.

Promises: arguments are pydantic models; the functions are pure, except that `re_encode` decodes and
stores. `select_frames` and `zoom` choose Views, `re_encode` makes them into Pictures. A bad request
raises UsageError whose text is fit for the model: the value, the valid range, the next step.
Does not: know messages, state or budgets; the graph brings those. No tool takes a path or a URL.
"""

from pydantic import BaseModel

from r4agent.tools.re_encode import ReEncode, detail_tokens, re_encode, see_again
from r4agent.tools.select_frames import SelectFrames, overview, select_frames
from r4agent.tools.zoom import Zoom, zoom

TOOLS: dict[str, type[BaseModel]] = {"select_frames": SelectFrames, "zoom": Zoom, "re_encode": ReEncode}
"""Name → arguments, in the order in which the prompt lists them."""

__all__ = [
    "TOOLS",
    "ReEncode",
    "SelectFrames",
    "Zoom",
    "detail_tokens",
    "overview",
    "re_encode",
    "see_again",
    "select_frames",
    "zoom",
]
