"""The album: the pictures of one page, re-encoded small, each embedded once.

Promises: a picture is a `data:` address, at most `LONG_SIDE` pixels long; where a run looked at more than
`ALLOWANCE` pixels all but the evidence are made smaller by one factor, so that a page stays a few megabytes;
a picture that the store has no more, or that is damaged there, is None.
Does not: change the store, or show what was not stored.
"""

import base64
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image

from r4agent.errors import R4Error
from r4agent.geometry import Box, convert
from r4agent.media.store import MediaStore
from r4agent.media.view import Picture
from r4agent.page.sights import Mark
from r4agent.page.story import Proof

LONG_SIDE = 1280
ALLOWANCE = 120_000_000  # pixels a page; 840x532 each, that is 268 pictures, 7 MB
THUMB_SIDE = 320
QUALITY = 80  # of WebP: small print stays clear, at a quarter of PNG's bytes
CLOSE = 900  # a close-up is magnified towards this width, at most MAGNIFY times
MAGNIFY = 4.0


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture in the page: its address and size, and where the box stands in it, if it has one."""

    uri: str
    width: int
    height: int
    mark: Mark | None = None


class Album:
    """The pictures of one page. thumbs: what the page's style must show, by name. missing: how many of the
    pictures are not in the store."""

    def __init__(self, store: MediaStore, pictures: Iterable[Picture], sharp: Iterable[str] = ()) -> None:
        self.store = store
        self.sharp = set(sharp)
        areas = {picture.ref: picture.view.size.pixels for picture in pictures}
        total = sum(area for ref, area in areas.items() if ref not in self.sharp)
        self._scale = min(1.0, math.sqrt(ALLOWANCE / total)) if total else 1.0
        self._shots: dict[str, Shot | None] = {}
        self._first: dict[str, str] = {}
        self.thumbs: dict[str, str] = {}
        self.missing = sum(not _there(store, ref) for ref in areas)

    @property
    def shrunk(self) -> int:
        """Percent of their size that pictures are shown at."""
        return round(100 * self._scale)

    def first(self, ref: str, anchor: str) -> str | None:
        """Where the page already shows this picture; None when it has not yet, and `anchor` now does."""
        known = self._first.setdefault(ref, anchor)
        return None if known == anchor else known

    def shot(self, ref: str) -> Shot | None:
        """The picture at its full size in the page."""
        if ref not in self._shots:
            image = self._load(ref)
            scale = 1.0 if ref in self.sharp else self._scale
            self._shots[ref] = _embedded(_bounded(image, LONG_SIDE, scale)) if image else None
        return self._shots[ref]

    def thumb(self, ref: str) -> str | None:
        """The name of the style that shows the picture small, and is in the page once however often it is
        used."""
        name = f"t{ref.removeprefix('img:')[:16]}"
        if name not in self.thumbs:
            image = self._load(ref)
            if image is None:
                return None
            self.thumbs[name] = _embedded(_bounded(image, THUMB_SIDE)).uri
        return name

    def close_up(self, proof: Proof) -> Shot | None:
        """The evidence's box with a margin, cut from the picture that it was read in."""
        if proof.sight is None or proof.mark is None:
            return None
        picture = proof.sight.picture
        image = self._load(picture.ref)
        if image is None:
            return None
        box = convert(proof.region, "shown", region=picture.view.region, shown=picture.view.size)
        margin = max(1.5 * min(box.width, box.height), 0.06 * box.width)
        around = box.grown(margin, margin).pixels(picture.view.size)
        x0, y0, x1, y1 = (round(v) for v in around.corners)
        cut = image.crop((x0, y0, x1, y1))
        scale = max(1.0, min(CLOSE / cut.width, 0.6 * CLOSE / cut.height, MAGNIFY))
        big = cut.resize((round(cut.width * scale), round(cut.height * scale)), Image.Resampling.BICUBIC)
        return _embedded(_bounded(big, LONG_SIDE), _inside(box, around))

    def _load(self, ref: str) -> Image.Image | None:
        try:
            return self.store.get(ref)
        except R4Error:
            return None


def _there(store: MediaStore, ref: str) -> bool:
    try:
        return ref in store
    except R4Error:  # no reference at all
        return False


def _inside(box: Box, around: Box) -> Mark:
    """The box in percent of the region around it."""
    x0, y0 = max(box.x0, around.x0), max(box.y0, around.y0)
    x1, y1 = min(box.x1, around.x1), min(box.y1, around.y1)
    width, height = around.width / 100, around.height / 100
    return Mark((x0 - around.x0) / width, (y0 - around.y0) / height, (x1 - x0) / width, (y1 - y0) / height)


def _bounded(image: Image.Image, side: int, scale: float = 1.0) -> Image.Image:
    scale = min(scale, side / max(image.size))
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _embedded(image: Image.Image, mark: Mark | None = None) -> Shot:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=QUALITY, method=2)
    data = base64.b64encode(out.getvalue()).decode()
    return Shot(f"data:image/webp;base64,{data}", image.width, image.height, mark)
