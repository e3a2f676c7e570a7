import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from r4agent import reader as module
from r4agent.errors import MissingError, RunError
from r4agent.geometry import Box, Size
from r4agent.media.store import picture_ref
from r4agent.reader import Line, Reader
from r4agent.text import contains

VIDEOS = Path(__file__).parents[2] / "shared" / "videos"


def drawn(
    *texts: tuple[int, int, str], size: int = 20, ink: str = "white", paper: str = "#1e1e2e"
) -> Image.Image:
    image = Image.new("RGB", (640, 240), paper)
    pen = ImageDraw.Draw(image)
    for x, y, text in texts:
        pen.text((x, y), text, font=ImageFont.load_default(size), fill=ink)
    return image


@pytest.fixture(scope="module")
def real() -> Reader:
    return Reader(threads=1)


class Engine:
    """Stands in for rapidocr: counts its calls, and reads the picture's top left pixel."""

    def __init__(self) -> None:
        self.calls = 0
        self.busy = threading.Lock()

    def __call__(self, pixels: np.ndarray, **flags: bool) -> SimpleNamespace:
        assert flags == {"use_det": True, "use_cls": False, "use_rec": True}
        assert self.busy.acquire(blocking=False), "two calls at once"
        self.calls += 1
        time.sleep(0.01)
        self.busy.release()
        corners = np.array([[[0, 0], [50, 0], [50, 40], [0, 40]]], dtype=float)
        return SimpleNamespace(boxes=corners, txts=(f"pixel {pixels[0, 0, 2]}",), scores=(0.5,))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(module, "_load", lambda threads: made)
    return made


def plain(shade: int) -> Image.Image:
    return Image.new("RGB", (64, 64), (shade, 0, 0))


# What it reads


@pytest.mark.parametrize("size", [12, 16, 24, 40])
@pytest.mark.parametrize(("ink", "paper"), [("white", "black"), ("black", "white"), ("#a6e3a1", "#1e1e2e")])
def test_it_reads_text_where_it_stands(real: Reader, size: int, ink: str, paper: str) -> None:
    image = drawn((30, 90, "Order 4821 shipped"), size=size, ink=ink, paper=paper)
    found = contains(real.read(image), "Order 4821 shipped")
    assert found.score == 1.0
    assert found.box is not None
    assert found.box.space == "shown"
    true = ImageDraw.Draw(image).textbbox((30, 90), "Order 4821 shipped", font=ImageFont.load_default(size))
    for got, want in zip(found.box.corners, true, strict=True):
        assert abs(got - want) <= size / 2 + 2


def test_it_reads_a_terminal_in_order(real: Reader) -> None:
    image = drawn(
        (10, 10, "$ git bisect start"), (10, 40, "status: waiting"), (300, 40, "branch main"),
        (10, 70, "$ python run.py --seed 7"), size=20,
    )  # fmt: skip
    lines = real.read(image)
    text = " ".join(line.text for line in lines)
    assert text == "$ git bisect start status: waiting branch main $ python run.py --seed 7"
    assert all(0.5 <= line.score <= 1 for line in lines)


def test_text_that_touches_the_rim_is_read(real: Reader) -> None:
    whole = drawn((30, 90, "Order 4821 shipped"), size=24)
    box = ImageDraw.Draw(whole).textbbox((30, 90), "Order 4821 shipped", font=ImageFont.load_default(24))
    crop = whole.crop((int(box[0]), int(box[1]), int(box[2]), int(box[3])))
    found = contains(real.read(crop), "Order 4821 shipped")
    assert found.score == 1.0
    assert found.box is not None
    assert found.box.pixels(Size(*crop.size)) == found.box.pixels(Size(10_000, 10_000))


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (28, 28), (1, 700), (7680, 1), (3, 2000), (3000, 28)])
def test_pictures_with_nothing_in_them_give_nothing(real: Reader, size: tuple[int, int]) -> None:
    assert real.read(Image.new("RGB", size)) == ()
    assert real.read(Image.new("L", size, 255)) == ()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_any_mode_is_read(real: Reader, mode: str) -> None:
    image = drawn((30, 90, "Order 4821"), size=30, paper="black").convert(mode)
    assert contains(real.read(image), "Order 4821").score == 1.0


def test_a_very_large_picture_is_read(real: Reader) -> None:
    image = Image.new("RGB", (5000, 1400), "white")
    ImageDraw.Draw(image).text((4000, 1200), "far corner 77", font=ImageFont.load_default(60), fill="black")
    found = contains(real.read(image), "far corner 77")
    assert found.score == 1.0
    assert found.box is not None
    assert found.box.x0 == pytest.approx(4000, abs=30)
    assert found.box.y0 == pytest.approx(1200, abs=30)


def test_flags_of_an_earlier_call_do_not_stick(real: Reader) -> None:
    image = drawn((30, 90, "still found"), size=24)
    real.read(drawn((0, 0, "warm")))
    real._engine(np.asarray(image), use_det=False, use_cls=True, use_rec=False)
    assert [line.text for line in real.read(image)] == ["still found"]


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="the recordings are not beside this checkout")
def test_it_reads_a_real_recording(real: Reader) -> None:
    import av

    with av.open(str(VIDEOS / "pyscenedetect_counter.mp4")) as file:
        frames = [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    for number in (1, 17):
        texts = " ".join(line.text for line in real.read(frames[number - 1]))
        assert str(number) in "".join(c if c.isdigit() else " " for c in texts).split(), texts


# What it remembers


def test_a_picture_is_read_once(engine: Engine) -> None:
    reader = Reader()
    first = reader.read(plain(7))
    assert first == (Line("pixel 7", Box(0, 0, 17, 12, "shown"), 0.5),)
    assert reader.read(plain(7)) == first
    assert reader.read(plain(7), ref=picture_ref(plain(7))) == first
    assert engine.calls == 1
    assert reader.read(plain(8))[0].text == "pixel 8"
    assert engine.calls == 2


def test_the_reference_given_is_the_key(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, ref = Reader(), picture_ref(plain(7))
    reader.read(plain(7), ref=ref)

    def never(image: Image.Image) -> str:
        raise AssertionError("hashed a picture whose reference was given")

    monkeypatch.setattr(module, "picture_ref", never)
    reader.read(plain(7), ref=ref)
    assert engine.calls == 1


def test_memory_is_bounded_and_forgets_the_oldest(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    reader = Reader()
    for shade in (1, 2, 1, 3, 1):  # 2 is the least recently read when 3 comes
        reader.read(plain(shade))
    assert engine.calls == 3
    reader.read(plain(2))
    assert engine.calls == 4
    assert len(reader._memory) == 2


def test_threads_share_one_engine(engine: Engine) -> None:
    reader = Reader()
    got: list[str] = []
    work = [
        threading.Thread(target=lambda s=s: got.append(reader.read(plain(s))[0].text)) for s in [1, 2] * 8
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert sorted(got) == ["pixel 1"] * 8 + ["pixel 2"] * 8
    assert engine.calls == 2


def test_the_folder_outlives_the_reader(engine: Engine, tmp_path: Path) -> None:
    first = Reader(cache=tmp_path).read(plain(7))
    assert Reader(cache=tmp_path).read(plain(7)) == first
    assert engine.calls == 1
    (file,) = tmp_path.rglob("*.json")
    assert file.stat().st_size < 500


def test_seconds_that_the_folder_saved_are_those_of_the_first_reading(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter((10.0, 12.5))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(ticks))
    Reader(cache=tmp_path).read(plain(7))
    again = Reader(cache=tmp_path)
    assert again.saved == 0
    for _ in range(3):  # the second and third are remembered
        again.read(plain(7))
    assert again.saved == 2.5
    again.forget()
    assert again.saved == 0
    again.read(plain(7))
    assert again.saved == 2.5
    assert engine.calls == 1


def test_another_reader_name_does_not_use_the_files(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Reader(cache=tmp_path).read(plain(7))
    monkeypatch.setattr(module, "SETTINGS", 999)
    Reader(cache=tmp_path).read(plain(7))
    assert engine.calls == 2


def damages() -> dict[str, Callable[[bytes], bytes]]:
    def other_picture(data: bytes) -> bytes:
        _, rows, seconds = json.loads(data.split(b"\n")[1])
        lines = tuple(Line(t, Box(a, b, c, d), s) for t, a, b, c, d, s in rows)
        return module._encode("img:" + "0" * 64, lines, seconds)

    return {
        "empty": lambda data: b"",
        "cut": lambda data: data[: len(data) // 2],
        "not text": lambda data: b"\xff\xfe" * 40,
        "one bit": lambda data: data.replace(b"pixel 7", b"pixel 5"),
        "valid but another shape": lambda data: b"[]\n",
        "another picture's": other_picture,
    }


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_file_is_read_again_and_written_again(engine: Engine, tmp_path: Path, damage: str) -> None:
    first = Reader(cache=tmp_path).read(plain(7))
    (file,) = tmp_path.rglob("*.json")
    good = file.read_bytes()
    file.write_bytes(damages()[damage](good))
    assert file.read_bytes() != good
    assert Reader(cache=tmp_path).read(plain(7)) == first
    assert engine.calls == 2
    found = module._decode(file.read_bytes(), picture_ref(plain(7)))
    assert found
    assert found[0] == first


def test_a_reference_cannot_name_a_path(engine: Engine, tmp_path: Path) -> None:
    Reader(cache=tmp_path / "cache").read(plain(7), ref="img:../../escaped")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_folder_that_cannot_be_written_is_said(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="the reader's cache"):
        Reader(cache=tmp_path / "file").read(plain(7))


def test_processes_share_a_folder(tmp_path: Path) -> None:
    """Two processes read the same pictures into one folder; no file is torn and none is left over."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_reader as t
t.module._load = lambda threads: t.Engine()
reader = t.Reader(cache={str(tmp_path)!r})
assert [reader.read(t.plain(s))[0].text for s in range(40)] == [f"pixel {{s}}" for s in range(40)]
"""
    two = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [process.wait(60) for process in two] == [0, 0]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 40
    for shade in range(40):
        ref = picture_ref(plain(shade))
        ((lines, _),) = [
            found for file in files if (found := module._decode(file.read_bytes(), ref)) is not None
        ]
        assert lines[0].text == f"pixel {shade}"


# How it loads


def test_importing_is_light_and_reading_is_quiet() -> None:
    script = """
import sys
import r4agent.reader
heavy = {"cv2", "onnxruntime", "rapidocr", "rapidfuzz"} & set(sys.modules)
assert not heavy, heavy
from PIL import Image
reader = r4agent.reader.Reader(threads=1)
assert not {"cv2", "onnxruntime"} & set(sys.modules)
reader.read(Image.new("RGB", (64, 64)))
assert "onnxruntime" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("package", ["rapidocr", "onnxruntime"])
def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingError, match=rf'needs {package}, .*pip install "r4agent\[ocr\]"'):
        Reader()


def test_a_package_that_does_not_import_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(MissingError, match=r"can't load rapidocr .*r4agent\[ocr\]"):
        reader.read(plain(1))


def test_the_name_says_model_and_version() -> None:
    from importlib.metadata import version

    assert Reader().name.startswith(f"rapidocr {version('rapidocr')} PP-OCRv6 small")
