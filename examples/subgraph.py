"""The graph as a node of another graph, whose state has other keys.

Shows: one node asks, with the keys that the graph takes; the parent keeps what it wants of the output. It
never receives the run's messages. Events of the run come through with `subgraphs=True`.
"""

from pathlib import Path
from typing import TypedDict

from langgraph.graph import START, StateGraph

from r4agent import create_rumination_graph

# For a model of your own: policy=init_chat_model("openai:gpt-5"), or any chat model that sees pictures.
rumination = create_rumination_graph(policy="ocr")


class Ticket(TypedDict, total=False):
    recording: str
    wanted: str
    finding: str
    messages: list[str]  # the parent's own


def look(ticket: Ticket) -> Ticket:
    result = rumination.invoke({"media": ticket["recording"], "question": ticket["wanted"]})
    return {"finding": f"{result['answer']} (found there: {result['supported']})"}


def close(ticket: Ticket) -> Ticket:
    return {"messages": [*ticket.get("messages", []), f"closed with {ticket['finding']}"]}


graph = StateGraph(Ticket).add_sequence([look, close]).add_edge(START, "look").compile()


def main() -> None:
    demo = str(Path(__file__).with_name("demo.mp4"))
    ticket = {
        "recording": demo,
        "wanted": "What is the p99 latency of the region far-buoy?",
        "messages": ["opened"],
    }
    seen = set()
    for _, mode, data in graph.stream(ticket, stream_mode=["custom", "values"], subgraphs=True):
        if mode == "custom":
            seen.add(data["event"])
        elif set(data) <= set(Ticket.__annotations__):
            ticket = data
    print("events:", ", ".join(sorted(seen)))
    print("messages:", ticket["messages"])


if __name__ == "__main__":
    main()
