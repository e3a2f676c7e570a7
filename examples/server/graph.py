"""What `langgraph dev` serves: the graph, with media under one folder, and a person asked before it looks.

    cd examples/server && langgraph dev

Shows: a module for langgraph.json. The server brings checkpoints and threads; clients name media, so `roots`
says where media may lie. A client that asks for `review` is interrupted with the answer, and resumes with its
verdict.
"""

from pathlib import Path
from typing import NotRequired, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from r4agent import create_rumination_graph
from r4agent.graphs import RuminationInput

EXAMPLES = Path(__file__).resolve().parents[1]

# For a model of your own: policy=init_chat_model("openai:gpt-5"), or any chat model that sees pictures.
graph = create_rumination_graph(policy="ocr", roots=[EXAMPLES])


class Reviewed(RuminationInput):
    """A question, its answer, and what the person who asked makes of it."""

    answer: NotRequired[str | None]
    verdict: NotRequired[str]


async def look(state: Reviewed, config: RunnableConfig) -> dict[str, str | None]:
    result = await graph.ainvoke({"media": state["media"], "question": state["question"]}, config)
    return {"answer": result["answer"]}


def review(state: Reviewed) -> dict[str, str]:
    return {"verdict": interrupt({"answer": state["answer"], "ask": "Is that right?"})}


class Reply(TypedDict):
    answer: str | None
    verdict: str


builder = StateGraph(Reviewed, input_schema=RuminationInput, output_schema=Reply)
reviewed = builder.add_sequence([look, review]).add_edge(START, "look").add_edge("review", END).compile()
