"""The Policy: whatever decides what to look at next. It is a LangChain chat model, nothing else.

Promises: `resolve` turns a name or a model into a chat model; `ask` and `aask` show it the conversation
in the form it understands and return its reply as an AIMessage. Callbacks, streaming and tracing are the
chat model's own.
Does not: parse the reply (protocol does) or retry (set the chat model's own `max_retries`).
"""

from r4agent.policy import hints
from r4agent.policy.conversation import aask, ask
from r4agent.policy.resolve import resolve
from r4agent.policy.scripted import ScriptedPolicy

__all__ = ["ScriptedPolicy", "aask", "ask", "resolve"]

hints.remember_block_types()
