"""Wording: values and hostile text as a page shows them.

Promises: text from users, videos and models can neither reorder nor vanish from the page: what steers or
hides text is spelt out, and each piece stands in a direction of its own. Numbers read the same everywhere.
Does not: escape by itself what a template prints; jinja's autoescape does.
"""

import re
import unicodedata
from typing import Any

from markupsafe import Markup, escape

# Controls (but tab and line feed), soft hyphen, marks and overrides of direction, joiners and spaces of no
# width, lone surrogates, tags. The joiners U+200C and U+200D stay: scripts and emoji are spelt with them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def code_point(character: str) -> str:
    return f"U+{ord(character):04X}"


def visible(text: object) -> str:
    """Text for places that hold no markup (titles, attributes): what is hidden is spelt out."""
    return _HIDDEN.sub(lambda hidden: f"[{code_point(hidden[0])}]", str(text))


def shown(text: object) -> Markup:
    """Text for the page: escaped, isolated, what is hidden spelt out in a box of its own."""
    raw, parts, at = str(text), [], 0
    for hidden in _HIDDEN.finditer(raw):
        parts += [escape(raw[at : hidden.start()]), _spelt(hidden[0])]
        at = hidden.end()
    return Markup("<bdi>{}</bdi>").format(Markup("").join([*parts, escape(raw[at:])]))


def _spelt(character: str) -> Markup:
    name = unicodedata.name(character, "CONTROL")
    return Markup('<span class="hidden-char" title="{}">{}</span>').format(name, code_point(character))


def seconds(value: float) -> str:
    """A length of time: 0.42 s, 41.3 s, 3 min 20 s, 2 h 5 min."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def moment(time: float) -> str:
    """A time in a video: 8.67 s, 1:05.30, 1:02:05.30."""
    if abs(time) < 60:
        return f"{time:.2f} s"
    minutes, rest = divmod(round(time, 2), 60)
    if minutes < 60:
        return f"{minutes:.0f}:{rest:05.2f}"
    return f"{minutes // 60:.0f}:{minutes % 60:02.0f}:{rest:05.2f}"


def number(value: Any) -> str:
    """12,456 · 0.87 · and whatever else it is, as text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    )


def counted(count: int, noun: str) -> str:
    """1 turn, 5 turns."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
