"""Media: opened sources, recipes of pictures, and the store that holds them."""

from r4agent.media.limits import Limits
from r4agent.media.source import Frame, Source, open_source

__all__ = ["Frame", "Limits", "Source", "open_source"]
