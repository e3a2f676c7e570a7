"""The subject: what is evaluated, as a result file says it.

Promises: two subjects with equal `config` are asked in the same way, up to versions, which stand beside it.
Does not: run.
"""

import os
import platform
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel

from r4agent import protocol
from r4agent.budget import Budget
from r4agent.episode import Episode
from r4agent.errors import UsageError
from r4agent.evaluation.results import Row
from r4agent.geometry import QWEN2_5_VL, ModelProfile, Size
from r4agent.graphs.dialogue import signature
from r4agent.policy.resolve import budget_of, described, spoken_by
from r4agent.tools import TOOLS

Control = Literal["equal-pixels", "random-crop", "blank-crop", "no-tool"]
"""`equal-pixels`: a single pass that may see as many image tokens as rumination used on the same question.
The others are runs in which looking is spoilt (`r4agent.graphs.controls`)."""

UNSAID = Budget()


@dataclass(frozen=True)
class Subject:
    """policy: a name or a chat model. single_pass: look at the overview once. control: see `Control`.
    budget, profile: as `create_rumination_graph` takes them, once made the budget that holds; `speaks` is the
    profile that holds."""

    policy: str | BaseChatModel = "ocr"
    single_pass: bool = False
    control: Control | None = None
    budget: Budget = field(default_factory=lambda: UNSAID)
    profile: ModelProfile | None = None

    def __post_init__(self) -> None:
        if self.single_pass and self.control:
            raise UsageError(f"control {self.control!r} is of a run that ruminates; leave single pass out")
        if self.budget is UNSAID:  # then it becomes the policy's own
            object.__setattr__(self, "budget", budget_of(self.policy))

    @property
    def speaks(self) -> ModelProfile:
        """How the policy takes pictures and writes boxes."""
        return self.profile or (QWEN2_5_VL if isinstance(self.policy, str) else spoken_by(self.policy))

    @property
    def looks_once(self) -> bool:
        return self.single_pass or self.control == "equal-pixels"

    @property
    def rumination(self) -> "Subject":
        """The same without its control."""
        return replace(self, control=None)

    def config(self, reader: str) -> dict[str, Any]:
        """What a result file says of it. reader: the name of the one that checks answers."""
        return {
            "policy": self.policy if isinstance(self.policy, str) else self.policy._llm_type,
            "model": None if isinstance(self.policy, str) else described(self.policy),
            "graph": "single_pass" if self.looks_once else "rumination",
            "control": self.control,
            "budget": self.budget.model_dump(),
            "profile": self.speaks.name,
            "reader": reader,
        }

    def prompt(self) -> str:
        """The system message, with a word in place of the media's description."""
        tools = {} if self.looks_once else TOOLS
        signatures = [signature(name, arguments) for name, arguments in tools.items()]
        return protocol.system_text("MEDIA", signatures, self.speaks, self.budget)


def equal_pixels(row: Row, budget: Budget, profile: ModelProfile) -> Budget:
    """The budget of a single pass with as many image tokens as rumination spent in `row`: the overview's
    frames, larger; more of them where they can't be larger, as the source has no more pixels or one picture
    may have no more tokens. Fewer tokens only where that is all that the media has."""
    tokens, episode = int(row.cost["image_tokens"]), Episode.read(row.episode)
    largest = max((picture.view.region for picture in episode.pictures), key=lambda region: region.area)
    size = Size(round(largest.width), round(largest.height))
    most = profile.tokens(profile.fit(size, budget.picture_tokens))
    wanted = max(min(budget.overview_images, int(row.cost["images"])), -(-tokens // most))
    count = min(wanted, episode.header["media"]["count"])
    changes = {"images": count, "overview_images": count, "image_tokens": tokens, "overview_tokens": most}
    return budget.model_copy(update=changes)


def machine() -> str:
    """This machine in a few words: costs in seconds are of it."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2] for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].strip() if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
