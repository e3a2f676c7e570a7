"""A slow function of langchain-core, remembered.

Before each call a chat model asks of every picture in the conversation whether it is one, and for that
langchain-core (1.7.2, `messages/content.py`) works out the type hints of five TypedDicts anew: 0.2 ms of
processor time a picture, each turn. They never change.

Promises: the same answers. Does not: touch anything else; where langchain-core has no such function any more,
tests/policy/test_hints.py says so, and this file goes.
"""

import functools

from langchain_core.messages import content

_NAME = "_get_data_content_block_types"


def remember_block_types() -> None:
    """Have langchain-core work out its types of data blocks once. May be called again."""
    types = getattr(content, _NAME, None)
    if types is not None and not hasattr(types, "cache_info"):
        setattr(content, _NAME, functools.cache(types))
