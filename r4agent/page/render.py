"""Render: from templates and plain data to one HTML file.

Promises: a page carries all it needs and may load nothing (its own policy forbids it); only the style and
script that are ours can run, by their hashes; everything a template prints is escaped.
Does not: know what a page says.
"""

import base64
import contextlib
import functools
import hashlib
import os
import secrets
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from r4agent import __version__
from r4agent.errors import RunError
from r4agent.page import wording

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = resources.files("r4agent.page") / "templates"


def render(
    template: str, *, title: str, stamp: str = "", scripts: tuple[str, ...] = (), **values: Any
) -> str:
    """The page that a template makes. title: text, shown as it is. stamp: says what the page was made of,
    where `is_made_from` asks for it. scripts: names of script files. An `album` gives more style: the small
    pictures that the body uses."""
    environment = _environment()
    body = environment.get_template(template).render(**values)
    thumbs = values["album"].thumbs if "album" in values else {}
    styles = [_asset("page.css")]
    if thumbs:
        styles.append("".join(f".{name}{{background-image:url({uri})}}" for name, uri in thumbs.items()))
    script = "\n".join(_asset(name) for name in scripts)
    return environment.get_template("base.html").render(
        title=title,
        stamp=stamp,
        policy=_policy(styles, script),
        styles=[Markup(style) for style in styles],
        script=Markup(script),
        body=Markup(body),
    )


@functools.cache
def made_by() -> str:
    """What of r4agent decides how a page looks: its version and its templates."""
    digest = hashlib.sha256(__version__.encode())
    for file in sorted(TEMPLATES.iterdir(), key=lambda file: file.name):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def write(path: Path, page: str) -> Path:
    """Write the page, whole or not at all."""
    if path.exists() and not path.is_file():  # a device or a pipe would be replaced by the page
        raise RunError(f"can't write {path} (not a plain file); choose another place with --out")
    part = path.with_name(f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise RunError(f"can't write {path} ({error.strerror}); choose another place with --out") from error
    return path


def is_made_from(path: Path, stamp: str) -> bool:
    """Whether the page at `path` is there and was made of what the stamp says."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return f'content="{stamp}"' in file.read(4096)
    except OSError:
        return False


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_asset),
    )
    environment.filters.update(
        shown=wording.shown,
        visible=wording.visible,
        seconds=wording.seconds,
        moment=wording.moment,
        number=wording.number,
    )
    return environment


@functools.cache
def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _policy(styles: list[str], script: str) -> str:
    """The Content-Security-Policy: pictures from `data:`, our style and script, nothing else."""
    style = " ".join(_hash(text) for text in styles)
    parts = ["default-src 'none'", "img-src data:", f"style-src {style}"]
    if script:
        parts.append(f"script-src {_hash(script)}")
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
