"""Fetching media from an address that somebody else named.

Promises: http and https only; every hop of a redirect is checked anew; a name that stands for any address
that is not public is refused, and the connection goes to the very address that was checked, so that no
second look-up can lead elsewhere. Bytes and seconds are capped while the body arrives. A file appears whole,
under the digest of its content.
Does not: use proxies, cookies or credentials; run scripts; follow playlists (nor does the decoder). What is
public for this machine's network but not for others (its own public address, say) is the network's to guard.
"""

import contextlib
import hashlib
import http.client
import ipaddress
import os
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from r4agent.errors import MediaError, RunError, one_line
from r4agent.media.store import home

MOST_BYTES = 2**30  # of one file
MOST_STORED = 20 * 2**30  # of all that was fetched
MOST_SECONDS = 300.0  # of one fetch, all hops together
HOPS = 5
BLOCK = 256 * 1024
LONGEST = 2048  # characters of an address

_AS_IT_IS = "/%:@!$&'()*+,;=~?"  # what stays in a path and a query; the rest is written as %XX
NAT64 = ipaddress.ip_network("64:ff9b::/96")
UNICAST = ipaddress.ip_network("2000::/3")  # all of the public IPv6 internet
SPECIAL = [  # protocols, 6to4, Teredo, documentation: `is_global` of Python 3.11 takes some for public
    ipaddress.ip_network(net)
    for net in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")
]

LookUp = Callable[[str, int], list[str]]
"""The addresses of a host, all of which may be connected to; MediaError if one may not."""


def fetch(
    url: str,
    *,
    folder: Path | None = None,
    most_bytes: int = MOST_BYTES,
    most_seconds: float = MOST_SECONDS,
    look_up: "LookUp | None" = None,
) -> Path:
    """The file that an address leads to, in `folder` (default: `home()/fetched`). Raises MediaError for
    what is refused, too large, too slow or not there."""
    folder = folder or home() / "fetched"
    deadline = time.monotonic() + most_seconds
    with contextlib.ExitStack() as stack:
        try:
            for _ in range(HOPS + 1):
                target = _target(url)
                response = stack.enter_context(_get(target, deadline, look_up or public_addresses))
                if response.status in (301, 302, 303, 307, 308):
                    url = urljoin(target.geturl(), response.getheader("Location") or "")
                elif response.status == 200:
                    return _store(response, url, folder, most_bytes, deadline)
                else:
                    raise MediaError(f"{_short(url)}: the server says {response.status}; check the address")
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() >= deadline:
                why = f"took more than {most_seconds:g} s; download it yourself"
            else:
                why = f"can't be fetched ({one_line(error, 120)}); check the address"
            raise MediaError(f"{_short(url)}: {why}") from error
    raise MediaError(f"{_short(url)}: more than {HOPS} redirects; name the file itself")


def public_addresses(host: str, port: int) -> list[str]:
    """The host's addresses. MediaError if any is not public: a name that stands for both is no accident."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not is_public(address):
            raise MediaError(f"{_short(host)}: is no public address; only those are fetched from")
    return addresses


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; one that carries an IPv4 one is judged by that."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        elif ip in NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        elif ip not in UNICAST:
            return False
    special = ip.is_multicast or ip.is_reserved or any(ip in net for net in SPECIAL)
    return ip.is_global and not special


def _target(url: str) -> SplitResult:
    """The address in parts, if it is one that may be fetched."""
    if len(url) > LONGEST or any(c.isspace() or not c.isprintable() or c == "\\" for c in url):
        raise MediaError(f"{_short(url)}: is no address; give one of printable characters, no spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise MediaError(f"{_short(url)}: is no address ({one_line(error, 80)})") from error
    if parts.scheme not in ("http", "https"):
        raise MediaError(f"{_short(url)}: only http and https are fetched")
    if "@" in parts.netloc:
        raise MediaError(f"{_short(url)}: holds a user name; give an address without one")
    if not host:
        raise MediaError(f"{_short(url)}: names no host")
    netloc = f"[{host}]" if ":" in host else host
    return parts._replace(
        netloc=netloc if port is None else f"{netloc}:{port}",
        path=quote(parts.path or "/", safe=_AS_IT_IS),
        query=quote(parts.query, safe=_AS_IT_IS),
        fragment="",
    )


@contextmanager
def _get(target: SplitResult, deadline: float, look_up: LookUp) -> Iterator[http.client.HTTPResponse]:
    """The response to a GET, its body not yet read. At the deadline the connection is cut, whatever it waits
    for: a header that trickles in byte by byte is never too slow for a socket's own timeout."""
    host, secure = str(target.hostname), target.scheme == "https"
    port = target.port or (443 if secure else 80)
    line = _connected(look_up(host, port), port, deadline)
    if secure:
        line = ssl.create_default_context().wrap_socket(
            line, server_hostname=host, do_handshake_on_connect=False
        )
    cut = threading.Timer(deadline - time.monotonic(), _cut, [line])
    cut.daemon = True
    cut.start()
    try:
        if isinstance(line, ssl.SSLSocket):
            line.do_handshake()
        connection = http.client.HTTPConnection(host, port)
        connection.sock = line
        path = target._replace(scheme="", netloc="").geturl()
        connection.putrequest("GET", path, skip_host=True)
        for name, value in (("Host", target.netloc), ("User-Agent", "r4agent"), ("Connection", "close")):
            connection.putheader(name, value)
        connection.endheaders()
        with connection.getresponse() as response:
            yield response
    finally:
        cut.cancel()
        line.close()


def _connected(addresses: list[str], port: int, deadline: float) -> socket.socket:
    """A socket to the first of the addresses that takes one."""
    last: OSError = OSError("the name stands for no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=max(deadline - time.monotonic(), 0.001))
        except OSError as error:
            last = error
    raise last


def _cut(line: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may have ended by itself
        socket.socket.shutdown(line, socket.SHUT_RDWR)  # an SSLSocket's own would go on in plain text


def _store(
    response: http.client.HTTPResponse, url: str, folder: Path, most_bytes: int, deadline: float
) -> Path:
    """The body as a file named by its digest, written beside and renamed."""
    part = folder / f".{os.getpid()}-{secrets.token_hex(8)}"
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if _stored(folder) + most_bytes > MOST_STORED:
            raise RunError(f"{folder} holds all that may be fetched; delete old files there")
        out = part.open("xb")
    digest = hashlib.sha256()
    try:
        with out:
            for block in _blocks(response, url, most_bytes):
                digest.update(block)
                with _writing(folder):
                    out.write(block)
        if time.monotonic() >= deadline:  # cut, which looks like an end where no length was announced
            raise TimeoutError
        path = folder / digest.hexdigest()
        with _writing(folder):
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _blocks(response: http.client.HTTPResponse, url: str, most_bytes: int) -> Iterator[bytes]:
    """The body, up to `most_bytes`; MediaError if there is more, or less than was announced."""
    left = most_bytes
    if (response.length or 0) > left:
        raise MediaError(f"{_short(url)}: {response.length} bytes, more than the {most_bytes} allowed")
    while block := response.read(min(BLOCK, left + 1)):
        left -= len(block)
        if left < 0:
            raise MediaError(f"{_short(url)}: more than the {most_bytes} bytes allowed")
        yield block
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)


def _stored(folder: Path) -> int:
    """Bytes in the folder; what another fetch renames meanwhile is passed over."""
    total = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Around what writes: its failure is this machine's, not the address's."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"can't write to {folder} ({error.strerror}); free some space, or set R4_HOME elsewhere"
        ) from error


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:60]}…{text[-19:]}")
