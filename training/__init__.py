"""Fine-tuning on episodes: keep them, choose, check, reward, and train on what the policy saw and wrote.

    from r4agent.training import EpisodeStore, Row

    for stored in EpisodeStore("data").select(supported=["yes"], exact=True):
        row = Row.of(stored.episode)

Promises: importing this loads nothing heavy; each name is loaded when it is first used. Trainers are in
`r4agent.training.sft` and `r4agent.training.grpo`, teaching in `r4agent.training.trajectories`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r4agent.training.checks import check, check_inputs
    from r4agent.training.export import to_dataset
    from r4agent.training.messages import to_messages
    from r4agent.training.rows import Row, led
    from r4agent.training.scoring import Rewards
    from r4agent.training.store import EpisodeStore, Stored
    from r4agent.training.teacher import Teacher

_HOME = {
    "r4agent.training.checks": ("check", "check_inputs"),
    "r4agent.training.export": ("to_dataset",),
    "r4agent.training.messages": ("to_messages",),
    "r4agent.training.rows": ("Row", "led"),
    "r4agent.training.scoring": ("Rewards",),
    "r4agent.training.store": ("EpisodeStore", "Stored"),
    "r4agent.training.teacher": ("Teacher",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "EpisodeStore",
    "Rewards",
    "Row",
    "Stored",
    "Teacher",
    "check",
    "check_inputs",
    "led",
    "to_dataset",
    "to_messages",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'r4agent.training' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
