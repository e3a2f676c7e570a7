"""Fetching: which addresses are public, and what a hostile server can do (nothing, in bounded time).

The server of these tests is on this machine, so they hand `fetch` a look-up that allows it; all
else is as in use.
"""

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

import pytest

from r4agent import MediaError
from r4agent.media import fetch as module
from r4agent.media.fetch import fetch, is_public, public_addresses

BODY = bytes(range(256)) * 5000


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
        *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.0.8", "198.18.0.1", "192.0.2.1"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1"),
        *("2002:7f00:1::", "2001:0:7f00:1::", "3fff::1", "100::1"),
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest/meta-data/", "http://0.0.0.0/"),
        *("http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://017700000001/", "http://127.1/"),
        *("http://[::ffff:127.0.0.1]/", "http://[fe80::1]/", "http://10.0.0.1:8080/x", "https://192.168.0.1/"),
        *("http://localhost/", "http://127。0。0。1/", "http://１２７.0.0.1/"),
    ],
)  # fmt: skip
def test_private_addresses_are_refused_however_they_are_written(url: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="is no public address"):
        fetch(url, folder=tmp_path)


@pytest.mark.parametrize(
    "answers",
    [["10.0.0.7"], ["8.8.8.8", "127.0.0.1"], ["2606:4700::1111", "fd00::1"]],
)
def test_a_name_that_stands_for_a_private_address_is_refused(
    answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in answers]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
    with pytest.raises(MediaError, match=r"'rebind\.example': is no public address"):
        public_addresses("rebind.example", 80)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://example.org/x", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("http://user:secret@example.org/", "holds a user name"),
        ("http://", "names no host"),
        ("http://exa mple.org/", "is no address"),
        ("http://example.org\\@127.0.0.1/", "is no address"),
        ("http://example.org/\r\nHost: x", "is no address"),
        ("http://example.org:99999/", "is no address"),
        ("http://[::1/", "is no address"),
        ("http://a..b/", "is no address"),
        ("http://example.org/" + "x" * 3000, "is no address"),
    ],
)
def test_what_is_no_address(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=message) as error:
        fetch(url, folder=tmp_path)
    assert len(str(error.value)) < 250
    assert "\n" not in str(error.value)


# -- a server of this machine ------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """Paths say what to do: /file, /status/404, /to?URL, /slow, /chunked, /short, /trickle."""

    asked: list[tuple[str, str | None]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        kind, _, rest = self.path[1:].partition("?")
        match kind.split("/"):
            case ["to"]:
                self.send_response(302)
                self.send_header("Location", unquote(rest))
                self.send_header("Content-Length", "0")
                self.end_headers()
            case ["status", code]:
                self.send_error(int(code))
            case ["endless"]:
                self._chunks(10**9)
            case ["chunked"]:
                self._chunks(10)
            case ["short"]:
                self._head(len(BODY) + 1)
                self.wfile.write(BODY)
                self.close_connection = True
            case ["slow"]:
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                self._drip(b"x" * 1000)
            case ["trickle"]:
                self._drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000)
            case _:
                self._head(len(BODY))
                self.wfile.write(BODY)

    def _head(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _chunks(self, count: int) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for _ in range(count):
                self.wfile.write(b"10000\r\n" + b"z" * 0x10000 + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def _drip(self, data: bytes) -> None:
        try:
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


def serving(context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
    handler = type("Asked", (Handler,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_address[1], handler.asked  # type: ignore[misc]
    server.shutdown()
    server.server_close()


@pytest.fixture
def server() -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
    yield from serving()


def here(host: str, port: int) -> list[str]:
    """A look-up for which one name of ours is this machine; any other is asked as in use."""
    return ["127.0.0.1"] if host == "media.example" else public_addresses(host, port)


@pytest.fixture
def get(server: tuple[int, object], tmp_path: Path) -> Callable[..., Path]:
    def get(path: str, **limits: float) -> Path:
        url = f"http://media.example:{server[0]}{path}"
        return fetch(url, folder=tmp_path / "fetched", look_up=here, **limits)  # type: ignore[arg-type]

    return get


def test_a_file_is_kept_under_its_digest(get: Callable[..., Path], server: tuple[int, list[object]]) -> None:
    path = get("/file/ü?a=b#part")
    assert path.name == sha256(BODY).hexdigest()
    assert path.read_bytes() == BODY
    assert server[1] == [("/file/%C3%BC?a=b", f"media.example:{server[0]}")]  # the host as named
    assert get("/chunked").stat().st_size == 10 * 0x10000
    assert get("/file") == path
    assert len(list(path.parent.iterdir())) == 2


def test_redirects_are_followed_a_few_times(
    get: Callable[..., Path], server: tuple[int, list[object]]
) -> None:
    assert get("/to?/to?/file").read_bytes() == BODY
    with pytest.raises(MediaError, match="more than 5 redirects"):
        get("/to?/to?/to?/to?/to?/to?/file")
    with pytest.raises(MediaError, match="more than 5 redirects"):
        get("/to?")
    assert get(f"/to?http://media.example:{server[0]}/file").read_bytes() == BODY


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("http://127.0.0.1/x", "is no public address"),
        ("http://169.254.169.254/latest/meta-data/", "is no public address"),
        ("http://[::1]/", "is no public address"),
        ("//localhost/", "is no public address"),
        ("file:///etc/passwd", "only http and https"),
        ("ftp://media.example/", "only http and https"),
    ],
)
def test_a_redirect_is_checked_like_the_first_address(
    get: Callable[..., Path], tmp_path: Path, target: str, message: str
) -> None:
    with pytest.raises(MediaError, match=message):
        get(f"/to?{target}")
    assert not (tmp_path / "fetched").exists()


def test_the_connection_goes_to_the_address_that_was_checked(
    get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No second look-up, which might answer otherwise."""
    real = socket.getaddrinfo

    def numeric(host: str, *rest: object, **more: object) -> object:
        assert host == "127.0.0.1", f"{host} was looked up again"
        return real(host, *rest, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(socket, "getaddrinfo", numeric)
    assert get("/file").read_bytes() == BODY


@pytest.mark.parametrize("path", ["/file", "/chunked", "/endless"])
def test_bytes_are_capped_and_nothing_is_left(get: Callable[..., Path], tmp_path: Path, path: str) -> None:
    with pytest.raises(MediaError, match=r"the 100000 (bytes )?allowed"):
        get(path, most_bytes=100_000)
    assert list((tmp_path / "fetched").iterdir()) == []


@pytest.mark.parametrize("path", ["/slow", "/trickle"])
def test_seconds_are_capped_in_body_and_header(get: Callable[..., Path], tmp_path: Path, path: str) -> None:
    started = time.monotonic()
    with pytest.raises(MediaError, match=r"took more than 0\.5 s"):
        get(path, most_seconds=0.5)
    assert time.monotonic() - started < 10
    assert not (tmp_path / "fetched").exists() or list((tmp_path / "fetched").iterdir()) == []


def test_a_body_cut_short_is_no_file(get: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="can't be fetched"):
        get("/short")
    assert list((tmp_path / "fetched").iterdir()) == []


def test_the_servers_refusal_is_told(get: Callable[..., Path]) -> None:
    with pytest.raises(MediaError, match="the server says 404"):
        get("/status/404")


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(MediaError, match="can't be fetched"):
        fetch(f"http://media.example:{port}/", folder=tmp_path, look_up=here)


def test_the_folder_has_a_cap(
    get: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_STORED", 2 * len(BODY))
    get("/file", most_bytes=len(BODY))
    with pytest.raises(module.RunError, match="holds all that may be fetched"):
        get("/chunked", most_bytes=len(BODY) + 1)


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes a certificate")
def test_tls_is_asked_for_the_name_not_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x",
         "-addext", "subjectAltName=DNS:media.example", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    server = serving(context)
    port, _ = next(server)
    url, options = f"https://media.example:{port}/file", {"folder": tmp_path / "fetched", "look_up": here}
    with pytest.raises(MediaError, match="certificate"):
        fetch(url, **options)  # type: ignore[arg-type]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch(url, **options).read_bytes() == BODY  # type: ignore[arg-type]
    assert names == ["media.example"] * 2
    with pytest.raises(MediaError, match="certificate"):
        fetch(url.replace("media", "other"), **(options | {"look_up": lambda h, p: ["127.0.0.1"]}))  # type: ignore[arg-type]
    next(server, None)
