"""A client of the server beside this file, with LangGraph's own SDK.

    python client.py http://127.0.0.1:2024

Shows: a run, a stream of its events, an interrupt and its resume, and media that the server refuses.
"""

import asyncio
import sys

from langgraph_sdk import get_client

ASKED = {"media": "demo.mp4", "question": "What is the p99 latency of the region far-buoy?"}


async def main(url: str) -> None:
    client = get_client(url=url)

    result = await client.runs.wait(None, "rumination", input=ASKED)
    print("run:", result["answer"], result["status"], result["supported"])

    parts = client.runs.stream(None, "rumination", input=ASKED, stream_mode="custom")
    events = [part.data["event"] async for part in parts if part.event == "custom"]
    print("stream:", events[0], "…", events[-1])

    thread = await client.threads.create()
    asked = await client.runs.wait(thread["thread_id"], "reviewed", input=ASKED)
    print("interrupt:", asked["__interrupt__"][0]["value"])
    done = await client.runs.wait(thread["thread_id"], "reviewed", command={"resume": "yes"})
    print("resume:", done["answer"], done["verdict"])

    outside = ASKED | {"media": "/etc/passwd"}
    refused = await client.runs.wait(None, "rumination", input=outside, raise_error=False)
    print("refused:", refused["__error__"]["error"])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
