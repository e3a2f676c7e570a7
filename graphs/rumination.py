"""The graphs: `create_rumination_graph`, and `create_single_pass_graph` for controls.

Promises: a compiled LangGraph graph: `invoke`, `stream`, `batch`, their async twins, checkpoints, use as
a subgraph. The same nodes, log and budget serve asking, evaluation and training.
Does not: choose a policy for you; `ocr` is a name like any other.
"""

from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Checkpointer

from r4agent.budget import Budget
from r4agent.geometry import ModelProfile
from r4agent.graphs.controls import Control
from r4agent.graphs.kit import Kit
from r4agent.graphs.nodes import Nodes
from r4agent.graphs.sources import Sources
from r4agent.graphs.state import RuminationInput, RuminationOutput, RuminationState
from r4agent.graphs.twins import Twins
from r4agent.media import Limits
from r4agent.media.roots import AnyRoots, Roots
from r4agent.media.store import MediaStore, home
from r4agent.policy import resolve
from r4agent.policy.resolve import budget_of, spoken_by
from r4agent.reader import Reader

Graph = CompiledStateGraph[RuminationState, None, RuminationInput, RuminationOutput]


def create_rumination_graph(
    policy: str | BaseChatModel = "ocr",
    *,
    budget: Budget | None = None,
    profile: ModelProfile | None = None,
    reader: Reader | None = None,
    store: MediaStore | None = None,
    episodes: str | Path | None = None,
    limits: Limits | None = None,
    roots: AnyRoots | None = None,
    control: Control | None = None,
    checkpointer: Checkpointer = None,
) -> Graph:
    """The rumination loop: overview → policy → (select_frames | zoom | re_encode) → … → answer.

    policy: a LangChain chat model, `ocr` (the embedded reader), `nano` (a small model that comes with the
    package) or `MODULE:NAME`. budget: what a question may cost; some models bring their own. profile: how the
    policy's model takes pictures and writes boxes, where the model does not say it itself (ChatR4 does;
    others are taken to speak as Qwen2.5-VL). reader: checks answers against their evidence; without one
    `supported` is `unchecked` (the ocr policy brings its own).
    store, episodes: where pictures and logs go, by default under `r4agent.media.store.home()`.
    roots: folders that `media` must lie in, or `Roots`; None: media may lie anywhere, so name it yourself.
    control: how looking is spoilt, for evaluation (`r4agent.graphs.controls`).
    checkpointer: keeps threads, for resuming and for follow-up questions.
    """
    nodes = _nodes(policy, budget, profile, reader, store, episodes, limits, roots, control, tools=True)
    graph = StateGraph(RuminationState, input_schema=RuminationInput, output_schema=RuminationOutput)
    _common(graph, nodes, ("select_frames", "zoom", "re_encode", "policy", "answer"))
    graph.add_node("select_frames", nodes.select_frames)
    graph.add_node("zoom", nodes.zoom)
    return graph.compile(checkpointer=checkpointer, name="rumination")


def create_single_pass_graph(
    policy: str | BaseChatModel = "ocr",
    *,
    budget: Budget | None = None,
    profile: ModelProfile | None = None,
    reader: Reader | None = None,
    store: MediaStore | None = None,
    episodes: str | Path | None = None,
    limits: Limits | None = None,
    roots: AnyRoots | None = None,
    checkpointer: Checkpointer = None,
) -> Graph:
    """The control: the policy sees the overview once, has no tools, and answers."""
    nodes = _nodes(policy, budget, profile, reader, store, episodes, limits, roots, None, tools=False)
    graph = StateGraph(RuminationState, input_schema=RuminationInput, output_schema=RuminationOutput)
    _common(graph, nodes, ("answer",))
    return graph.compile(checkpointer=checkpointer, name="single_pass")


def _nodes(
    policy: str | BaseChatModel,
    budget: Budget | None,
    profile: ModelProfile | None,
    reader: Reader | None,
    store: MediaStore | None,
    episodes: str | Path | None,
    limits: Limits | None,
    roots: AnyRoots | None,
    control: Control | None,
    *,
    tools: bool,
) -> Nodes:
    store = store or MediaStore()
    model = resolve(policy, store=store, reader=reader, profile=profile)
    kit = Kit(
        policy=model,
        profile=profile or spoken_by(model),
        budget=budget or budget_of(policy),
        store=store,
        sources=Sources(limits or Limits()),
        episodes=(Path(episodes) if episodes is not None else home() / "episodes").absolute(),
        reader=reader or getattr(model, "reader", None),
        ruminates=tools,
        control=control,
        roots=None if roots is None else Roots.of(roots),
    )
    return Nodes(kit)


def _common(graph: StateGraph[Any, Any, Any, Any], nodes: Nodes, after_policy: tuple[str, ...]) -> None:
    graph.add_node("prepare", nodes.prepare)
    graph.add_node("re_encode", nodes.re_encode)
    graph.add_node("policy", Twins(nodes.policy, nodes.apolicy), destinations=after_policy)
    graph.add_node("answer", nodes.answer)
    graph.add_edge(START, "prepare")
    graph.add_edge("prepare", "re_encode")
    graph.add_edge("re_encode", "policy")
    graph.add_edge("answer", END)
