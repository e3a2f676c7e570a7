"""Files that are not what they say: other content than the name, no content, playlists."""

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from hostile_files import SEED, Case, write

MAGIC = {
    "gif": b"GIF89a",
    "png": b"\x89PNG\r\n\x1a\n",
    "jpg": b"\xff\xd8\xff\xe0",
    "tiff": b"II*\0",
    "tif": b"MM\0*",
    "webp": b"RIFF\x20\x4e\0\0WEBPVP8 ",
    "bmp": b"BM\x20\x4e\0\0\0\0\0\0",
    "avif": b"\0\0\0\x20ftypavif",
    "pdf": b"%PDF-1.7\n",
    "mp4": b"\0\0\0\x20ftypisom" + bytes(20) + b"\0\0\x40\0moov",
    "mkv": b"\x1a\x45\xdf\xa3\x93",
    "avi": b"RIFF\x20\x4e\0\0AVI LIST",
    "ts": b"\x47\x40\0\x10" * 50,
    "mpg": b"\0\0\1\xba\x44",
    "m2v": b"\0\0\1\xb3",
    "flv": b"FLV\1\5\0\0\0\x09",
    "ogv": b"OggS\0\2",
    "wmv": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    "h264": b"\0\0\0\1\x67\x42\0\x1e",
    "hevc": b"\0\0\0\1\x40\1\x0c\1",
    "ivf": b"DKIF\0\0\x20\0VP90\xff\xff\xff\xff",
    "obu": b"\x12\0\x0a\x0b",
}


def wrong_names(folder: Path, good: dict[str, bytes]) -> Iterator[Case]:
    rng = random.Random(SEED)
    for pair in (
        "mp4 pdf",
        "pdf mp4",
        "animated.gif png",
        "png mp4",
        "mkv jpg",
        "jpg gif",
        "ts txt",
        "avi webp",
    ):
        content, suffix = pair.split()
        yield Case(
            "wrong name", f"{content} as {suffix}", write(folder / f"{content}.{suffix}", good[content])
        )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("clip.mp4", good["mp4"])
    for what, data, suffix in (
        ("text", b"The sign says nothing.\n" * 200, "mp4"),
        ("a zip with a video", archive.getvalue(), "mp4"),
        ("an ELF", b"\x7fELF\2\1\1" + bytes(9) + rng.randbytes(5000), "gif"),
        ("HTML", b"<!doctype html><img src=good.png>" * 50, "gif"),
        ("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="../good.png"/></svg>', "png"),
        ("a script", b"#!/bin/sh\ntouch /tmp/hostile\n", "webm"),
        ("JSON", b'{"frames": [' + b"[" * 100_000, "avi"),
        ("noise", rng.randbytes(30_000), "mp4"),
        ("zeros", bytes(2_000_000), "mkv"),
        ("a byte", b"\0", "pdf"),
    ):
        made = write(folder / f"{what}.{suffix}", data)
        yield Case("wrong name", f"{what} as {suffix}", made, refuse=True)
    for suffix, magic in MAGIC.items():
        made = write(folder / f"magic.{suffix}", magic + rng.randbytes(20_000))
        yield Case("magic, then noise", suffix, made)
        yield Case(
            "magic, then noise", f"{suffix}, no noise", write(folder / f"bare.{suffix}", magic), refuse=True
        )


def playlists(folder: Path, good: dict[str, bytes], port: int) -> Iterator[Case]:
    """What makes a player open other files and addresses. Both would be good videos, or noticed."""
    write(folder / "good.mp4", good["mp4"])
    write(folder / "good.ts", good["ts"])
    here, web = (folder / "good.ts").as_posix(), f"http://127.0.0.1:{port}/x.ts"
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
    mpd = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" minBufferTime="PT1S" '
        'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
        'bandwidth="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )
    sdp = (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video {} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    )
    drefs = good["mp4"].replace(b"url \0\0\0\1", b"alis\0\0\0\0")
    for name, data in (
        ("relative.m3u8", hls.format("good.ts")),
        ("absolute.m3u8", hls.format(here)),
        ("web.m3u8", hls.format(web)),
        ("hls.mp4", hls.format(f"file://{here}")),
        ("hls-web.mp4", hls.format(web)),
        ("hls.ts", hls.format("good.ts")),
        ("passwd.mp4", hls.format("file:///etc/passwd")),
        (
            "key.m3u8",
            hls.replace("#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{web}"\n#EXTINF').format("good.ts"),
        ),
        ("script.ffconcat", f"ffconcat version 1.0\nfile '{here}'\n"),
        ("web.ffconcat", f"ffconcat version 1.0\nfile '{web}'\n"),
        ("script.mp4", "ffconcat version 1.0\nfile good.mp4\n"),
        ("list.txt", "file good.mp4\n"),
        ("file.mpd", mpd.format("good.mp4")),
        ("web.mpd", mpd.format(web)),
        ("mpd.mp4", mpd.format("good.mp4")),
        ("stream.sdp", sdp.format(port)),
        ("sdp.mp4", sdp.format(port)),
        ("list.asx", f'<asx version="3.0"><entry><ref href="{web}"/></entry></asx>'),
        ("list.pls", f"[playlist]\nFile1={web}\nNumberOfEntries=1\n"),
        ("link.url", f"[InternetShortcut]\nURL={web}\n"),
        (
            "list.xspf",
            f"<playlist><trackList><track><location>{web}</location></track></trackList></playlist>",
        ),
        ("source.avs", f'FFVideoSource("{here}")'),
        ("meta.mov", f"rtsptext\n{web}\n"),
        ("nowhere.mov", drefs),
    ):
        # The last one's frames are in it as well, so it may be looked at.
        made = write(folder / name, data)
        yield Case("points elsewhere", name, made, refuse=name != "nowhere.mov")
    names = (
        "subfile,,start,0,end,0,,:good.mp4",
        "concat:good.mp4|good.mp4",
        "file:good.mp4",
        "%04d.mp4",
        "-",
        "pipe:0",
        "crypto:good.mp4",
        "data:image/png;base64,AAAA",
        web,
        f"tcp://127.0.0.1:{port}",
        f"rtsp://127.0.0.1:{port}/",
        "lavfi:testsrc",
        "cache:good.mp4",
        "async:good.mp4",
        "",
    )
    for name in names:
        yield Case("points elsewhere", name or "no name", name, name not in ("", "-"), str(folder))


def no_pictures(folder: Path, good: dict[str, bytes]) -> Iterator[Case]:
    tone = (np.sin(np.arange(44_100) / 20) * 9000).astype(np.int16)[None]
    for suffix, codec in (("mp4", "aac"), ("mp3", "libmp3lame"), ("mkv", "aac"), ("wav", "pcm_s16le")):
        out = io.BytesIO()
        with av.open(out, "w", format={"mkv": "matroska"}.get(suffix, suffix)) as file:
            sound = file.add_stream(codec, rate=44_100, layout="mono")
            sound_frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            sound_frame.sample_rate, sound_frame.pts = 44_100, 0
            file.mux(sound.encode(sound_frame))
            file.mux(sound.encode(None))
        yield Case(
            "no pictures",
            f"sound in {suffix}",
            write(folder / f"sound.{suffix}", out.getvalue()),
            refuse=True,
        )
    for suffix in ("mp4", "pdf", "png", "gif", "txt"):
        yield Case("no pictures", f"empty {suffix}", write(folder / f"empty.{suffix}", b""), refuse=True)
    for size, name in ((9 << 30, "sparse.mp4"), (3 << 30, "sparse.mkv")):
        with (folder / name).open("wb") as file_of_holes:
            file_of_holes.write(good["mkv"][:200])
            file_of_holes.truncate(size)
        yield Case("no pictures", f"{name}, {size >> 30} GiB of nothing", str(folder / name), refuse=True)
