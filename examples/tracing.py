"""Tracing: what callbacks are given of a run.

Shows: a callback handler and LangChain's own tracer over the graph and its model's calls. Both get `img:`
references; the model, which is someone else's, sees pictures all the same. LangSmith and other tracers are
such handlers.
"""

from pathlib import Path
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from scripted_model import ScriptedModel

from r4agent import create_rumination_graph


class References(BaseCallbackHandler):
    """Notes what a chat model's callbacks are given."""

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], **more: Any
    ) -> None:
        given = repr(messages)
        print(f"a call: {given.count('img:')} references, {given.count('base64')} pictures as base64")


def answer(messages: list[BaseMessage]) -> str:
    """What the model says last; it was given the pictures themselves."""
    blocks = [block for m in messages if isinstance(m.content, list) for block in m.content]
    seen = [block for block in blocks if block.get("base64")]
    print(f"the model saw {len(seen)} pictures")
    return '<evidence>{"view": "v10"}</evidence><answer>48.2 GB</answer>'


# For a real model: policy=init_chat_model("openai:gpt-5").
model = ScriptedModel(
    replies=[
        ("select_frames", {"times": [8.7]}),
        ("zoom", {"view": "v9", "box": [600, 20, 896, 100]}),
        answer,
    ]
)
graph = create_rumination_graph(model)


def main() -> None:
    tracer = RunCollectorCallbackHandler()
    demo = str(Path(__file__).with_name("demo.mp4"))
    asked = {"media": demo, "question": "How large is the snapshot of the backup that finished?"}
    graph.invoke(asked, {"callbacks": [References(), tracer]})
    [run] = tracer.traced_runs
    print(f"the trace: {run.name}, {len(run.child_runs)} steps, {len(run.json()) // 1000} kB of text")


if __name__ == "__main__":
    main()
