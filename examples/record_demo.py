"""Films examples/demo.html into examples/demo.mp4, and writes examples/demo.jsonl beside it.

Promises: the same clip and questions from the same page, browser and fonts: the page's clock is ours, so
no frame depends on how fast the machine is. Boxes come from the page's own layout, spans from the frames.
Does not: run in the tests. It needs Debian's chromium and two fonts, and playwright to drive the browser:

    apt-get install -y chromium fonts-inter fonts-jetbrains-mono
    pip install playwright && python examples/record_demo.py
"""

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image
from playwright.sync_api import sync_playwright

from r4agent.item import Item, Span, write_items

HERE = Path(__file__).parent
WIDTH, HEIGHT, FPS, SECONDS = 1440, 900, 15, 14
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --font-render-hinting=none "
    "--disable-lcd-text"
)
Boxes = dict[str, tuple[float, float, float, float]]

QUESTIONS = {  # mark in the page: question, accepted answers
    "version": ("What version of ticket-mailer is deployed?", ("5.0.11", "v5.0.11", "version 5.0.11")),
    "backup": ("How large is the snapshot of the backup that finished?", ("48.2 GB", "48.2GB")),
    "approver": ("Who approved the promotion of manifest-sync?", ("Mireille Castan",)),
    "port": ("On which port is gangway-api listening?", ("7443", "port 7443")),
    "latency": ("What is the p99 latency of the region far-buoy?", ("412 ms", "412ms", "412")),
}


def film() -> Iterator[tuple[Image.Image, Boxes]]:
    """Each frame with the boxes of the marked texts that can be read in it, in source pixels."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS.split())
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto((HERE / "demo.html").as_uri())
        page.evaluate("document.fonts.ready.then(() => null)")
        for index in range(FPS * SECONDS):
            boxes = page.evaluate("t => { seek(t); return readable(); }", index / FPS)
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            yield picture, {mark: tuple(round(v, 2) for v in box) for mark, box in boxes.items()}
        browser.close()


def items(seen: list[Boxes]) -> Iterator[Item]:
    """One Item a question; a span for each run of frames in which its text stands at one place."""
    for mark, (question, answers) in QUESTIONS.items():
        spans: list[Span] = []
        for index, boxes in enumerate(seen):
            if mark not in boxes:
                continue
            start, end = round(index / FPS, 3), round((index + 1) / FPS, 3)
            if spans and spans[-1].end == start and spans[-1].box == boxes[mark]:
                spans[-1] = spans[-1].model_copy(update={"end": end})
            else:
                spans.append(Span(start=start, end=end, box=boxes[mark]))
        yield Item(id=f"demo-{mark}", media="demo.mp4", question=question, answers=answers, evidence=spans)


def main() -> None:
    seen: list[Boxes] = []
    with av.open(str(HERE / "demo.mp4"), "w", options={"movflags": "+faststart"}) as out:
        # Small text survives at this quality; a key frame every five seconds keeps seeking quick.
        options = {"crf": "20", "preset": "veryslow", "tune": "animation", "threads": "1"}
        stream = out.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.gop_size = 5 * FPS
        for index, (picture, boxes) in enumerate(film()):
            frame = av.VideoFrame.from_image(picture)
            frame.pts = index
            out.mux(stream.encode(frame))
            seen.append(boxes)
        out.mux(stream.encode(None))
    write_items(HERE / "demo.jsonl", items(seen))


if __name__ == "__main__":
    main()
