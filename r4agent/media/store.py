"""The MediaStore: pictures by content, once on disk.

Promises: a picture's name is `img:` and the sha256 of its RGB bytes and size, so equal pictures are one
file; a file appears whole or not at all; several processes may write to one store; what is read back is
checked against its name. State, checkpoints and logs hold these names, never pixels. While a source is
open, a View of it that was made is known and needn't be made again.
Does not: delete anything unless told (`collect`), or trust a file that was closed and opened again.
"""

import contextlib
import errno
import hashlib
import io
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from weakref import WeakKeyDictionary

from PIL import Image

from r4agent.errors import MediaError, RunError, UsageError, one_line
from r4agent.media.source import Source
from r4agent.media.view import View

GRACE_SECONDS = 3600  # a picture this young may belong to a run that has not logged it yet


def home() -> Path:
    """Where pictures, episodes and read text are kept: `$R4_HOME`, or `~/.cache/r4agent`."""
    return Path(os.environ.get("R4_HOME") or Path.home() / ".cache" / "r4agent").absolute()


def picture_ref(image: Image.Image) -> str:
    """`img:<sha256>` of an RGB picture's size and bytes."""
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update(image.convert("RGB").tobytes())
    return f"img:{digest.hexdigest()}"


class MediaStore:
    """Pictures under `root` (default: `home()/pictures`), at most `max_bytes` on disk, the latest
    `cache_bytes` of decoded pixels also in memory."""

    def __init__(
        self, root: str | Path | None = None, *, max_bytes: int = 20 << 30, cache_bytes: int = 256 << 20
    ) -> None:
        self.root = Path(root) if root is not None else home() / "pictures"
        self.max_bytes = max_bytes
        self._cache: OrderedDict[str, Image.Image] = OrderedDict()
        self._cache_free = cache_bytes
        self._made: WeakKeyDictionary[Source, dict[View, str]] = WeakKeyDictionary()
        self._used: int | None = None
        self._lock = threading.Lock()

    def put(self, image: Image.Image) -> str:
        """Keep a picture; returns its reference. Raises RunError when the disk or the cap is full."""
        image = image.convert("RGB")
        ref = picture_ref(image)
        if not self._renew(ref):
            self._write(self.path(ref), _png(image))
        self._remember(ref, image)
        return ref

    def put_view(self, source: Source, view: View, image: Image.Image) -> str:
        """Keep the picture that is this View of the source; `made` knows it from now on."""
        ref = self.put(image)
        with self._lock:
            self._made.setdefault(source, {})[view] = ref
        return ref

    def made(self, source: Source, view: View) -> str | None:
        """The picture that is this View of the source, if it was made since that was opened."""
        with self._lock:
            ref = self._made.get(source, {}).get(view)
        return ref if ref is not None and self._renew(ref) else None

    def png(self, ref: str) -> bytes:
        """The picture as PNG data. Raises MediaError as `get` does."""
        return self._load(ref)[0]

    def get(self, ref: str) -> Image.Image:
        """The picture, RGB. Raises MediaError when it is missing or is not what its name says."""
        with self._lock:
            cached = self._cache.get(ref)
            if cached is not None:
                self._cache.move_to_end(ref)
                return cached.copy()
        image = self._load(ref)[1]
        self._remember(ref, image)
        return image.copy()

    def __contains__(self, ref: str) -> bool:
        return self.path(ref).exists()

    def path(self, ref: str) -> Path:
        """Where the picture is, or would be: a PNG file."""
        digest = ref.removeprefix("img:")
        if len(ref) != 68 or not set(digest) <= set("0123456789abcdef"):
            raise UsageError(f"{ref[:80]!r} is not a picture reference: expected img: and 64 hex digits")
        return self.root / digest[:2] / f"{digest[2:]}.png"

    def collect(self, keep: Iterable[str]) -> int:
        """Delete what `keep` does not name and is older than an hour; returns the bytes freed."""
        wanted = {self.path(ref) for ref in keep}
        freed = 0
        for path, stat in self._files():
            if path not in wanted and time.time() - stat.st_mtime > GRACE_SECONDS:
                path.unlink(missing_ok=True)
                freed += stat.st_size
        self._used = None
        return freed

    def _renew(self, ref: str) -> bool:
        """Whether the picture is there; young again, so that no collection takes it from this run."""
        try:
            os.utime(self.path(ref))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unwritable(error) from error
        return True

    def _load(self, ref: str) -> tuple[bytes, Image.Image]:
        path = self.path(ref)
        try:
            data = path.read_bytes()
            image = Image.open(io.BytesIO(data)).convert("RGB")
        except FileNotFoundError:
            raise MediaError(f"{ref}: not in the store {self.root}; make its View again") from None
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a damaged PNG
            raise MediaError(f"{path} is damaged ({one_line(error)}); delete it and run again") from error
        if picture_ref(image) != ref:
            raise MediaError(f"{path} holds other pixels than its name says; delete it and run again")
        return data, image

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Every file in the store; what another process renames or deletes meanwhile is passed over."""
        for path in self.root.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                yield path, path.stat()

    def _write(self, path: Path, data: bytes) -> None:
        with self._lock:
            if self._used is None or self._used + len(data) > self.max_bytes:
                self._used = sum(stat.st_size for _, stat in self._files())
            if self._used + len(data) > self.max_bytes:
                raise RunError(
                    f"the picture store {self.root} is full: {self._used} of {self.max_bytes} bytes; "
                    "delete old episodes and run `r4 clean`, raise max_bytes, or set R4_HOME elsewhere"
                )
            self._used += len(data)
        part = path.with_name(f".{os.getpid()}-{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> RunError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        todo = "free some space" if full else "check its permissions"
        return RunError(f"can't write to {self.root} ({error.strerror}); {todo}, or set R4_HOME elsewhere")

    def _remember(self, ref: str, image: Image.Image) -> None:
        weight = 3 * image.width * image.height
        with self._lock:
            if ref in self._cache:
                return
            self._cache[ref] = image.copy()
            self._cache_free -= weight
            while self._cache_free < 0 and self._cache:
                _, old = self._cache.popitem(last=False)
                self._cache_free += 3 * old.width * old.height


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)  # lossless; level 1 is four times faster than the default
    return out.getvalue()
