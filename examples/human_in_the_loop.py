"""A person is asked when the policy is less sure than 0.8, or does not say, and a reader finds no such text.

Shows: an interrupt in a parent graph; the hint goes with a follow-up question, and what was seen stays seen.
"""

from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from r4agent import Reader, ScriptedPolicy, create_rumination_graph

DEMO = str(Path(__file__).with_name("demo.mp4"))
# A real policy: "ocr", init_chat_model("openai:gpt-5"), or ChatR4, which tells how sure it is of its tokens.
policy = ScriptedPolicy(
    replies=[
        "<answer>84.2 TB</answer>",  # a guess, from the overview
        '<tool_call>{"name": "select_frames", "arguments": {"times": [8.7]}}</tool_call>',
        '<tool_call>{"name": "zoom", "arguments": {"view": "v9", "box": [600, 20, 896, 100]}}</tool_call>',
        '<evidence>{"view": "v10"}</evidence><answer>48.2 GB</answer>',
    ]
)
rumination = create_rumination_graph(policy, reader=Reader(), checkpointer=True)  # the parent's


class Case(TypedDict):
    media: str
    question: str
    result: NotRequired[dict[str, Any]]


def look(case: Case) -> dict[str, Any]:
    return {"result": rumination.invoke({"media": case["media"], "question": case["question"]})}


def doubt(case: Case) -> Command[Literal["look", "__end__"]]:
    sure = case["result"]["confidence"]
    if case["result"]["supported"] == "yes" if sure is None else sure >= 0.8:
        return Command(goto=END)
    hint = interrupt({"answer": case["result"]["answer"], "ask": "Where should it look?"})
    return Command(update={"question": f"{case['question']} {hint}"}, goto="look")


builder = StateGraph(Case).add_sequence([look, doubt]).add_edge(START, "look")
graph = builder.compile(checkpointer=InMemorySaver())


def main() -> None:
    thread = {"configurable": {"thread_id": "case 1"}}
    case = graph.invoke({"media": DEMO, "question": "How large is the snapshot?"}, thread)
    print("interrupted:", case["__interrupt__"][0].value)
    result = graph.invoke(Command(resume="the pop-up at 8.7 s"), thread)["result"]
    print("answer:", result["answer"], result["supported"], result["usage"]["images"], "pictures more")


if __name__ == "__main__":
    main()
