"""A decoder in a process of its own, so that a hostile file takes nothing with it.

Promises: a crash, a hang beyond the time limit, or too much memory in the decoder is a MediaError here.
The child holds no more rights than its parent and fewer resources: memory limited, no core dump, no
file written, its standard output and error closed to the libraries. It ends when its parent does, however
that ends. Nothing the child sends is evaluated: headers are JSON, pixels are raw bytes.
Does not: hide the child's files or network from it; that is the operating system's to do.

The talk is one request, one reply. A request is a line of JSON. A reply is the length of a header (four
bytes, big-endian), the header in JSON, and as many raw bytes as its "bytes" says.
"""

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from r4agent import errors
from r4agent.errors import MediaError, MissingError, R4Error, one_line
from r4agent.geometry import Size
from r4agent.media.decoders import Decoder, Kind, open_decoder
from r4agent.media.limits import Limits

# The child gets this process's own module path, so that it finds the same package whichever way that was
# installed; -I -S keep everything else of the environment out, and start it sooner.
HEADER_LIMIT = 4096
BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from r4agent.media.child import main; main()"


class Child:
    """A Decoder whose work is done by a child process. Safe to use from several threads."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._lock = threading.Lock()
        self._ended: str | None = None
        self._most = max(limits.frame_pixels * 3, limits.frames * 8)  # bytes: a picture, or all the times
        home = str(Path(errors.__file__).parent.parent)
        places = [place for place in sys.path if place and place != home]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOT, json.dumps([*places, home])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        try:
            about, raw = self._ask({"open": os.fspath(path), "limits": asdict(limits)}, "opening it")
        except BaseException:
            self.close()
            raise
        self.kind: Kind = about["kind"]
        self.name: str = about["name"]
        self.count: int = about["count"]
        self.duration: float | None = about["duration"]
        self.times: NDArray[np.float64] | None = np.frombuffer(raw, np.float64) if raw else None

    def size_of(self, index: int) -> Size:
        reply, _ = self._ask({"size_of": index}, f"measuring frame {index}")
        return Size(reply["width"], reply["height"])

    def picture(self, index: int) -> NDArray[np.uint8]:
        reply, raw = self._ask({"picture": index}, f"decoding frame {index}")
        if len(raw) != reply["height"] * reply["width"] * 3:
            raise MediaError(
                f"{self._path}: the decoder sent {len(raw)} bytes for frame {index}; open it again"
            )
        return np.frombuffer(raw, np.uint8).reshape(reply["height"], reply["width"], 3)

    @property
    def ended(self) -> bool:
        return self._ended is not None

    def close(self) -> None:
        with self._lock:
            self._end("the source is closed; open it again")

    # -- the talk ----------------------------------------------------------------------------------

    def _ask(self, request: dict[str, Any], doing: str) -> tuple[dict[str, Any], bytearray]:
        with self._lock:
            if self._ended:
                raise MediaError(f"{self._path}: {self._ended}")
            reader = _Reader(self._process.stdout, time.monotonic() + self._limits.decode_seconds)  # type: ignore[arg-type]
            try:
                assert self._process.stdin is not None
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                reply = reader.header()
                raw = reader.exactly(min(reply["bytes"], self._most))
            except TimeoutError:
                self._end(
                    f"{doing} took more than {self._limits.decode_seconds:g} s and was stopped; "
                    "raise Limits.decode_seconds, or convert the file to H.264 in mp4 or to PNG"
                )
            except (OSError, EOFError, ValueError):
                self._end(
                    f"the decoder died {doing} ({self._cause()}), so the file is damaged, hostile or too "
                    f"large for {self._limits.memory_bytes >> 20} MB; convert it to H.264 in mp4 or to PNG"
                )
            except BaseException:  # interrupted half-way through a reply: the next one could not be told
                self._end("was interrupted; open it again")
                raise
            if self._ended:
                raise MediaError(f"{self._path}: {self._ended}")
        if "error" in reply:
            raise (MissingError if reply["error"] == "MissingError" else MediaError)(reply["message"])
        return reply, raw

    def _cause(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        code = self._process.poll()
        if code is None:
            return "it spoke nonsense"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _end(self, why: str) -> None:
        self._ended = self._ended or why
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def __del__(self) -> None:
        if getattr(self, "_process", None) and self._process.poll() is None:
            self._end("closed")


class _Reader:
    """Reads from a pipe until a deadline; TimeoutError after it, EOFError at the end."""

    def __init__(self, pipe: BinaryIO, deadline: float) -> None:
        self._fd, self._deadline = pipe.fileno(), deadline
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def header(self) -> dict[str, Any]:
        length = int.from_bytes(self.exactly(4), "big")
        if length > HEADER_LIMIT:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(self.exactly(length))
        return {"bytes": 0, **header}

    def exactly(self, length: int) -> bytearray:
        raw = bytearray(length)
        left = memoryview(raw)
        while left:
            if not self._poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
                raise TimeoutError
            got = os.readv(self._fd, [left])
            if not got:
                raise EOFError
            left = left[got:]
        return raw


# -- the child's side ----------------------------------------------------------------------------------


def main() -> None:
    """Serve one file to the parent on standard input and output, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)  # ffmpeg and PDFium print where they please
    os.dup2(nothing, 2)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    first = requests.get()
    limits = Limits(**first["limits"])
    _restrict(limits)
    decoder: Decoder | None = None
    while True:
        request = requests.get() if decoder else first
        raw: NDArray[Any] | None = None
        try:
            if decoder is None:
                decoder = open_decoder(Path(request["open"]), limits)
                reply, raw = _about(decoder), decoder.times
            elif "size_of" in request:
                size = decoder.size_of(request["size_of"])
                reply = {"width": size.width, "height": size.height}
            else:
                raw = decoder.picture(request["picture"])
                reply = {"width": raw.shape[1], "height": raw.shape[0]}
        except R4Error as error:
            reply = {"error": type(error).__name__, "message": one_line(error)}
        except MemoryError:
            much = f"{first['open']}: decoding takes more than the {limits.memory_bytes >> 20} MB allowed"
            reply = {
                "error": "MediaError",
                "message": f"{much}; scale it down first, or raise Limits.memory_bytes",
            }
        except Exception as error:  # what a library raises on a hostile file is open-ended
            where = f"{first['open']}: the decoder failed ({type(error).__name__}: {one_line(error, 120)})"
            reply = {"error": "MediaError", "message": f"{where}; check that the file is complete"}
        data = b"" if raw is None else np.ascontiguousarray(raw).data.cast("B")
        header = json.dumps({**reply, "bytes": len(data)}).encode()
        _send(out, len(header).to_bytes(4, "big") + header)
        _send(out, data)
        if decoder is None:
            return


def _listen(requests: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Pass requests on; when the parent is gone, end at once, even in the middle of a decode."""
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    os._exit(0)


def _restrict(limits: Limits) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # Not the address space: that counts mapped files and what is reserved and never used.
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))


def _about(decoder: Decoder) -> dict[str, Any]:
    return {name: getattr(decoder, name) for name in ("kind", "name", "count", "duration")}


def _send(out: BinaryIO, data: bytes | memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[out.write(left) :]
