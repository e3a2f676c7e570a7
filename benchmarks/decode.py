"""Random access to frames, side by side with PyAV's and ffmpeg's own; one GOP; memory over length.

    python benchmarks/decode.py [--seeks 12]

Each clip is opened once by each contender; then the same random frames are fetched from all of them in
turn, one after another, so that a busy machine is busy for all. r4agent runs as users run it, its decoder
in a child process; it decodes on from where it stands when that is nearer than a keyframe. PyAV seeks to
the frame's own time and decodes up to it. ffmpeg is started anew for each frame (`-ss T -i FILE -frames:v 1
-f rawvideo`), its start included, as a program that calls it pays. All three use as many decoder threads.
Ends with one line of JSON. ratio_vs_best: geometric mean over clips of r4agent's median time over the better
of the two. gop8_vs_single: eight frames of one GOP in one call, over the last of them alone; below 2, the
eight cost less than two single ones. rss_growth_mb: peak memory that a 2-hour video adds to its first minute.
"""

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from r4agent.media import open_source
from r4agent.media.video import THREADS

REAL = Path(__file__).resolve().parents[2] / "shared" / "videos"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeks", type=int, default=12, help="random frames for each clip")
    seeks = parser.parse_args().seeks
    with tempfile.TemporaryDirectory() as folder:
        made = [
            screen_clip(Path(folder) / "1080p-gop250.mp4", frames=400, gop=250),
            screen_clip(Path(folder) / "1080p-gop30.mp4", frames=120, gop=30),
            screen_clip(Path(folder) / "720p-vp9.webm", frames=150, gop=60, codec="libvpx-vp9", height=720),
        ]
        real = sorted(REAL.glob("*.mp4")) if REAL.is_dir() else []
        print(f"decoder threads: {THREADS}; milliseconds a frame, median of {seeks} random frames\n")
        print(f"{'clip':38} {'r4agent':>8} {'PyAV':>8} {'ffmpeg':>8} {'ratio':>6}")
        ratios = [random_access(path, seeks) for path in made + real]
        ratio = math.exp(statistics.mean(map(math.log, ratios)))
        gop = one_gop(made[0])
        growth = memory_growth(Path(folder))
    print(json.dumps({"ratio_vs_best": ratio, "gop8_vs_single": gop, "rss_growth_mb": growth}))


# -- 1. random access ----------------------------------------------------------------------------------


def random_access(path: Path, seeks: int) -> float:
    """r4agent's median time over the better of the other two."""
    with open_source(path) as source, av.open(str(path)) as container:
        assert source.times is not None
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.thread_count = THREADS
        size = source.size

        def ours(index: int) -> np.ndarray:
            return np.asarray(source.frame(index).image)

        def pyav(index: int) -> np.ndarray:
            assert source.times is not None
            assert stream.time_base is not None
            pts = round(source.times[index] / stream.time_base)
            container.seek(pts, stream=stream)
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts >= pts:
                    return frame.to_ndarray(format="rgb24")
            raise RuntimeError(f"{path}: PyAV does not reach frame {index}")

        def ffmpeg(index: int) -> np.ndarray:
            assert source.times is not None
            at = source.times[index] - source.times[0] - 0.0005
            raw = subprocess.run(
                [FFMPEG, "-v", "error", "-threads", str(THREADS), "-ss", f"{max(0, at):.6f}", "-i", path,
                 "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                check=True, stdin=subprocess.DEVNULL, capture_output=True,
            ).stdout  # fmt: skip
            return np.frombuffer(raw, np.uint8).reshape(size.height, size.width, 3)

        contenders: list[Callable[[int], np.ndarray]] = [ours, pyav, ffmpeg]
        times: list[list[float]] = [[] for _ in contenders]
        rng = random.Random(1)
        for turn in range(seeks):
            index = rng.randrange(source.count)
            pictures = {}
            for place in range(3):  # each goes first as often as the others
                which = (turn + place) % 3
                start = time.perf_counter()
                pictures[which] = contenders[which](index)
                times[which].append(time.perf_counter() - start)
            assert np.array_equal(pictures[0], pictures[1]), f"{path.name}: frame {index} differs from PyAV's"
        ours_ms, pyav_ms, ffmpeg_ms = (statistics.median(t) * 1000 for t in times)
    ratio = ours_ms / min(pyav_ms, ffmpeg_ms)
    print(f"{path.name[:38]:38} {ours_ms:8.1f} {pyav_ms:8.1f} {ffmpeg_ms:8.1f} {ratio:6.2f}", flush=True)
    return ratio


# -- 2. one GOP ----------------------------------------------------------------------------------------


def one_gop(path: Path) -> float:
    """Time of eight frames of one GOP in one call, over that of the last of them alone."""
    indices = [20, 50, 80, 110, 140, 170, 200, 230]
    alone, together = [], []
    for _ in range(3):
        with open_source(path) as source:
            alone.append(timed(lambda s=source: s.frame(indices[-1])))
        with open_source(path) as source:
            together.append(timed(lambda s=source: list(s.frames(indices))))
    single, eight = statistics.median(alone), statistics.median(together)
    print(f"\none GOP of 250: one frame {single * 1000:.0f} ms, eight {eight * 1000:.0f} ms")
    return eight / single


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# -- 3. memory -----------------------------------------------------------------------------------------

PEAK = """
import resource, sys
from r4agent.media import open_source
with open_source(sys.argv[1]) as source:
    for frame in source.frames([*source.overview(64), *range(source.count - 200, source.count)]):
        pass
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def memory_growth(folder: Path) -> float:
    """Peak memory (parent and child, MB) that a 2-hour video adds to that of its first minute."""
    minute = screen_clip(folder / "minute.mp4", frames=60 * 25, gop=250, height=360, fps=25)
    listing = folder / "list.txt"
    listing.write_text(f"file '{minute}'\n" * 120)
    hours = folder / "hours.mp4"
    copy = ["-f", "concat", "-safe", "0", "-i", listing, "-c", "copy", hours]
    subprocess.run([FFMPEG, "-v", "error", *copy], check=True)
    peaks = []
    for path in (minute, hours):
        run = subprocess.run(
            [sys.executable, "-c", PEAK, path], check=True, capture_output=True, text=True, timeout=300
        )
        peaks.append(int(run.stdout) / 1024)
    with open_source(hours) as source:
        length = f"{source.duration or 0:.0f} s, {source.count} frames"
    print(f"peak memory: 60 s {peaks[0]:.0f} MB; {length} {peaks[1]:.0f} MB")
    return peaks[1] - peaks[0]


# -- clips ---------------------------------------------------------------------------------------------


def screen_clip(
    path: Path, *, frames: int, gop: int, codec: str = "libx264", height: int = 1080, fps: int = 30
) -> Path:
    """A page of small text that scrolls, as a screen recording does."""
    width = height * 16 // 9
    page = Image.new("RGB", (width, height * 2), "white")
    pen, font, rng = (
        ImageDraw.Draw(page),
        ImageFont.load_default(size=max(12, height // 60)),
        random.Random(0),
    )
    for y in range(0, height * 2, max(14, height // 50)):
        line = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz 0123456789", k=width // 8))
        pen.text((10, y), line, fill="black", font=font)
    pixels = np.asarray(page)
    options = {"g": str(gop), **({"preset": "veryfast"} if codec == "libx264" else {"cpu-used": "8"})}
    if codec != "libx264":
        options["deadline"] = "realtime"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            top = 2 * (number // 2) % height
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[top : top + height]))
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
