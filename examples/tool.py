"""The graph as one tool of any agent.

Shows: `as_tool` under `create_agent`. The agent names media under the given roots; it gets the answer as
text, and the graph's whole output is the tool message's artifact.
"""

from pathlib import Path

from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from scripted_model import ScriptedModel

from r4agent import as_tool, create_rumination_graph

ask_media = as_tool(create_rumination_graph(policy="ocr"), roots=[Path(__file__).parent])

# For a real agent: model="openai:gpt-5".
model = ScriptedModel(
    replies=[
        (
            "ask_media",
            {"media": "demo.mp4", "question": "How large is the snapshot of the backup that finished?"},
        ),
        ("ask_media", {"media": "/etc/passwd", "question": "Who is root?"}),
        lambda messages: f"The tool said: {messages[-3].text.splitlines()[0]}",
    ]
)
agent = create_agent(model, tools=[ask_media])


def main() -> None:
    result = agent.invoke({"messages": [("user", "How large is the snapshot in demo.mp4?")]})
    for message in result["messages"]:
        if isinstance(message, ToolMessage):
            print(f"{message.status}:", message.text.splitlines()[0])
            if message.artifact:
                print("artifact:", message.artifact["answer"], message.artifact["supported"])
    print(result["messages"][-1].text)


if __name__ == "__main__":
    main()
