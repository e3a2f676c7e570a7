"""Each frame asked for is that frame, with the container's time, whatever the file is like."""

import random
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from clips import number_of, write_clip

from r4agent.errors import MediaError
from r4agent.geometry import Size
from r4agent.media import Limits, open_source
from r4agent.media.video import Video

F = Fraction
TWENTY_FIVE = [F(i, 25) for i in range(40)]
LATE = [t + 5 for t in TWENTY_FIVE]
UNEVEN = [F(0)]
for gap in random.Random(0).choices([1, 2, 3, 7, 40, 100], k=39):
    UNEVEN.append(UNEVEN[-1] + F(gap, 100))

X264 = {"preset": "veryfast", "g": "12"}
X265 = {"codec": "libx265", "preset": "ultrafast"}
VP9 = {"codec": "libvpx-vp9", "cpu-used": "8", "deadline": "realtime", "g": "10"}
AVI = {"base": F(1, 25)}

# name: times of the frames, how to encode them, and by how much the container moves the times
CLIPS: dict[str, tuple[list[Fraction], dict, float]] = {
    "plain.mp4": (TWENTY_FIVE, {**X264, "bf": "0"}, 0),
    "b_frames.mp4": (TWENTY_FIVE, {**X264, "bf": "3"}, 0),
    "open_gop.mp4": (TWENTY_FIVE, {**X264, "bf": "3", "x264-params": "open-gop=1"}, 0),
    "uneven.mp4": (UNEVEN, {**X264, "bf": "2"}, 0),
    "uneven.mkv": (UNEVEN, {**X264, "bf": "2"}, 0),
    "late.mp4": (LATE, {**X264, "bf": "2"}, 0),
    "late.mkv": (LATE, {**X264, "bf": "2"}, 0),
    "turned90.mp4": (TWENTY_FIVE, {**X264, "rotate": 90}, 0),
    "turned180.mp4": (TWENTY_FIVE, {**X264, "rotate": 180}, 0),
    "turned270.mov": (TWENTY_FIVE, {**X264, "rotate": 270}, 0),
    "turned90.mkv": (TWENTY_FIVE, {**X264, "rotate": 90}, 0),
    "ten_bits.mkv": (TWENTY_FIVE, {**X264, "pix_fmt": "yuv420p10le"}, 0),
    "ten_bits_hevc.mp4": (
        TWENTY_FIVE,
        {**X265, "pix_fmt": "yuv420p10le", "x265-params": "log-level=none:keyint=10:bframes=3"},
        0,
    ),
    "open_gop_hevc.mp4": (
        TWENTY_FIVE,
        {**X265, "x265-params": "log-level=none:keyint=10:bframes=3:open-gop=1"},
        0,
    ),
    "odd.mp4": (TWENTY_FIVE, {**X264, "size": (321, 241), "pix_fmt": "yuv444p"}, 0),
    "odd.webm": (TWENTY_FIVE, {**VP9, "size": (321, 241)}, 0),
    "odd.avi": (TWENTY_FIVE, {**AVI, "codec": "mpeg4", "size": (321, 241), "g": "10", "qscale": "2"}, 0),
    "vp8.webm": (TWENTY_FIVE, {"codec": "libvpx", "g": "10", "deadline": "realtime"}, 0),
    "av1.mkv": (TWENTY_FIVE, {"codec": "libsvtav1", "preset": "12", "g": "10"}, 0),
    "mjpeg.avi": (TWENTY_FIVE, {**AVI, "codec": "mjpeg", "pix_fmt": "yuvj420p"}, 0),
    "b_frames.avi": (TWENTY_FIVE, {**AVI, "codec": "mpeg4", "g": "10", "bf": "2"}, 0.04),
    "b_frames_h264.avi": (TWENTY_FIVE, {**AVI, **X264, "bf": "3"}, 0.04),
    "prores.mov": (TWENTY_FIVE[:10], {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}, 0),
    "fragments.mp4": (
        TWENTY_FIVE,
        {**X264, "bf": "2", "container": {"movflags": "frag_keyframe+empty_moov"}},
        0.08,
    ),
    "b_frames.ts": (TWENTY_FIVE, {**X264, "bf": "3"}, 0.08),
    "b_frames.flv": (TWENTY_FIVE, {**X264, "bf": "3"}, 0.08),
    "raw.h264": (TWENTY_FIVE, {**X264, "bf": "3"}, 0),
    "one.mp4": (TWENTY_FIVE[:1], X264, 0),
    "one.webm": (TWENTY_FIVE[:1], VP9, 0),
    "uhd.mp4": (TWENTY_FIVE[:8], {"size": (3840, 2160), "preset": "ultrafast", "g": "5"}, 0),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("clips")

    def make(name: str) -> Path:
        times, options, _ = CLIPS[name]
        path = folder / name
        return path if path.exists() else write_clip(path, times, **options)

    return make


def read_shuffled(path: Path, *, isolate: bool = False) -> tuple[list[int], list[float]]:
    """Numbers and times of all frames, by index, asked for one by one in a random order."""
    seen = {}
    with open_source(path, isolate=isolate) as source:
        order = list(range(source.count))
        random.Random(7).shuffle(order)
        for index in order:
            frame = source.frame(index)
            assert frame.index == index
            assert frame.image.size == (source.size.width, source.size.height)
            seen[index] = (number_of(frame.image), frame.time)
    return [seen[i][0] for i in sorted(seen)], [seen[i][1] for i in sorted(seen)]


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_is_the_one_asked_for(name: str, clip: Callable[[str], Path]) -> None:
    times, options, moved = CLIPS[name]
    numbers, seen = read_shuffled(clip(name))
    assert numbers == list(range(len(times)))
    step = 1.1e-3 if Path(name).suffix in (".mkv", ".webm", ".flv") else 1e-9  # those store milliseconds
    assert np.allclose(seen, [float(t) + moved for t in times], rtol=0, atol=step)
    with open_source(clip(name), isolate=False) as source:
        assert source.kind == "video"
        assert source.size == Size(*options.get("size", (320, 240)))


def test_an_edit_list_hides_frames_and_moves_times(clip: Callable[[str], Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    copy = [ffmpeg, "-v", "error", "-ss", "0.72", "-i", clip("b_frames.mp4"), "-c", "copy", cut]
    subprocess.run(copy, check=True)
    numbers, times = read_shuffled(cut)
    assert numbers == list(range(18, 40))
    assert np.allclose(times, [i / 25 for i in range(22)], rtol=0, atol=1e-4)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_a_stream_that_starts_without_its_keyframe(
    suffix: str, clip: Callable[[str], Path], tmp_path: Path
) -> None:
    headless = tmp_path / f"headless{suffix}"
    with av.open(str(clip("b_frames.mp4"))) as source, av.open(str(headless), "w") as out:
        track = source.streams.video[0]
        copy = out.add_stream_from_template(track)
        for packet in list(source.demux(track))[1:]:
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    numbers, _ = read_shuffled(headless)
    assert numbers == list(range(numbers[0], 40))
    assert 0 < numbers[0] <= 12


def test_frames_come_in_the_order_asked_for_decoded_once(clip: Callable[[str], Path]) -> None:
    with open_source(clip("b_frames.mp4")) as source:
        asked = [30, 2, 2, 17, 30, 0]
        frames = list(source.frames(asked))
        assert [f.index for f in frames] == asked
        assert [number_of(f.image) for f in frames] == asked
        assert source.decoded == 4


def test_a_gop_is_decoded_once(clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seeks: list[int] = []
    seek = Video._seek
    monkeypatch.setattr(Video, "_seek", lambda self, key: (seeks.append(key), seek(self, key))[1])
    with open_source(clip("b_frames.mp4"), isolate=False) as source:
        keys = source._decoder._keys  # type: ignore[attr-defined]
        assert len(keys) > 2
        seeks.clear()
        list(source.frames(range(source.count)))
        assert len(seeks) <= 1
        seeks.clear()
        list(source.frames([13, 14, 18, 21, 23]))
        assert len(seeks) == 1


def test_a_damaged_frame_is_an_error_and_its_neighbours_are_right(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 40, preset="veryfast", g="10", bf="0")
    with av.open(str(path)) as clip:
        packets = [p for p in clip.demux(video=0) if p.size]
        keyframe = next(p for p in packets[1:] if p.is_keyframe)
        number, start, size = packets.index(keyframe), keyframe.pos, keyframe.size
    data = bytearray(path.read_bytes())
    data[start + 4 : start + size] = bytes(size - 4)
    path.write_bytes(data)
    with open_source(path) as source:
        with pytest.raises(MediaError, match=rf"frame {number} cannot be decoded.*; check that"):
            source.frame(number)
        assert number_of(source.frame(number - 1).image) == number - 1


@pytest.mark.parametrize("name", ["open_gop.mp4", "open_gop_hevc.mp4", "b_frames.ts"])
def test_a_seek_that_lands_late_is_noticed(
    name: str, clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a wrong index in the file: the first try starts a keyframe too far on."""
    seek, tries = Video._seek, iter(range(10**6))

    def late(video: Video, key: int) -> None:
        skew = 1 - next(tries) % 2 if key >= 0 else 0
        seek(video, min(key + skew, len(video._keys) - 1))

    monkeypatch.setattr(Video, "_seek", late)
    numbers, _ = read_shuffled(clip(name))
    assert numbers == list(range(40))


def test_frames_above_the_pixel_limit_are_refused_before_decoding(
    clip: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Video, "_decoded")
    with pytest.raises(MediaError, match="3840x2160 are more than the 1000000 pixels"):
        open_source(clip("uhd.mp4"), limits=Limits(frame_pixels=1_000_000), isolate=False)


def test_more_frames_than_allowed_are_refused(clip: Callable[[str], Path]) -> None:
    with pytest.raises(MediaError, match="more than 39 frames"):
        open_source(clip("plain.mp4"), limits=Limits(frames=39))


def test_a_playlist_cannot_reach_other_files(clip: Callable[[str], Path], tmp_path: Path) -> None:
    lists = {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{clip('plain.mp4')}\n#EXT-X-ENDLIST\n",
        "a.ffconcat": f"ffconcat version 1.0\nfile '{clip('plain.mp4')}'\n",
    }
    for name, text in lists.items():
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(MediaError, match="not a picture, PDF or video"):
            open_source(path)


def test_a_recording_that_prints_its_frame_number_and_time(repo: Path) -> None:
    path = repo.parent / "shared" / "videos" / "pyscenedetect_counter.mp4"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside this checkout")
    reader = pytest.importorskip("r4agent.reader").Reader()
    with open_source(path) as source:
        assert source.count == 30
        for frame in source.frames([17, 3, 29, 0]):
            text = " ".join(line.text for line in reader.read(frame.image))
            number, time = re.findall(r"Frame = (\d+).*PTS = ([\d.]+)s", text)[0]
            assert int(number) == frame.index + 1
            assert float(time) == pytest.approx(frame.time, abs=1e-3)
