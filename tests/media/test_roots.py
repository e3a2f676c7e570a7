"""Roots: what a caller may name, and what refusals give away."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from r4agent import MediaError, UsageError
from r4agent.media.roots import Roots


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """A root with a file, a folder of pictures, and beside it what no caller may have."""
    root = tmp_path / "root"
    (root / "shots").mkdir(parents=True)
    (root / "a.mp4").write_bytes(b"video")
    Image.new("RGB", (4, 4)).save(root / "shots" / "1.png")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    (tmp_path / "root-of-another").mkdir()
    (tmp_path / "root-of-another" / "b.mp4").write_bytes(b"video")
    return root


def test_a_name_in_a_root_is_its_real_path(inside: Path) -> None:
    roots = Roots(inside)
    for name in ("a.mp4", "./a.mp4", "a.mp4/", str(inside / "a.mp4"), inside / "a.mp4"):
        assert roots.resolve(name) == inside / "a.mp4"
    assert roots.resolve("shots") == inside / "shots"
    (inside / "link.mp4").symlink_to("a.mp4")
    assert roots.resolve("link.mp4") == inside / "a.mp4"


def test_a_root_may_be_named_by_a_link(inside: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(inside)
    roots = Roots([tmp_path / "alias"])
    assert roots.paths == (inside,)
    assert roots.resolve(str(tmp_path / "alias" / "a.mp4")) == inside / "a.mp4"


def test_the_first_root_that_has_it(inside: Path, tmp_path: Path) -> None:
    other = tmp_path / "root-of-another"
    assert Roots([other, inside]).resolve("a.mp4") == inside / "a.mp4"
    (other / "a.mp4").write_bytes(b"")
    assert Roots([other, inside]).resolve("a.mp4") == other / "a.mp4"


OUTSIDE = ["secret.mp4", "gone.mp4"]  # the first is there, the second is not


@pytest.mark.parametrize("spelling", ["absolute", "up", "sibling", "link", "link to folder"])
def test_what_lies_outside_is_refused_in_the_words_for_what_is_not_there(
    inside: Path, tmp_path: Path, spelling: str
) -> None:
    (inside / "up").symlink_to(tmp_path)
    said = []
    for target in OUTSIDE:
        (inside / "link.mp4").unlink(missing_ok=True)
        (inside / "link.mp4").symlink_to(tmp_path / target)
        name = {
            "absolute": str(tmp_path / target),
            "up": f"../{target}",
            "sibling": str(tmp_path / "root-of-another" / "b.mp4"),
            "link": "link.mp4",
            "link to folder": f"up/{target}",
        }[spelling]
        with pytest.raises(MediaError) as error:
            Roots(inside).resolve(name)
        said.append(re.sub(r"^media '[^']*'", "media NAME", str(error.value)))  # a long one is cut
    assert said[0] == said[1]
    assert "is not in " in said[0]
    assert str(inside) in said[0]
    assert "\n" not in said[0]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "shots/../a.mp4",
        "nul\0",
        "x" * 300,
        "x" * 5000,
        "/",
        "/dev/zero",
        "~/x",
        "\ud800",
        "a.mp4/x",
    ],
)
def test_no_honest_name(inside: Path, name: str) -> None:
    with pytest.raises(MediaError, match="is not in ") as error:
        Roots(inside).resolve(name)
    assert len(str(error.value)) < 200 + len(str(inside))
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "name",
    [
        "file:a.mp4",
        "file:///etc/passwd",
        "FILE:///x",
        "http://x/a.mp4",
        "ftp://x/a",
        "data:video/mp4;base64,",
    ],
)
def test_addresses_are_refused(inside: Path, name: str) -> None:
    with pytest.raises(MediaError, match="addresses aren't opened"):
        Roots(inside).resolve(name)


def test_only_http_is_fetched_where_addresses_are_allowed(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("r4agent.media.roots.fetch", lambda url: asked.append(url) or inside / "a.mp4")
    roots = Roots(inside, urls=True)
    assert roots.resolve("https://example.org/a.mp4") == inside / "a.mp4"
    for name in ("file:///etc/passwd", "ftp://example.org/a.mp4", "data:,x"):
        with pytest.raises(MediaError, match="addresses aren't opened"):
            roots.resolve(name)
    assert asked == ["https://example.org/a.mp4"]


def test_devices_and_pipes_are_refused(inside: Path) -> None:
    os.mkfifo(inside / "pipe.mp4")
    with pytest.raises(MediaError, match="neither a file nor a folder"):
        Roots(inside).resolve("pipe.mp4")
    with pytest.raises(MediaError, match="neither a file nor a folder"):
        Roots("/dev").resolve("zero")


@pytest.mark.parametrize("target", ["secret.png", "gone.png"])
def test_a_folder_with_a_picture_from_elsewhere_is_refused(inside: Path, tmp_path: Path, target: str) -> None:
    (inside / "shots" / "2.png").symlink_to(tmp_path / target)
    with pytest.raises(MediaError, match=r"its picture '2.png' is a link that leads out"):
        Roots(inside).resolve("shots")


def test_a_root_that_is_no_folder_is_told_to_the_developer(inside: Path) -> None:
    for path in (inside / "a.mp4", inside / "gone", "nul\0"):
        with pytest.raises(UsageError, match="is no folder"):
            Roots([path])


def test_narrowing_never_widens(inside: Path, tmp_path: Path) -> None:
    roots = Roots(inside)
    assert roots.narrowed([tmp_path]).paths == (inside,)
    assert roots.narrowed([inside / "shots"]).paths == (inside / "shots",)
    nothing = roots.narrowed([tmp_path / "root-of-another", tmp_path / "gone"])
    assert nothing.paths == ()
    with pytest.raises(MediaError, match="none is allowed"):
        nothing.resolve("a.mp4")


def test_strings_and_roots_are_taken(inside: Path) -> None:
    roots = Roots(str(inside), urls=True)
    assert Roots.of(roots) is roots
    assert Roots.of([str(inside)]) == Roots(inside)


PARTS = st.sampled_from(["..", ".", "", "a.mp4", "shots", "1.png", "up", "link.mp4", "/", "\0", "secret.mp4"])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(PARTS, max_size=6), absolute=st.booleans())
def test_whatever_is_named_the_path_lies_in_a_root(
    inside: Path, tmp_path: Path, parts: list[str], absolute: bool
) -> None:
    if not (inside / "up").is_symlink():
        (inside / "up").symlink_to(tmp_path)
        (inside / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    name = "/".join([str(inside)] * absolute + parts)
    try:
        real = Roots(inside).resolve(name)
    except MediaError:
        return
    assert real == Path(os.path.realpath(real))
    assert real.is_relative_to(inside)


def test_what_was_fetched_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool fetches, and its graph, which may have the same roots, is given the file."""
    monkeypatch.setenv("R4_HOME", str(tmp_path / "home"))
    fetched = tmp_path / "home" / "fetched" / "0123.mp4"
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(b"x")
    root = tmp_path / "root"
    root.mkdir()
    assert Roots(root, urls=True).resolve(fetched) == fetched
    with pytest.raises(MediaError):
        Roots(root).resolve(fetched)
