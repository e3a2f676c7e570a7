"""A decoder that crashes, hangs, eats memory or loses its parent takes nothing with it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from clips import draw, number_of, write_clip

from r4agent.errors import MediaError
from r4agent.media import Limits, child, open_source

FAKE = """
import ctypes, json, os, signal, sys, time
sys.path[:] = json.loads(sys.argv[1])
import numpy as np
from r4agent.geometry import Size
from r4agent.media import child

class Fake:
    kind, name, count, times, duration = "pdf", "fake", 4, None, None
    def size_of(self, index):
        return Size(2, 2)
    def picture(self, index):
        match index:
            case 1: ctypes.string_at(0)
            case 2: time.sleep(600)
            case 3: return np.ones((2**16, 2**16, 3), np.uint8)
        return np.zeros((2, 2, 3), np.uint8)

child.open_decoder = lambda path, limits: Fake()
child.main()
"""


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    draw(3).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def fake(picture: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose frame 1 crashes the decoder, whose frame 2 never comes, whose frame 3 is huge."""
    monkeypatch.setattr(child, "BOOT", FAKE)
    return picture


def test_a_crash_is_a_media_error_and_the_source_says_so_from_then_on(fake: Path) -> None:
    with open_source(fake) as source:
        assert source.frame(0).image.size == (2, 2)
        with pytest.raises(MediaError, match=r"picture\.png: the decoder died decoding frame 1 \(SIGSEGV\)"):
            source.frame(1)
        with pytest.raises(MediaError, match="SIGSEGV"):
            source.frame(0)


def test_a_hang_is_stopped_at_the_limit(fake: Path) -> None:
    with open_source(fake, limits=Limits(decode_seconds=2.0)) as source:
        start = time.monotonic()
        with pytest.raises(MediaError, match="decoding frame 2 took more than 2 s and was stopped"):
            source.frame(2)
        assert 2.0 <= time.monotonic() - start < 60


def test_too_much_memory_is_a_media_error_and_the_decoder_lives(fake: Path) -> None:
    with open_source(fake) as source:
        with pytest.raises(MediaError, match="more than the 512 MB allowed; scale it down"):
            source.frame(3)
        assert source.frame(0).image.size == (2, 2)


def test_an_interrupt_does_not_reach_the_decoder(picture: Path) -> None:
    """A notebook's stop button and Ctrl-C signal the whole process group."""
    with open_source(picture) as source:
        os.kill(pid_of(source), signal.SIGINT)
        time.sleep(0.1)
        assert number_of(source.frame(0).image) == 3


def test_a_killed_decoder_is_a_media_error(picture: Path) -> None:
    with open_source(picture) as source:
        os.kill(pid_of(source), signal.SIGKILL)
        with pytest.raises(MediaError, match="SIGKILL"):
            source.frame(0)


@pytest.mark.parametrize("at_work", [False, True])
def test_the_decoder_ends_with_its_parent(picture: Path, at_work: bool) -> None:
    script = textwrap.dedent("""
        import sys, time
        from r4agent.media import child, open_source
        child.BOOT = sys.argv[2]
        source = open_source(sys.argv[1])
        print(source._decoder._process.pid, flush=True)
        source.frame(2) if sys.argv[3] == "True" else time.sleep(600)
    """)
    command = [sys.executable, "-c", script, str(picture), FAKE, str(at_work)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        assert alive(pid)
        parent.kill()
    end = time.monotonic() + 30
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(pid)


@pytest.mark.parametrize("how", [["-P", "script.py"], ["-c", "exec(open('script.py').read())"]])
def test_an_unguarded_script_works_beside_misleading_modules(
    picture: Path, tmp_path: Path, how: list[str]
) -> None:
    """No `if __name__ == "__main__"`, and a `resource` in the current folder that the child must not load."""
    (tmp_path / "resource.py").write_text("raise SystemExit('the wrong resource')")
    (tmp_path / "script.py").write_text(
        f"from r4agent.media import open_source\nprint(open_source({str(picture)!r}).frame(0).image.size)\n"
    )
    done = subprocess.run(
        [sys.executable, *how], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "(320, 240)\n", done.stderr


def test_threads_share_a_source(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 40, preset="veryfast", g="12")
    seen: list[list[int]] = []
    with open_source(path) as source:

        def read(indices: list[int]) -> None:
            seen.append([number_of(f.image) - f.index for f in source.frames(indices)])

        threads = [threading.Thread(target=read, args=(list(range(k, 40, 3)),)) for k in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert source.decoded == 40
    assert len(seen) == 3
    assert all(not any(off) for off in seen)


def test_frames_may_be_abandoned_and_nested(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 30, preset="veryfast")
    with open_source(path) as source:
        for outer in source.frames([3, 9, 20]):
            inner = next(source.frames([25, 1]))
            assert (number_of(outer.image), number_of(inner.image)) == (outer.index, 25)


def test_closing_twice_and_using_what_is_closed(picture: Path) -> None:
    source = open_source(picture)
    pid = pid_of(source)
    source.close()
    source.close()
    assert not alive(pid)
    with pytest.raises(MediaError, match="the source is closed"):
        source.frame(0)


def test_the_decoder_cannot_write_files(picture: Path) -> None:
    with open_source(picture) as source:
        limits = Path(f"/proc/{pid_of(source)}/limits").read_text()
    found = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
    assert found["Max file size"] == "0"
    assert found["Max core file size"] == "0"
    assert int(found["Max data size"]) == Limits().memory_bytes


def pid_of(source: object) -> int:
    return source._decoder._process.pid  # type: ignore[attr-defined,no-any-return]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
