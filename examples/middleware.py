"""The three tools for an agent that you have already.

Shows: `RuminationMiddleware` under `create_agent`, beside a tool of the agent's own. The caller names the
media; the model sees an overview, looks again, and is told when its budget ends. The run is an episode: `r4
view` it.
"""

from pathlib import Path

from langchain.agents import create_agent
from langchain_core.tools import tool
from scripted_model import ScriptedModel

from r4agent import Budget, Episode, RuminationMiddleware


@tool
def file_ticket(text: str) -> str:
    """Write something down for a person."""
    return f"filed: {text}"


# For a real agent: model="openai:gpt-5".
model = ScriptedModel(
    replies=[
        ("select_frames", {"times": [8.7]}),
        ("zoom", {"view": "v9", "box": [600, 20, 896, 100]}),
        ("file_ticket", {"text": "the snapshot is 48.2 GB"}),
        "The snapshot is 48.2 GB; I read it in v10.",
    ]
)
agent = create_agent(model, tools=[file_ticket], middleware=[RuminationMiddleware(budget=Budget(turns=6))])


def main() -> None:
    demo = str(Path(__file__).with_name("demo.mp4"))
    result = agent.invoke({"messages": [("user", "How large is the snapshot?")], "media": demo})
    for message in result["messages"]:
        blocks = message.content if isinstance(message.content, list) else []
        names = [block["id"] for block in blocks if block["type"] == "image"]
        print(f"{message.type}:", f"{len(names)} pictures" if names else message.text or "a call")
    ended = result["rumination"]
    print(ended["status"], "read at", round(ended["evidence"][0]["time"], 2), "s")
    print("episode:", len(Episode.read(ended["episode"]).pictures), "pictures, by reference")


if __name__ == "__main__":
    main()
