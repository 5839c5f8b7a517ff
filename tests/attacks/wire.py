"""Raw connections, as attackers make them: nothing here helps to write a request correctly."""

import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

PATIENCE = 20.0


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


@contextmanager
def connected(url: str, count: int = 1, source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """So many connections, all closed at the end."""
    made = [
        socket.create_connection(address(url), timeout=PATIENCE, source_address=(source, 0))
        for _ in range(count)
    ]
    try:
        yield made
    finally:
        for one in made:
            one.close()


def sent(url: str, *pieces: bytes, source: str = "127.0.0.1") -> bytes:
    """Send pieces and give all that comes back until the other side ends, or says no more."""
    with connected(url, source=source) as [one]:
        for piece in pieces:
            with suppress(OSError):
                one.sendall(piece)
        return heard(one)


def heard(one: socket.socket, patience: float = PATIENCE) -> bytes:
    """Read until the end, or until a whole answer with a length is there."""
    got = b""
    deadline = time.monotonic() + patience
    while not _is_whole(got):
        one.settimeout(max(0.05, deadline - time.monotonic()))
        try:
            piece = one.recv(65_536)
        except OSError:
            break
        if not piece:
            break
        got += piece
    return got


def status(answer: bytes) -> int:
    """Of an answer as it came; 0: there was none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def ended(connections: Sequence[socket.socket], within: float) -> list[float]:
    """Seconds after which each was ended by the other side; those that were not are left out."""
    began = time.monotonic()
    left = set(connections)
    seconds = []
    while left and time.monotonic() - began < within:
        ready, _, _ = select.select(list(left), [], [], 0.1)
        for one in ready:
            try:
                said = one.recv(65_536)
            except OSError:
                said = b""
            if not said:
                left.discard(one)
                seconds.append(time.monotonic() - began)
    return seconds


def _is_whole(got: bytes) -> bool:
    head, ends, body = got.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return bool(ends) and len(body) >= int(value)
    return False
