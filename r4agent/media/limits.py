"""Limits: how much one media file may cost before it is refused.

Promises: plain numbers, the same for every kind of media, checked before the cost is paid wherever the
file says in advance what it will cost.
Does not: enforce anything itself; `source`, the decoders and the child process do.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What `open_source` accepts.

    file_bytes: size of the file, or of a folder's pictures together. frame_pixels: width times height of
    one frame. frames, pages: how many a source may have. decode_seconds: wall time of one request to the
    decoder (opening, or one frame of a series). memory_bytes: memory that the decoding process may have to
    write to, its libraries and threads included. The defaults keep a question under 1 GB, whatever the file;
    they take 4K video and 8K pictures. 8K video needs memory_bytes of 800 MB or so.
    """

    file_bytes: int = 8 * 2**30
    frame_pixels: int = 36_000_000
    frames: int = 2_000_000
    pages: int = 2_000
    decode_seconds: float = 20.0
    memory_bytes: int = 512 * 2**20
