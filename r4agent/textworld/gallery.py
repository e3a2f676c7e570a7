"""A page that shows what the text world asks: for each level a few clips, their questions and answers.

Promises: one HTML file that needs nothing else; light and dark, from a phone's width up. Each question has
the frame that answers it with the answer's box, the answer at its own size, another frame, where the answer
and what may be taken for it stand on a line of time, and the file is there whole or not at all.
Does not: run a script, or show every question of a clip.
"""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw

from r4agent.errors import MediaError, UsageError, one_line
from r4agent.item import Item
from r4agent.textworld.document import Document
from r4agent.textworld.levels import LEVELS, make_clip
from r4agent.textworld.world import Clip, Colour, Corners
from r4agent.textworld.writer import SEEDS_A_WORLD, write_whole

QUESTIONS = 2
"""Questions shown of a clip: of different kinds where it has them, those with distractors first."""

WIDE, HIGH = 880, 620
"""Pixels that a frame is reduced to."""

NAMED = 6
"""Distractors named beside a question."""

RIGHT, WRONG = (0, 150, 70), (225, 110, 0)

ABOUT = {
    0: "Signs: a code or word on each of eight colours.",
    1: "Documents and decks: pages of a PDF.",
    2: "A desktop: terminals, receipts, tables, settings, and pop-ups that come and go.",
    3: "Moving, tiny, transient, cluttered.",
}


def gallery(
    out: Path,
    levels: Sequence[int] = tuple(LEVELS),
    n: int = 3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the page of `n` clips a level, the first of world `seed`; returns `out`.

    progress: called with the clips done and their number. Raises UsageError for a wrong argument and
    MediaError where `out` can't be written.
    """
    if not 1 <= n <= 100:
        raise UsageError(f"n {n}: must be 1 to 100 clips of a level")
    if seed < 0:
        raise UsageError(f"seed {seed}: must be 0 or more")
    out = Path(out)
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; name a file, as gallery.html")
    parts, done = [], 0
    for level in levels:
        parts.append(f"<h2>Level {level}</h2><p>{escape(ABOUT.get(level, ''))}</p>")
        for number in range(seed * SEEDS_A_WORLD, seed * SEEDS_A_WORLD + n):
            parts.append(_clip(make_clip(level, number)))
            done += 1
            if progress:
                progress(done, n * len(levels))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, (_HEAD + "\n".join(parts) + _FOOT).encode())
    except OSError as error:
        raise MediaError(f"{out}: can't be written: {one_line(error)}; choose another place") from error
    return out


def _clip(clip: Clip | Document) -> str:
    size = f"{clip.size.width}×{clip.size.height}"
    length = f"{clip.frames} pages" if isinstance(clip, Document) else f"{clip.seconds:g} s at {clip.fps}/s"
    items = "".join(_item(clip, item) for item in _chosen(clip.items))
    return f"<section><h3>{escape(clip.id)} <small>{size}, {length}</small></h3>{items}</section>"


def _chosen(items: Sequence[Item]) -> list[Item]:
    """A few, with distractors before those without, each kind once as long as there are kinds."""
    ranked = sorted(items, key=lambda item: "distractors" not in item.meta)
    firsts = list({item.meta["kind"]: item for item in reversed(ranked)}.values())
    firsts.sort(key=ranked.index)
    return (firsts + [item for item in ranked if item not in firsts])[:QUESTIONS]


def _item(clip: Clip | Document, item: Item) -> str:
    rivals = item.meta.get("distractors", [])
    answer = escape(item.answers[0]) if item.answers else "<em>it is not there</em>"
    kind = f'<span class="kind">{escape(item.meta["kind"])}</span>'
    rows = [f'<article><p class="q">{escape(item.question)}</p><p>{kind} <b class="a">{answer}</b></p>']
    if rivals:
        names = ", ".join(f"<s>{escape(rival['text'])}</s>" for rival in rivals[:NAMED])
        more = f" and {len(rivals) - NAMED} more" if len(rivals) > NAMED else ""
        rows.append(f"<p>Not to be taken for {names}{more}</p>")
    rows.append(f'<div class="frames">{"".join(_figures(clip, item))}</div>{_line(clip, item)}</article>')
    return "".join(rows)


def _figures(clip: Clip | Document, item: Item) -> Iterator[str]:
    """The frame that answers, the answer itself, and a frame where a distractor, or nothing of it, stands."""
    if not item.evidence:
        yield _figure(clip, clip.frames // 2, [])
        return
    names = {rival["text"] for rival in item.meta.get("distractors", [])}
    rivals = [text for text in clip.texts if text.string in names and text.shown]
    span = item.evidence[len(item.evidence) // 2]
    index = _index(clip, (span.start + span.end) / 2)
    assert span.box is not None
    x0, y0, x1, y1 = map(int, span.box)
    beside = [there for text in rivals if (there := text.box_at(index))]
    yield _figure(clip, index, [(there, WRONG) for there in beside] + [((x0, y0, x1, y1), RIGHT)])
    crop = clip.render(index).crop((x0 - 12, y0 - 12, x1 + 12, y1 + 12))
    words = "<figcaption>its own pixels</figcaption>"
    yield f'<figure class="crop">{_picture(crop, "the answer")}{words}</figure>'
    runs = [text.shown[len(text.shown) // 2] for text in rivals if not text.box_at(index)]
    if runs:
        yield _figure(clip, (runs[0].first + runs[0].stop - 1) // 2, [(runs[0].box, WRONG)])
    elif clip.frames > 1:
        yield _figure(clip, (index + clip.frames // 2) % clip.frames, [])


def _figure(clip: Clip | Document, index: int, boxes: Sequence[tuple[Corners, Colour]]) -> str:
    image = clip.render(index)
    pen, line = ImageDraw.Draw(image), max(3, image.width // 320)
    for (x0, y0, x1, y1), colour in boxes:
        gap = 3 + line
        if colour == RIGHT:  # a light rim, so that it is seen on any ground
            rim = gap + line
            pen.rectangle((x0 - rim, y0 - rim, x1 + rim, y1 + rim), outline=(255, 255, 255), width=line)
        pen.rectangle((x0 - gap, y0 - gap, x1 + gap, y1 + gap), outline=colour, width=line)
    image.thumbnail((WIDE, HIGH))
    where = f"page {index + 1}" if isinstance(clip, Document) else f"{index / clip.fps:.2f} s"
    return f"<figure>{_picture(image, where)}<figcaption>{where}</figcaption></figure>"


def _picture(image: Image.Image, words: str) -> str:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=82)
    code = base64.b64encode(data.getvalue()).decode()
    size = f'width="{image.width}" height="{image.height}"'
    return f'<img alt="{escape(words)}" {size} src="data:image/jpeg;base64,{code}">'


def _index(clip: Clip | Document, moment: float) -> int:
    """The frame of a time, or of a page's number."""
    if isinstance(clip, Document):
        return int(moment) - 1
    return min(int(moment * clip.fps), clip.frames - 1)


def _line(clip: Clip | Document, item: Item) -> str:
    """The clip from left to right: where the answer stands, above where distractors do."""
    paged = isinstance(clip, Document)
    total = clip.frames if isinstance(clip, Document) else clip.seconds
    bars = [("r", span.start, span.end) for span in item.evidence]
    bars += [("w", rival["start"], rival["end"]) for rival in item.meta.get("distractors", [])]
    marks = []
    for kind, start, end in bars:
        left, wide = (start - paged) / total * 1000, max((end - start + paged) / total * 1000, 2)
        y = 2 if kind == "r" else 13
        marks.append(f'<rect class="{kind}" x="{left:.1f}" y="{y}" width="{wide:.1f}" height="9"/>')
    ends = ("page 1", f"page {clip.frames}") if paged else ("0 s", f"{total:g} s")
    about = 'preserveAspectRatio="none" role="img" aria-label="where the answer stands"'
    return (
        f'<svg viewBox="0 0 1000 24" {about}><rect class="l" width="1000" height="24"/>{"".join(marks)}</svg>'
        f'<p class="ends"><span>{ends[0]}</span><span>{ends[1]}</span></p>'
    )


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>The text world</title>
<style>
:root { color-scheme: light dark; --ink: #1c1e22; --dim: #666c76; --page: #f6f6f4; --card: #fff;
  --right: #087a3c; --wrong: #b85a00; --line: #dcdde0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e7ea; --dim: #9aa0aa; --page: #16181c;
  --card: #202329; --right: #57cf8d; --wrong: #f0a04b; --line: #363a42; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 1rem; background: var(--page); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 0; } h3 { margin: 1.5rem 0 .5rem; font-size: 1rem; } p { margin: .25rem 0; }
small, figcaption, .ends, .kind { color: var(--dim); font-weight: normal; font-size: .85rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem;
  margin: 0 0 1rem; }
.q { font-size: 1.1rem; font-weight: 600; } .a { color: var(--right); }
s { color: var(--wrong); text-decoration: none; white-space: nowrap; }
.kind { border: 1px solid var(--line); border-radius: 4px; padding: 0 .4em; }
.frames { display: flex; flex-wrap: wrap; gap: .75rem; align-items: flex-start; margin: .75rem 0; }
figure { margin: 0; flex: 1 1 300px; max-width: 520px; } .crop { flex: 0 1 auto; }
img { display: block; max-width: 100%; height: auto; border-radius: 4px; }
svg { display: block; width: 100%; height: 24px; } .l { fill: var(--line); }
.r { fill: var(--right); } .w { fill: var(--wrong); } .ends { display: flex; justify-content: space-between; }
</style></head><body>
<h1>The text world</h1>
<p>What is asked, where the answer stands (green), and what may be taken for it (orange).</p>
"""
_FOOT = "\n</body></html>\n"
