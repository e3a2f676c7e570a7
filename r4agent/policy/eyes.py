"""Eyes: from the image blocks of messages to pictures that an engine takes.

Promises: a reference of ours is taken as it is; base64 is decoded (its first frame, transparency over white),
turned upright and scaled once to the model's grid. What one conversation shows twice is one picture.
Does not: fetch addresses.
"""

import base64
import binascii
import hashlib
import io
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageOps

from r4agent.engines import Checkpoint, Shown
from r4agent.errors import UsageError, one_line
from r4agent.geometry import Size
from r4agent.media.limits import Limits
from r4agent.media.stills import DAMAGE, FORMATS, rgb_of
from r4agent.media.store import MediaStore, picture_ref
from r4agent.media.view import View


class Eyes:
    """The pictures of one prompt. store: where references point to. most: image tokens of one that comes as
    base64."""

    def __init__(self, checkpoint: Checkpoint, store: MediaStore | None, most: int) -> None:
        self.checkpoint = checkpoint
        self.store = store
        self.most = most
        self._own: dict[str, Image.Image] = {}
        self._seen: dict[str, Shown] = {}

    def see(self, block: Mapping[str, Any]) -> Shown:
        """The picture of an image block."""
        ref = block.get("file_id")
        if isinstance(ref, str) and ref.startswith("img:"):
            view = (block.get("extras") or {}).get("view")
            return self._shown(ref, View.parse(view).size if view else _size(self.load(ref)))
        data = _data(block)
        name = hashlib.sha256(data).hexdigest()
        if name not in self._seen:
            image = self._fitted(_decoded(data))
            ref = picture_ref(image)
            self._own[ref] = image
            self._seen[name] = self._shown(ref, _size(image))
        return self._seen[name]

    def load(self, ref: str) -> Image.Image:
        """The pixels of a picture, RGB."""
        if ref in self._own:
            return self._own[ref]
        if self.store is None:
            raise UsageError(f"{ref[:20]}…: a reference, and no store to find it in; give ChatR4(store=…)")
        return self.store.get(ref)

    def _shown(self, ref: str, size: Size) -> Shown:
        profile, patch = self.checkpoint.profile, self.checkpoint.patch
        if profile.fit(size, profile.tokens(size) or 1) != size:
            raise UsageError(
                f"a picture of {size}: {self.checkpoint.name} takes multiples of {profile.grid} pixels, "
                f"{profile.min_pixels} to {profile.max_pixels} in all; leave the graph's profile to the model"
            )
        return Shown(ref, (1, size.height // patch, size.width // patch))

    def _fitted(self, image: Image.Image) -> Image.Image:
        size = self.checkpoint.profile.fit(_size(image), self.most)
        return image.resize((size.width, size.height), Image.Resampling.BICUBIC)


def _size(image: Image.Image) -> Size:
    return Size(image.width, image.height)


def _data(block: Mapping[str, Any]) -> bytes:
    text = block.get("base64") or ""
    url = str(block.get("url") or "")
    if not text and url.startswith("data:"):
        text = url.partition(",")[2]
    if not text:
        raise UsageError("an image block without data: addresses are not fetched, give base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"an image block whose base64 is damaged: {one_line(error)}") from error


def _decoded(data: bytes) -> Image.Image:
    most = Limits().frame_pixels
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)  # reads the header
    except Image.DecompressionBombError as error:
        raise UsageError(f"an image of more than {most} pixels; scale it down") from error
    except DAMAGE as error:
        raise _damaged(error) from error
    if image.width * image.height > most:
        raise UsageError(f"an image of {image.width}x{image.height}: at most {most} pixels; scale it down")
    try:
        ImageOps.exif_transpose(image, in_place=True)
        return Image.fromarray(rgb_of(image))
    except DAMAGE as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> UsageError:
    return UsageError(f"an image block that can't be decoded ({one_line(error)}): give {', '.join(FORMATS)}")
