"""How a run begins: its input checked, its episode named, its header written.

Promises: a header that says what was asked, of what, and with which versions.
Does not: open the media or write the file.
"""

import functools
import importlib.metadata
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r4agent.episode import SCHEMA
from r4agent.errors import UsageError
from r4agent.graphs.state import RuminationState
from r4agent.media import Source
from r4agent.media.roots import Roots
from r4agent.protocol import question_text


def checked_input(state: RuminationState, roots: Roots | None) -> tuple[str, str, list[str]]:
    """Media as an absolute path, in the roots if there are any, question, choices; UsageError says what is
    missing, MediaError what may not be opened."""
    media, question = state.get("media"), state.get("question")
    path = checked_media(media, roots)
    if not isinstance(question, str) or not question.strip():
        raise UsageError(f"question {question!r}: give a question, as text")
    choices: Any = state.get("choices") or []  # whatever a caller gave
    if isinstance(choices, str) or not all(isinstance(choice, str) for choice in choices):
        raise UsageError(f"choices {choices!r}: give a list of strings")
    choices = list(choices)
    question_text(question, choices)  # refuses too many, before anything is decoded
    return path, question, choices


def checked_media(media: Any, roots: Roots | None) -> str:
    """What a caller named as media, as an absolute path, in the roots if there are any."""
    if not isinstance(media, str | Path) or not str(media):
        raise UsageError(f"media {media!r}: give the path of a video, PDF, picture or folder of pictures")
    return str(roots.resolve(media) if roots else Path(media).absolute())


def new_id() -> str:
    """A name for an episode that sorts by the time it began."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"


def header(state: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """What an episode file begins with, as far as the question and the media decide it. state: its `episode`,
    `question`, and where there are any `choices` and the episode that it `continues`."""
    before = state.get("continues")
    return {
        "type": "episode",
        "schema": SCHEMA,
        "id": Path(state["episode"]).stem,
        "continues": Path(before).stem if before else None,
        "created": time.time(),
        "question": state["question"],
        "choices": state.get("choices", []),
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
