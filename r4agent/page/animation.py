"""The evidence as a small animation: the moving picture, the box drawn, then the region close up.

Promises: pixels come from the media, checked to be the file that the episode was made from; at most
`LONG_SIDE` pixels long and `MOST_BYTES` in size; the close-up is cut from the source frame.
Does not: draw more than the first place of the evidence, or text that its font has no letters for.
"""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from r4agent.episode import Episode
from r4agent.errors import MediaError, RunError, UsageError
from r4agent.geometry import Box, Size
from r4agent.media import Source, open_source
from r4agent.page.reading import kind_of, read_episode
from r4agent.page.wording import moment, visible

LONG_SIDE = 800
MOST_BYTES = 3_000_000
BEFORE, FPS = 2.0, 6  # seconds shown before the evidence, and how many pictures each
STILL, BOXED, STEP, CLOSE = 400, 1200, 70, 3500  # milliseconds: a page, the box, a step closer, close up
STEPS = 9
QUALITY = ((1.0, FPS, 256), (0.8, 4, 96), (0.65, 3, 64), (0.5, 2, 48), (0.4, 1, 32))
"""size, pictures a second, colours: each is tried until the file is small enough."""
INK, PAPER, BOX, RIM = "#f4f4f5", "#17191c", "#ff7a33", "#ffffff"
Canvas = tuple[Image.Image, int]


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn. before: frames that lead to the evidence's own, `frame`, each with its time."""

    before: Sequence[tuple[Image.Image, str]]
    frame: Image.Image
    when: str
    box: Box
    question: str
    answer: str


def write_gif(path: Path, out: Path) -> Path:
    """Draw the first evidence of the episode in `path`. Raises UsageError when it has none, MediaError when
    its media can't be used or is another file."""
    if kind_of(path) != "episode":
        raise UsageError(f"{path}: not an episode; --gif draws the evidence of one")
    scene = _scene(read_episode(path)[0])
    data = next((gif for gif in _tries(scene) if len(gif) <= MOST_BYTES), None)
    if data is None:
        raise RunError(f"{path}: its evidence can't be drawn within {MOST_BYTES / 1e6:g} MB")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(data)
    except OSError as error:
        raise RunError(f"can't write {out} ({error.strerror}); choose another place with --gif") from error
    return out


def _scene(episode: Episode) -> Scene:
    end = episode.end or {}
    if not end.get("evidence"):
        why = "it has no evidence" if episode.end else "it did not end"
        raise UsageError(f"episode {episode.id}: {why}, so there is nothing to draw as a gif")
    place, media = end["evidence"][0], episode.header["media"]
    with open_source(media["path"]) as source:
        if source.id != media["id"]:
            raise MediaError(f"{media['path']}: not the file that episode {episode.id} was made from")
        at = place["page"] - 1 if place["time"] is None else source.nearest(place["time"])
        images = {frame.index: frame.image for frame in source.frames(_leading(source, at))}
    frame = images[at]
    return Scene(
        before=[(images[index], _when(source, index)) for index in sorted(images) if index < at],
        frame=frame,
        when=_when(source, at),
        box=Box(*place["box"]).pixels(Size(*frame.size)),
        question=visible(episode.header["question"]),
        answer=visible(end["answer"] or ""),
    )


def _leading(source: Source, at: int) -> list[int]:
    """The evidence's frame, and for a video those that lead to it."""
    if source.times is None:
        return [at]
    time, first = float(source.times[at]), float(source.times[0])
    wanted = [time - part / FPS for part in range(math.ceil(BEFORE * FPS), 0, -1)]
    return sorted({source.nearest(t) for t in wanted if t >= first} | {at})


def _when(source: Source, index: int) -> str:
    if source.times is not None:
        return moment(float(source.times[index]))
    return {"pdf": f"page {index + 1}", "images": f"picture {index + 1}"}.get(source.kind, "")


def _tries(scene: Scene) -> Iterator[bytes]:
    for scale, fps, colours in QUALITY:
        every = max(1, round(FPS / fps))
        size = _size(scene.frame, scale)
        drawn = list(_drawn(scene, size, scene.before[::-every][::-1], 1000 * every // FPS))
        yield _encoded(drawn, colours)


def _size(frame: Image.Image, scale: float) -> Size:
    """Of the animation's picture, without its caption."""
    factor = min(scale * LONG_SIDE / max(frame.size), max(1.0, 480 / frame.width))
    return Size(max(16, round(frame.width * factor)), max(16, round(frame.height * factor)))


def _drawn(
    scene: Scene, size: Size, before: Sequence[tuple[Image.Image, str]], pace: int
) -> Iterator[Canvas]:
    """The pictures in turn, each with its milliseconds."""
    whole = Size(*scene.frame.size).box
    for image, when in before:
        yield _canvas(_cut(image, whole, size), scene, when, ""), pace
    plain = _cut(scene.frame, whole, size)
    if not before:
        yield _canvas(plain, scene, scene.when, ""), STILL
    yield _canvas(_boxed(plain, scene.box, whole), scene, scene.when, scene.answer), BOXED
    close = _close(scene.box, whole, size)
    for step in range(1, STEPS + 1):
        part = step / STEPS
        region = _between(whole, close, part * part * (3 - 2 * part))  # slow at both ends
        image = _boxed(_cut(scene.frame, region, size), scene.box, region)
        yield _canvas(image, scene, scene.when, scene.answer), CLOSE if step == STEPS else STEP


def _close(box: Box, whole: Box, size: Size) -> Box:
    """The region to end at: the box with a margin, of the animation's shape, within the frame."""
    margin = max(box.height, 0.08 * box.width)
    width = max(box.width + 2 * margin, (box.height + 2 * margin) * size.width / size.height, size.width / 4)
    width = min(width, whole.width)
    height = min(width * size.height / size.width, whole.height)
    x0 = min(max(0.0, (box.x0 + box.x1 - width) / 2), whole.width - width)
    y0 = min(max(0.0, (box.y0 + box.y1 - height) / 2), whole.height - height)
    return Box(x0, y0, x0 + width, y0 + height)


def _between(start: Box, end: Box, part: float) -> Box:
    """A box on the way: the size shrinks by equal factors, which looks even."""
    ratio = (end.width / start.width) ** part
    if end.width >= start.width:
        return end
    share = (1 - ratio) / (1 - end.width / start.width)
    x0, y0 = start.x0 + share * (end.x0 - start.x0), start.y0 + share * (end.y0 - start.y0)
    x1, y1 = start.x1 + share * (end.x1 - start.x1), start.y1 + share * (end.y1 - start.y1)
    return Box(x0, y0, x1, y1)


def _cut(frame: Image.Image, region: Box, size: Size) -> Image.Image:
    wanted = (size.width, size.height)
    return frame.resize(wanted, Image.Resampling.BICUBIC, box=region.corners, reducing_gap=3)


def _boxed(image: Image.Image, box: Box, region: Box) -> Image.Image:
    across, down = image.width / region.width, image.height / region.height
    x0, x1 = (box.x0 - region.x0) * across - 3, (box.x1 - region.x0) * across + 3
    y0, y1 = (box.y0 - region.y0) * down - 3, (box.y1 - region.y0) * down + 3
    drawn = image.copy()
    draw = ImageDraw.Draw(drawn)
    draw.rectangle((x0 - 2, y0 - 2, x1 + 2, y1 + 2), outline=RIM, width=1)
    draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=BOX, width=3)
    return drawn


def _canvas(image: Image.Image, scene: Scene, when: str, answer: str) -> Image.Image:
    """The picture with its caption below: the question, then the time and, once it is read, the answer."""
    small, large = _font(14), _font(20)
    canvas = Image.new("RGB", (image.width, image.height + 58), PAPER)
    canvas.paste(image)
    draw = ImageDraw.Draw(canvas)
    room = image.width - 20
    draw.text((10, image.height + 7), _fitting(scene.question, small, room), INK, small)
    draw.text((10, image.height + 28), when, BOX, large)
    left = 10 + (draw.textlength(when, large) + 14 if when else 0)
    draw.text((left, image.height + 28), _fitting(answer, large, room - left), INK, large)
    return canvas


def _font(size: int) -> Any:
    """Pillow's own, so that no machine's fonts decide what is drawn."""
    return ImageFont.load_default(size)


def _fitting(text: str, font: Any, room: float) -> str:
    """The text on one line, its end cut where there is no room."""
    text = " ".join(text.split())[:300]
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"


def _encoded(drawn: Sequence[Canvas], colours: int) -> bytes:
    """As a GIF that repeats. One palette for all, from pictures along the way, so that what stands still is
    not written again."""
    samples = [drawn[at * (len(drawn) - 1) // 3][0] for at in range(4)]
    width, height = samples[0].size
    montage = Image.new("RGB", (2 * width, 2 * height))
    for at, sample in enumerate(samples):
        montage.paste(sample, (width * (at % 2), height * (at // 2)))
    palette = montage.quantize(colours, Image.Quantize.MEDIANCUT)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image, _ in drawn]
    out = io.BytesIO()
    durations = [milliseconds for _, milliseconds in drawn]
    images[0].save(
        out, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False
    )
    return out.getvalue()
