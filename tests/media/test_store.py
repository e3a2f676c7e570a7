"""The picture store: one file a picture, whole or not there, shared between processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from r4agent.errors import MediaError, RunError, UsageError
from r4agent.media.store import GRACE_SECONDS, MediaStore, picture_ref


def noise(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    image = Image.new("RGB", size)
    image.putdata([((i * seed) % 256, (i * 7) % 256, seed % 256) for i in range(size[0] * size[1])])
    return image


@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 255))
@settings(max_examples=25)
def test_what_is_put_is_got(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, seed: int
) -> None:
    root = tmp_path_factory.mktemp("store")
    image = noise(seed, (width, height))
    ref = MediaStore(root).put(image)
    back = MediaStore(root, cache_bytes=0).get(ref)
    assert (back.size, back.tobytes()) == (image.size, image.tobytes())


def test_a_reference_is_content_and_size() -> None:
    assert picture_ref(noise(1)) == picture_ref(noise(1).copy())
    assert picture_ref(noise(1, (40, 30))) != picture_ref(noise(1, (30, 40)))
    assert picture_ref(Image.new("L", (4, 4))) == picture_ref(Image.new("RGB", (4, 4)))


def test_equal_pictures_are_one_file(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    assert store.put(noise(1)) == store.put(noise(1))
    assert len(list(tmp_path.glob("??/*"))) == 1


def test_what_is_got_may_be_changed_without_harm(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    ref = store.put(noise(1))
    store.get(ref).paste("black", (0, 0, 40, 30))
    assert store.get(ref).tobytes() == noise(1).tobytes()


@pytest.mark.parametrize("damage", [b"", b"not a png", None])
def test_a_damaged_file_is_told_not_shown(damage: bytes | None, tmp_path: Path) -> None:
    store = MediaStore(tmp_path, cache_bytes=0)
    ref = store.put(noise(1))
    data = store.path(ref).read_bytes()
    store.path(ref).write_bytes(data[: len(data) // 2] if damage is None else damage)
    with pytest.raises(MediaError, match="is damaged"):
        store.get(ref)


def test_other_pixels_under_a_name_are_told(tmp_path: Path) -> None:
    store = MediaStore(tmp_path, cache_bytes=0)
    one, two = store.put(noise(1)), store.put(noise(2))
    os.replace(store.path(two), store.path(one))
    with pytest.raises(MediaError, match="other pixels than its name says"):
        store.get(one)
    with pytest.raises(MediaError, match="not in the store"):
        store.get(two)


@pytest.mark.parametrize("ref", ["", "img:abc", "img:" + "../" * 20 + "etcx", "img:" + "G" * 64, "x" * 68])
def test_what_is_no_reference_names_no_file(ref: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a picture reference"):
        MediaStore(tmp_path).get(ref)


def test_the_cap_holds(tmp_path: Path) -> None:
    size = MediaStore(tmp_path / "a").path(MediaStore(tmp_path / "a").put(noise(1))).stat().st_size
    store = MediaStore(tmp_path / "b", max_bytes=int(2.5 * size))
    kept = [store.put(noise(1)), store.put(noise(2))]
    with pytest.raises(RunError, match=r"is full.*r4 clean"):
        store.put(noise(3))
    assert [store.get(ref).size for ref in kept] == [(40, 30)] * 2
    assert store.put(noise(2)) == kept[1]  # what is there already costs nothing


def test_the_memory_cache_is_capped(tmp_path: Path) -> None:
    store = MediaStore(tmp_path, cache_bytes=3 * 40 * 30 * 2)
    refs = [store.put(noise(n)) for n in range(1, 6)]
    assert list(store._cache) == refs[-2:]
    assert all(store.get(ref).size == (40, 30) for ref in refs)


def test_collecting_keeps_what_is_named_and_what_is_young(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    kept, old, young = (store.put(noise(n)) for n in (1, 2, 3))
    part = store.path(old).with_name(".123-dead")
    part.write_bytes(b"half")
    past = time.time() - GRACE_SECONDS - 10
    for path in (store.path(kept), store.path(old), part):
        os.utime(path, (past, past))
    size = store.path(old).stat().st_size
    assert store.collect(keep=[kept]) == size + 4
    assert (kept in store, old in store, young in store, part.exists()) == (True, False, True, False)


def test_putting_again_makes_young(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    ref = store.put(noise(1))
    past = time.time() - GRACE_SECONDS - 10
    os.utime(store.path(ref), (past, past))
    store.put(noise(1))
    store.collect(keep=[])
    assert ref in store


def test_a_full_disk_is_told_and_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="free some space"):
        MediaStore(tmp_path).put(noise(1))
    assert list(tmp_path.glob("??/*")) == []


def test_a_file_that_vanishes_while_the_store_is_measured_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process renames its part file between our listing and our look at it."""
    store = MediaStore(tmp_path)
    ref = store.put(noise(1))
    gone = store.path(ref).with_name(".1-gone")
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [*glob(self, pattern), gone])
    MediaStore(tmp_path).put(noise(2))
    MediaStore(tmp_path).collect(keep=[])
    assert ref in store


def test_several_processes_write_to_one_store(tmp_path: Path) -> None:
    script = (
        "import sys; from PIL import Image; from r4agent.media.store import MediaStore\n"
        "store = MediaStore(sys.argv[1], cache_bytes=0)\n"
        "for n in range(60):\n"
        "    image = Image.new('RGB', (64, 64), (n, 0, 0))\n"
        "    assert store.get(store.put(image)).size == (64, 64)\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert len(list(tmp_path.glob("??/*"))) == 60
