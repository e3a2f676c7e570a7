"""The state of a run, and what goes in and comes out.

Promises: messages are the one truth; everything here is plain data that msgpack keeps without help, and
pictures are references. Parents of the graph see only the input and output schemas.
Does not: hold open files, models or pixels.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages

from r4agent.episode import Status
from r4agent.media.view import Picture, pictures_in


class RuminationInput(TypedDict):
    """A question about one media file. On a thread that has a question behind it, the same media again:
    what was seen stays seen."""

    media: str
    question: str
    choices: NotRequired[list[str]]


class RuminationOutput(TypedDict):
    """What a run ends with.

    answer: as the policy gave it; None unless status is answered or forced. supported: whether a reader
    finds the answer in the evidence. confidence: mean probability of the last reply's tokens, None where the
    policy does not tell them. evidence: `r4agent.evidence.Evidence` as plain data. usage:
    `r4agent.budget.Spent` as plain data. episode: path of the log.
    """

    answer: str | None
    status: Status
    supported: Literal["yes", "no", "unchecked"]
    confidence: float | None
    evidence: list[dict[str, Any]]
    usage: dict[str, Any]
    episode: str


OUTCOME = ("answer", "status", "supported", "confidence", "evidence", "usage")
"""What an episode's last line says of it, as the output has it."""


class RuminationState(TypedDict):
    """source: the media's id. wanted: recipes of the Views to be made next. call: the tool call being
    served, None while the opening message is made. continues: the episode of the thread's question before."""

    media: str
    question: str
    choices: NotRequired[list[str]]
    source: str
    messages: Annotated[list[AnyMessage], add_messages]
    wanted: list[str]
    call: dict[str, Any] | None
    answer: str | None
    status: Status | None
    supported: Literal["yes", "no", "unchecked"]
    confidence: float | None
    evidence: list[dict[str, Any]]
    usage: dict[str, Any]
    episode: str
    continues: str | None


def pictures(messages: Sequence[AnyMessage]) -> dict[str, Picture]:
    """Every picture in the conversation by name, in the order in which they were shown."""
    return {picture.name: picture for picture in pictures_in(m.content for m in messages)}
