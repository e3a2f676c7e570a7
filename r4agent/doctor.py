"""The doctor: is this installation well, and if not, what is to be done.

Promises: each check does the real thing in small (writes, decodes, reads), and a failed one names the
command that mends it.
Does not: change anything but a probe in the store's folder.
"""

import importlib.metadata
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from r4agent.errors import one_line


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was checked, whether it is well, what was found, and what to do if it is not."""

    name: str
    ok: bool
    found: str
    todo: str = ""


def examine() -> list[Check]:
    """All checks, in the order in which a run needs them."""
    return [
        _check("python", _python, "install Python 3.11 or newer"),
        _check("packages", _packages, "pip install --upgrade r4agent"),
        _check("store", _store, "free some space, or set R4_HOME to a folder you can write to"),
        _check("video", _video, "pip install --force-reinstall av"),
        _check("reader", _reader, 'pip install "r4agent[ocr]"'),
        _check("pdf", _pdf, 'pip install "r4agent[pdf]"'),
    ]


def _check(name: str, probe: Callable[[], str], todo: str) -> Check:
    try:
        return Check(name, True, probe())
    except Exception as error:  # whatever it is, it is a finding
        return Check(name, False, one_line(error), todo)


def _python() -> str:
    assert sys.version_info >= (3, 11), f"Python {platform.python_version()}"
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _packages() -> str:
    names = ("r4agent", "langgraph", "langchain-core", "av", "pillow")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def _store() -> str:
    from r4agent.media.store import MediaStore

    store = MediaStore()
    ref = store.put(Image.new("RGB", (28, 28), "white"))
    assert ref in store
    return f"writes to {store.root}"


def _video() -> str:
    from r4agent.media import open_source
    from r4agent.textworld import make_clip
    from r4agent.textworld.writer import encode

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        encode(make_clip(level=0, seed=0), path)
        with open_source(path) as source:
            source.frame(source.count - 1)
            return f"encodes, and decodes with {source.decoder}"


def _reader() -> str:
    from r4agent.reader import Reader

    image = Image.new("RGB", (320, 64), "white")
    ImageDraw.Draw(image).text((12, 12), "r4agent reads 42", "black", ImageFont.load_default(size=28))
    reader = Reader()
    text = " ".join(line.text for line in reader.read(image))
    assert "42" in text, f"read {text!r} where 'r4agent reads 42' stands"
    return f"reads with {reader.name}"


def _pdf() -> str:
    import pypdfium2

    page = pypdfium2.PdfDocument.new().new_page(100, 100)
    assert page.render().to_pil().size == (100, 100), "a page of 100x100 points is rendered at another size"
    return f"renders pages with pypdfium2 {importlib.metadata.version('pypdfium2')}"
