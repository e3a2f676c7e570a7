"""The graph as LangChain runs anything: invoke, stream, batch, and their async twins.

Shows: the answer with its evidence, the events of a run, and two questions at once.
"""

import asyncio
from pathlib import Path

from r4agent import create_rumination_graph

DEMO = str(Path(__file__).with_name("demo.mp4"))
SNAPSHOT = {"media": DEMO, "question": "How large is the snapshot of the backup that finished?"}
LATENCY = {"media": DEMO, "question": "What is the p99 latency of the region far-buoy?"}

# For a model of your own: policy=init_chat_model("openai:gpt-5"), or any chat model that sees pictures.
graph = create_rumination_graph(policy="ocr")


async def twins() -> None:
    result = await graph.ainvoke(SNAPSHOT)
    print("ainvoke:", result["answer"])
    async for event in graph.astream(SNAPSHOT, stream_mode="custom"):
        if event["event"] == "answer":
            print("astream:", event["answer"])
    both = await graph.abatch([SNAPSHOT, LATENCY])
    print("abatch:", [result["answer"] for result in both])


def main() -> None:
    result = graph.invoke(SNAPSHOT)
    place = result["evidence"][0]
    print("invoke:", result["answer"], "at", round(place["time"], 1), "s in", place["box"])
    events = [event["event"] for event in graph.stream(SNAPSHOT, stream_mode="custom")]
    print("stream:", events[0], "…", events[-1])
    both = graph.batch([SNAPSHOT, LATENCY], {"max_concurrency": 2})
    print("batch:", [result["answer"] for result in both])
    asyncio.run(twins())


if __name__ == "__main__":
    main()
