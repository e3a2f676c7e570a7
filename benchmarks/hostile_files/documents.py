"""PDFs: locked, without pages, with too many, with pages that never end or draw themselves."""

import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption

from hostile_files import Case, write
from hostile_files.bombs import HUGE
from hostile_files.good import document


def pdf(*objects: bytes | str) -> bytes:
    """A PDF whose object 1 is its catalogue."""
    out, at = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, start=1):
        at.append(len(out))
        out += b"%d 0 obj\n" % number + (body if isinstance(body, bytes) else body.encode()) + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % offset for offset in at)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(at) + 1) + table
    return bytes(out) + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(at) + 1, start)


def stream(content: bytes, entries: str = "") -> bytes:
    packed = zlib.compress(content)
    return f"<</Filter/FlateDecode/Length {len(packed)}{entries}>>stream\n".encode() + packed + b"\nendstream"


CATALOGUE, PAGES = "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>"


def page(box: str = "0 0 500 500", entries: str = "") -> str:
    return f"<</Type/Page/Parent 2 0 R/MediaBox[{box}]{entries}>>"


def painted(content: bytes, resources: str = "", *more: bytes | str) -> bytes:
    """One page with that content; objects 5 and on are `more`."""
    return pdf(
        CATALOGUE, PAGES, page(entries=f"/Contents 4 0 R/Resources<<{resources}>>"), stream(content), *more
    )


def documents(folder: Path, good: dict[str, bytes]) -> Iterator[Case]:
    blank = Image.new("RGB", (90, 60))
    locked, owned = StandardEncryption("secret"), StandardEncryption("", "owner", canPrint=0)
    strong = StandardEncryption("secret", strength=128)
    form = "/Type/XObject/Subtype/Form/BBox[0 0 500 500]/Resources<</XObject<</X {} 0 R>>>>"
    laughs = [stream(b"/X Do " * 10, form.format(number + 1)) for number in range(5, 14)] + [
        stream(b"0 0 9 9 re f", form)
    ]
    image = "/Type/XObject/Subtype/Image/Width {0}/Height {0}/ColorSpace/DeviceRGB/BitsPerComponent 8"
    tile = "/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 1 1]/XStep .001/YStep .001/Resources<<>>"
    link = "<</Type/Action/S/URI/URI(http://127.0.0.1:9/)>>"
    deep = [f"<</Type/Pages/Kids[{number + 1} 0 R]/Count 1>>" for number in range(2, 5000)]
    for name, data in {
        "locked.pdf": document([blank], locked),
        "strong.pdf": document([blank], strong),
        "million-pages.pdf": pdf(
            CATALOGUE, "<</Type/Pages/Kids[" + "3 0 R " * 10_000 + "]/Count 10000>>", page()
        ),
        "bare.pdf": b"%PDF-1.7\n%%EOF",
        "no-pages.pdf": pdf(CATALOGUE, "<</Type/Pages/Kids[]/Count 0>>"),
    }.items():
        yield Case("document", name, write(folder / name, data), refuse=True)
    for name, data in {
        "owned.pdf": document([blank], owned),
        "count.pdf": pdf(CATALOGUE, PAGES.replace("Count 1", "Count 1000000"), page()),
        "wide.pdf": pdf(CATALOGUE, PAGES, page("0 0 1000000 1000000")),
        "long.pdf": pdf(CATALOGUE, PAGES, page("0 0 1 1e30")),
        "thin.pdf": pdf(CATALOGUE, PAGES, page("0 0 0.0001 1000")),
        "empty.pdf": pdf(CATALOGUE, PAGES, page("0 0 0 0")),
        "negative.pdf": pdf(CATALOGUE, PAGES, page("9 9 -9e9 -9e9")),
        "unit.pdf": pdf(CATALOGUE, PAGES, page(entries="/UserUnit 1e9")),
        "circle.pdf": pdf(CATALOGUE, "<</Type/Pages/Kids[2 0 R]/Count 5>>"),
        "deep.pdf": pdf(CATALOGUE, *deep, page()),
        "nested.pdf": pdf(CATALOGUE, PAGES, page(), b"[" * 1_000_000),
        "prev.pdf": good["pdf"].replace(b"/Size", b"/Prev 9/Size"),
        "spaces.pdf": painted(b" " * 2**28),
        "lines.pdf": painted(b"0 0 m 500 500 l S\n" * 2_000_000),
        "dashes.pdf": painted(b"[.0001 .0001] 0 d " + b"0 0 m 500 500 l S\n" * 100),
        "laughs.pdf": painted(b"/X Do", "/XObject<</X 5 0 R>>", *laughs),
        "itself.pdf": painted(b"/X Do", "/XObject<</X 5 0 R>>", stream(b"/X Do", form.format(5))),
        "image.pdf": painted(
            b"500 0 0 500 0 0 cm /X Do",
            "/XObject<</X 5 0 R>>",
            stream(bytes(12_000 * 12_000 * 3), image.format(12_000)),
        ),
        "image-claim.pdf": painted(
            b"500 0 0 500 0 0 cm /X Do", "/XObject<</X 5 0 R>>", stream(b"x", image.format(HUGE))
        ),
        "pattern.pdf": painted(
            b"/Pattern cs /P scn 0 0 500 500 re f", "/Pattern<</P 5 0 R>>", stream(b"0 0 1 1 re f", tile)
        ),
        "graphics.pdf": painted(b"q " * 5_000_000),
        "link.pdf": pdf(CATALOGUE.replace(">>", f"/OpenAction{link}>>"), PAGES, page()),
        "script.pdf": pdf(
            CATALOGUE.replace(">>", "/OpenAction<</S/JavaScript/JS(while\\(1\\);)>>>>"), PAGES, page()
        ),
        "catalogue.pdf": pdf("<</Type/Catalog/Pages 1 0 R>>"),
        "behind.pdf": b"x" * 900 + good["pdf"],
    }.items():
        yield Case("document", name, write(folder / name, data))
