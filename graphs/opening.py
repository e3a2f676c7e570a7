"""How a run begins: its input checked, its episode named, its header written.

Promises: the same input on the same thread gets the same episode when `prepare` runs again, and no other
input ever does.
Does not: open the media or write the file.
"""

import functools
import hashlib
import importlib.metadata
import time
from pathlib import Path
from typing import Any

from langgraph.runtime import Runtime

from r4agent.episode import SCHEMA
from r4agent.errors import UsageError
from r4agent.graphs.state import RuminationState
from r4agent.media import Source


def checked_input(state: RuminationState) -> tuple[str, str, list[str]]:
    """Media as an absolute path, question, choices; UsageError says what is missing."""
    media, question = state.get("media"), state.get("question")
    if not isinstance(media, str) or not media:
        raise UsageError(f"media {media!r}: give the path of a video, PDF, picture or folder of pictures")
    if not isinstance(question, str) or not question.strip():
        raise UsageError(f"question {question!r}: give a question")
    return str(Path(media).absolute()), question, list(state.get("choices") or [])


def episode_id(runtime: Runtime[None]) -> str:
    """The same when `prepare` runs again for the same input, and no other time."""
    info = runtime.execution_info
    assert info is not None
    run = f"{info.thread_id}/{info.checkpoint_ns}/{info.checkpoint_id}"
    return hashlib.sha256(run.encode()).hexdigest()[:16]


def header(
    episode: str, before: str | None, source: Source, question: str, choices: list[str]
) -> dict[str, Any]:
    """What an episode file begins with, as far as the question and the media decide it. `before`: path of
    the episode that this one continues."""
    return {
        "type": "episode",
        "schema": SCHEMA,
        "id": episode,
        "continues": Path(before).stem if before else None,
        "created": time.time(),
        "question": question,
        "choices": choices,
        "media": {
            "path": str(source.path),
            "id": source.id,
            "kind": source.kind,
            "count": source.count,
            "duration": source.duration,
            "size": [source.size.width, source.size.height],
        },
        "versions": versions() | {"decoder": source.decoder},
    }


@functools.cache
def versions() -> dict[str, str]:
    """What decides the pixels and the run, for the log."""
    names = ("r4agent", "langgraph", "langchain-core", "pillow", "numpy")
    return {name: importlib.metadata.version(name) for name in names}
