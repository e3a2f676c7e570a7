"""Why PyAV decodes and not decord2: every frame of files of many makes, asked for in random order.

    python benchmarks/decoders.py [--seconds 10]

Each frame of the clips shows its number in a form that is read back (tests/media/clips.py). The truth is
what ffmpeg's own command gives when it decodes a clip once, from beginning to end: these numbers, at these
times. decord2 (`reader[i]` and `get_frame_timestamp(i)`) and r4agent.media are then asked for every frame
they count, one at a time. Each reads in a process of its own: decord2 and PyAV each bring an ffmpeg, and
where decord2 is imported first, PyAV's calls reach decord2's, as the first lines printed show. A process
that has not ended after --seconds is killed.

Counted are pictures that show another number than the frame asked for, or are turned, and times more than
1 ms off that frame's. The last frame of a reader is taken for the last there is; frames that it counts before
the first that can be decoded are too many, and whatever it gives for them is not held against it. AVI states
no presentation times, so there a time is measured from the reader's own first. A clip failed when it was not
opened, a frame of it was refused or left out, or the process crashed or hung. Ends with one line of JSON.
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "media"))
from clips import number_of, write_clip

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
WIDTH, HEIGHT = 320, 240
STEADY = [Fraction(i, 25) for i in range(40)]
UNEVEN = [Fraction(sum((1, 2, 3, 7, 40)[j % 5] for j in range(i)), 100) for i in range(40)]
LATE = [time + 5 for time in STEADY]

X264 = {"preset": "veryfast", "g": "12"}
X265 = {"codec": "libx265", "preset": "ultrafast"}
KEYS = "log-level=none:keyint=10:bframes=3"

# Each reader writes, for each frame, a line of JSON and then `bytes` raw bytes of RGB, on standard output.
READER = """
import json, random, sys
import numpy as np
{opening}
order = list(range(count))
random.Random(7).shuffle(order)
for index in order:
    try:
        time, pixels = read(index)
    except Exception as error:
        head, raw = {{"error": str(error)}}, b""
    else:
        head = {{"time": time, "height": pixels.shape[0], "width": pixels.shape[1]}}
        raw = np.ascontiguousarray(pixels).tobytes()
    line = json.dumps({{**head, "index": index, "count": count, "bytes": len(raw)}})
    sys.stdout.buffer.write(line.encode() + b"\\n" + raw)
    sys.stdout.buffer.flush()
"""
DECORD2 = """
import decord
reader = decord.VideoReader(sys.argv[1])
count = len(reader)
def read(index):
    return float(reader.get_frame_timestamp(index)[0]), reader[index].asnumpy()
"""
R4AGENT = """
from r4agent.media import open_source
source = open_source(sys.argv[1])
count = source.count
def read(index):
    frame = source.frame(index)
    return frame.time, np.asarray(frame.image)
"""
READERS = {"decord2": READER.format(opening=DECORD2), "r4agent": READER.format(opening=R4AGENT)}


@dataclass
class Score:
    """Of one reader, on one clip or on all. frames: how many there are; too_many: counted beyond them."""

    frames: int = 0
    wrong_pictures: int = 0
    wrong_times: int = 0
    too_many: int = 0
    clips_failed: int = 0
    clips_hung: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        return f"{self.wrong_pictures:9} {self.wrong_times:6} {self.too_many:9} "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="time that a reader has for a clip")
    seconds = parser.parse_args().seconds
    made_with = ", ".join(f"{name} {version(name)}" for name in ("av", "decord2", "imageio-ffmpeg"))
    print(f"{machine()}; {made_with}")
    print(
        f"ffmpeg that PyAV uses: {ffmpeg_of('import av')}; after decord2: {ffmpeg_of('import decord, av')}\n"
    )
    print(row("", "", *(f"{name}, wrong" for name in READERS)))
    print(row("clip", "frames", *[f"{'pictures':>9} {'times':>6} {'too many':>9}"] * len(READERS)))
    totals = dict.fromkeys(READERS, Score())
    with tempfile.TemporaryDirectory() as folder:
        for title, path in clips(Path(folder)):
            truth = decoded_once(path)
            cells = []
            for name in READERS:
                score, remark = judged(name, path, truth, seconds)
                totals[name] += score
                cells.append(f"{score} {remark}")
            print(row(title, str(len(truth)), *cells), flush=True)
    print(row("all", str(totals["r4agent"].frames), *map(str, totals.values())))
    print(json.dumps({name: asdict(score) for name, score in totals.items()}))


def row(clip: str, frames: str, *cells: str) -> str:
    return f"{clip:24} {frames:>6} {''.join(f'{cell:56}' for cell in cells)}".rstrip()


def machine() -> str:
    """Processor, cores and Python, for the record."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cpu = model[1] if model else platform.machine()
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}"


def ffmpeg_of(imports: str) -> str:
    """The version of ffmpeg that answers PyAV after these imports."""
    code = f"{imports}; print(av.ffmpeg_version_info)"
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


# -- truth and score -----------------------------------------------------------------------------------


def decoded_once(path: Path) -> dict[int, float]:
    """Frame number to time in seconds, by ffmpeg's command, from beginning to end."""
    run = subprocess.run(
        [FFMPEG, "-v", "info", "-copyts", "-i", path, "-vf", "showinfo", "-fps_mode", "passthrough",
         "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        check=True, capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    times = [float(t) for t in re.findall(r"showinfo.* pts_time:\s*([-\d.e]+)", run.stderr.decode())]
    pictures = np.frombuffer(run.stdout, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)
    truth = dict(zip((number_of(Image.fromarray(p)) for p in pictures), times, strict=True))
    assert list(truth) == list(range(min(truth), 40)), f"{path.name}: ffmpeg's own frames are {list(truth)}"
    return truth


def judged(reader: str, path: Path, truth: dict[int, float], seconds: float) -> tuple[Score, str]:
    """How a reader's frames compare with the truth, and what else is to be said."""
    raw, ending = output_of(reader, path, seconds)
    score = Score(frames=len(truth), clips_hung=int(ending == "hung"))
    remarks = [ending] if ending else []
    given: dict[int, float] = {}
    for head, pixels in frames_in(raw):
        number = max(truth) + 1 - head["count"] + head["index"]
        score.too_many = max(0, head["count"] - len(truth))
        if number in truth and pixels is not None:
            score.wrong_pictures += not shows(pixels, number)
            given[number] = head["time"]
    if len(given) < len(truth):
        remarks.append(f"frames refused: {len(truth) - len(given)}")
    score.clips_failed = int(bool(remarks))
    first = min(given, default=0)
    shift = truth[first] - given[first] if given and path.suffix == ".avi" else 0.0
    late = [time + shift - truth[number] for number, time in given.items()]
    score.wrong_times = sum(abs(off) > 1e-3 for off in late)
    if score.wrong_times and max(late) - min(late) <= 1e-3:
        remarks.append(f"all times {late[0]:+.3f} s")
    return score, ", ".join(remarks)


def output_of(reader: str, path: Path, seconds: float) -> tuple[bytes, str]:
    """What the reader's process wrote, and how it ended if not well."""
    command = [sys.executable, "-c", READERS[reader], path]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            raw, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[0], "hung"
    if process.returncode < 0:
        return raw, f"crashed ({signal.Signals(-process.returncode).name})"
    return raw, "not opened" if process.returncode else ""


def frames_in(raw: bytes) -> Iterator[tuple[dict, np.ndarray | None]]:
    """Heads and pictures in a reader's output; a last one that was not finished is left out."""
    while raw:
        line, _, raw = raw.partition(b"\n")
        try:
            head = json.loads(line)
        except json.JSONDecodeError:
            return
        if len(raw) < head["bytes"]:
            return
        data, raw = raw[: head["bytes"]], raw[head["bytes"] :]
        shape = (head.get("height", 0), head.get("width", 0), 3)
        yield head, np.frombuffer(data, np.uint8).reshape(shape) if data else None


def shows(pixels: np.ndarray, number: int) -> bool:
    if pixels.shape != (HEIGHT, WIDTH, 3):
        return False
    try:
        return number_of(Image.fromarray(pixels)) == number
    except AssertionError:  # turned, or not one of our frames at all
        return False


# -- clips ---------------------------------------------------------------------------------------------


def clips(folder: Path) -> Iterator[tuple[str, Path]]:
    """What the file is, and the file."""

    def made(name: str, times: list[Fraction] = STEADY, **options: str | int | Fraction) -> Path:
        return write_clip(folder / name, times, **options)

    b_frames = made("b_frames.mp4", **X264, bf="3")
    yield "H.264, no B-frames", made("plain.mp4", **X264, bf="0")
    yield "H.264, B-frames", b_frames
    yield "H.264, open GOP", made("open.mp4", **X264, bf="3", **{"x264-params": "open-gop=1"})
    yield "HEVC, open GOP", made("open_hevc.mp4", **X265, **{"x265-params": f"{KEYS}:open-gop=1"})
    yield (
        "HEVC, 10 bits",
        made("deep.mp4", **X265, pix_fmt="yuv420p10le", **{"x265-params": f"{KEYS}:open-gop=0"}),
    )
    yield "edit list", cut(b_frames, folder / "cut.mp4")
    yield "first frame at 5 s", made("late.mp4", LATE, **X264, bf="2")
    yield "variable rate", made("uneven.mp4", UNEVEN, **X264, bf="2")
    yield "variable rate, mkv", made("uneven.mkv", UNEVEN, **X264, bf="2")
    yield "turned by 90 degrees", made("turned.mp4", **X264, rotate=90)
    yield "first keyframe gone", headless(b_frames, folder / "headless.mp4")
    yield "first keyframe gone, mkv", headless(b_frames, folder / "headless.mkv")
    yield "AVI, MPEG-4, B-frames", made("b.avi", codec="mpeg4", base=Fraction(1, 25), g="10", bf="2")
    yield "AVI, H.264, B-frames", made("b_h264.avi", base=Fraction(1, 25), **X264, bf="3")
    yield "MPEG-TS", made("b.ts", **X264, bf="3")
    yield "FLV", made("b.flv", **X264, bf="3")


def cut(path: Path, out: Path) -> Path:
    """From 0.72 s on, without encoding again: an edit list hides what precedes it."""
    subprocess.run([FFMPEG, "-v", "error", "-ss", "0.72", "-i", path, "-c", "copy", out], check=True)
    return out


def headless(path: Path, out: Path) -> Path:
    """As a recording that was joined late: all packets but the first."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        track = source.streams.video[0]
        copy = target.add_stream_from_template(track)
        for packet in [packet for packet in source.demux(track) if packet.size][1:]:
            packet.stream = copy
            target.mux(packet)
    return out


if __name__ == "__main__":
    main()
