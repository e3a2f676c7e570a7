"""The text world: a seeded generator of text-rich videos whose every text, box and span is known.

Promises: same level, seed and fonts, same pixels and records. No download, nobody's licence.
Does not: look like a camera's recording.
"""

from r4agent.textworld.document import Document
from r4agent.textworld.levels import make_clip
from r4agent.textworld.world import Clip, Shown, Text
from r4agent.textworld.writer import clip_file, generate

__all__ = ["Clip", "Document", "Shown", "Text", "clip_file", "generate", "make_clip"]
