"""Frames of a video file by index, each proven by the container's own timestamp.

Promises: `times` are presentation times as the container states them, edit lists applied; the picture
delivered for index i is the one that carries the i-th timestamp, checked on every frame, so a seek that
lands in the wrong place is noticed and repeated further back. Frames of one GOP are decoded once, and
those that nobody wants and nothing depends on (H.264 says which) not at all.
Does not: play sound, follow playlists, or repair a damaged stream: a frame that cannot be decoded is a
MediaError.

Why PyAV and not decord2 3.4: decord counts frames from where it believes a seek landed and hands out no
timestamp to check by. It returns a wrong picture, without a word, for open GOPs, edit lists, AVI with
B-frames and MPEG-TS (benchmarks/decoders.py counts them). Nor can it stand beside PyAV: it loads its ffmpeg
with RTLD_GLOBAL, and PyAV's calls then bind to that one.
"""

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from r4agent.errors import MediaError
from r4agent.geometry import Size
from r4agent.media.limits import Limits

THREADS = min(4, os.cpu_count() or 1)  # decoder threads; the pictures do not depend on it
LARGE = 16_000_000  # pixels of a frame from which on threads share one, so that fewer are in memory
NEAR = 8  # frames ahead that are cheaper to decode through than to seek past

# Containers that hold their own data: no playlist that points at other files, no device, no network.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,h264,hevc,ivf,obu,mpegvideo"
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}


class Video:
    """An opened video. Frames may be asked for in any order; ascending, each GOP is decoded once."""

    kind: Literal["video"] = "video"
    name = f"av {av.__version__}"

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._reformatter = VideoReformatter()
        self._frames: Iterator[tuple[int, VideoFrame]] = iter(())
        self._passed: int | None = None  # timestamp of the last frame the decoder gave
        self._goal = 0  # frames before this timestamp are left out where nothing depends on them
        self._size: Size | None = None
        try:
            self._open()
            self._read_index()
            first = self.picture(0)
            self._size = Size(first.shape[1], first.shape[0])
        except MemoryError:
            raise
        except av.FFmpegError as error:
            raise MediaError(
                f"{path}: not a picture, PDF or video that can be decoded ({error.strerror}); "
                "check that the file is complete"
            ) from error

    # -- opening -----------------------------------------------------------------------------------

    def _open(self) -> None:
        self._container = av.open(str(self._path), mode="r", options=OPTIONS, metadata_errors="replace")
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise MediaError(f"{self._path}: holds no video stream; give a file with pictures in it")
        streams = [s for s in streams if s.codec_context is not None]
        if not streams:
            raise MediaError(f"{self._path}: its codec has no decoder here; convert it to H.264 first")
        self._stream: VideoStream = max(streams, key=lambda s: (s.width * s.height, -s.index))
        self._check_size(self._stream.width, self._stream.height)
        for other in self._container.streams:
            if other.index != self._stream.index:
                other.discard = Discard.all
        self._stream.codec_context.thread_count = THREADS
        large = self._stream.width * self._stream.height > LARGE
        self._stream.codec_context.thread_type = "SLICE" if large else "AUTO"

    def _read_index(self) -> None:
        """One pass over the packets: every frame's timestamp, and where decoding can start."""
        stamps, keys, key_dts = array("q"), array("q"), array("q")
        end, whole, reordered = -(2**63), True, False
        for packet in self._container.demux(self._stream):
            if not packet.size:
                continue
            if packet.pts is None:
                whole = False
                continue
            if packet.is_keyframe:
                keys.append(packet.pts)
                key_dts.append(packet.pts if packet.dts is None else packet.dts)
            # Not shown: what comes before the first keyframe, its leading frames, what an edit list cuts.
            if not keys or packet.pts < keys[0] or packet.is_discard:
                continue
            reordered |= bool(stamps) and packet.pts < stamps[-1]
            stamps.append(packet.pts)
            end = max(end, packet.pts + (packet.duration or 0))
            self._check_count(len(stamps))
        # AVI holds decoding times only; what is offered as presentation times is then a guess.
        guessed = (
            "avi" in self._container.format.name and self._stream.codec_context.has_b_frames and not reordered
        )
        base = self._stream.time_base or Fraction(1)
        ordered = np.sort(np.frombuffer(stamps, np.int64))
        self._counted = not whole or not stamps or guessed or bool((np.diff(ordered) == 0).any())
        if self._counted:
            ordered, end, base = self._count_frames(base)
            keys = key_dts = array("q", [int(ordered[0])])
        order = np.argsort(np.frombuffer(keys, np.int64), kind="stable")
        self._pts = array("q", ordered.tobytes())  # an array, for bisect and for plain ints
        self._keys = array("q", np.frombuffer(keys, np.int64)[order].tobytes())
        self._key_dts = array("q", np.frombuffer(key_dts, np.int64)[order].tobytes())
        self.count = len(self._pts)
        self.times: NDArray[np.float64] = ordered * float(base.numerator) / base.denominator
        self.duration = float((end - self._pts[0]) * base)

    def _count_frames(self, base: Fraction) -> tuple[NDArray[np.int64], int, Fraction]:
        """Stamps for a stream whose packets have no sound ones: decode it all, in the order frames come.

        The k-th frame gets the k-th timestamp seen, or k / frame rate where there are none.
        """
        self._rewind()
        seen: list[int | None] = []
        for packet in self._container.demux(self._stream):
            seen += [frame.pts for frame in self._decoded(packet)]
            self._check_count(len(seen))
        if not seen:
            raise MediaError(f"{self._path}: no frame of it can be decoded; check that the file is complete")
        stamped = {pts for pts in seen if pts is not None}
        rate = self._stream.guessed_rate or Fraction(25)
        if len(stamped) == len(seen):
            return np.array(sorted(stamped)), max(stamped) + round(1 / rate / base), base
        return np.arange(len(seen)), len(seen), 1 / rate

    def _check_count(self, count: int) -> None:
        if count > self._limits.frames:
            raise MediaError(f"{self._path}: more than {self._limits.frames} frames; cut it into parts")

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._limits.frame_pixels:
            raise MediaError(
                f"{self._path}: frames of {width}x{height} are more than the {self._limits.frame_pixels} "
                "pixels allowed; scale it down first"
            )

    # -- access ------------------------------------------------------------------------------------

    def size_of(self, index: int) -> Size:
        assert self._size is not None
        return self._size

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Frame `index`, upright, RGB, height x width x 3."""
        target = self._pts[index]
        if self._is_ahead(index) and (frame := self._advance(target)):
            return self._picture(frame)
        for key in self._starts(index):
            self._seek(key)
            if frame := self._advance(target):
                return self._picture(frame)
        raise MediaError(
            f"{self._path}: frame {index} cannot be decoded, so the file is damaged there; "
            "check that it is complete, or choose another frame"
        )

    def _starts(self, index: int) -> Iterator[int]:
        """Keyframes to start from, best first. A seek may land late, or on a keyframe that is none: then
        further and further back, at last (-1) from the beginning of the file."""
        key, back = self._key(index), 0
        while key - back > 0:
            yield key - back
            back = 2 * back + 1
        yield 0
        yield -1

    def _advance(self, target: int) -> VideoFrame | None:
        """Decode on to the frame stamped `target`; None when it does not come."""
        self._goal = target
        for stamp, frame in self._frames:
            self._passed = stamp
            if stamp >= target:
                return frame if stamp == target else None
        self._passed = None
        return None

    def _is_ahead(self, index: int) -> bool:
        """Whether decoding on from here gets to the frame, and sooner than a seek does."""
        target = self._pts[index]
        if self._passed is None or target <= self._passed:
            return False
        here = bisect_left(self._pts, self._passed)
        return index - here <= NEAR or self._keys[self._key(index)] <= self._passed

    def _key(self, index: int) -> int:
        """The last keyframe shown at or before the frame: a leading frame of an open GOP needs the GOP
        before its own."""
        return max(0, bisect_right(self._keys, self._pts[index]) - 1)

    def _seek(self, key: int) -> None:
        pts, dts = self._keys[max(0, key)], self._key_dts[max(0, key)]
        if self._counted or key < 0:
            self._rewind()
        else:  # MPEG streams are searched by decoding time, the others' indices by presentation time
            by_dts = self._container.format.name.startswith("mpeg")
            self._container.seek(dts if by_dts else pts, stream=self._stream)
        self._passed = None
        self._frames = self._count_up() if self._counted else self._from_key()

    def _rewind(self) -> None:
        self._container.close()
        self._open()

    def _count_up(self) -> Iterator[tuple[int, VideoFrame]]:
        frames = (f for packet in self._container.demux(self._stream) for f in self._decoded(packet))
        yield from zip(self._pts, frames, strict=False)

    def _from_key(self) -> Iterator[tuple[int, VideoFrame]]:
        """Frames from the next keyframe on."""
        context = self._stream.codec_context
        lean = context.name == "h264"  # the one codec whose "nothing refers to this" is reliable
        started = False
        for packet in self._container.demux(self._stream):
            started = started or packet.is_keyframe
            if not started and packet.size:
                continue
            if lean:
                idle = packet.pts is not None and packet.pts < self._goal
                context.skip_frame = "NONREF" if idle else "DEFAULT"
            yield from ((f.pts, f) for f in self._decoded(packet) if f.pts is not None)

    def _decoded(self, packet: "av.Packet[VideoStream]") -> list[VideoFrame]:
        try:
            return packet.decode()
        except av.InvalidDataError:  # this packet is damaged; whoever wants its frame is told
            return []

    def _picture(self, frame: VideoFrame) -> NDArray[np.uint8]:
        self._check_size(frame.width, frame.height)
        if any(component.is_alpha for component in frame.format.components):
            rgba = Image.fromarray(self._reformatter.reformat(frame, format="rgba").to_ndarray())
            white = Image.new("RGBA", rgba.size, "white")
            rgb = np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))
        else:
            rgb = self._reformatter.reformat(frame, format="rgb24").to_ndarray()
        turns = round(frame.rotation / 90) % 4
        picture = np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb
        if self._size and (picture.shape[1], picture.shape[0]) != (self._size.width, self._size.height):
            raise MediaError(
                f"{self._path}: its frames change from {self._size} to {picture.shape[1]}x{picture.shape[0]};"
                " convert it to one size first"
            )
        return picture

    def close(self) -> None:
        self._container.close()
