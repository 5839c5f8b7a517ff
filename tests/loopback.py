"""A real server on the loopback interface that misbehaves on request."""

import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

LOOPBACK = ("127.0.0.0/8",)

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: it trusts nobody, so that none reads the system's authorities."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request as it came in; header names in lower case, ``at`` on the monotonic clock."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)


Behaviour = Callable[[socket.socket], None]


def answer(
    status: int, *, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Behaviour:
    fields = {"content-length": str(len(body)), "connection": "close"} | dict(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    def behave(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {status} x\r\n{head}\r\n".encode() + body)

    return behave


def for_ever(head: bytes, piece: bytes, *, pause: float) -> Behaviour:
    """Send ``head``, then ``piece`` again and again until the client has gone."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(head)
        gone = threading.Event()
        while not gone.wait(pause):
            connection.sendall(piece)

    return behave


def raw(reply: bytes) -> Behaviour:
    return lambda connection: connection.sendall(reply)


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def drip_body() -> Behaviour:
    return for_ever(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", b"x", pause=0.02)


def drip_head() -> Behaviour:
    return for_ever(b"HTTP/1.1 200 OK\r\nx-slow: ", b"x", pause=0.02)


@dataclass
class Receiver:
    """Answers each request with the next behaviour, the last one for ever.

    ``connections`` counts accepted connections, whatever came over them.
    """

    behaviours: Iterable[Behaviour] = field(default_factory=lambda: [answer(204)])
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    speaks_first: bool = False
    """Behave at once, as a server of mail does, and read nothing."""
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)
    """Set once a client has gone before its answer was complete."""

    def __enter__(self) -> Self:
        script = list(self.behaviours)
        self._script: Iterator[Behaviour] = itertools.chain(script, itertools.repeat(script[-1]))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((self.host, self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}/hook"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                behave = next(self._script)
            threading.Thread(target=self._serve, args=(connection, behave), daemon=True).start()

    def _serve(self, connection: socket.socket, behave: Behaviour) -> None:
        self._open.add(connection)
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(connection.close)
                stream = connection
                if self.tls:
                    stream = stack.enter_context(self.tls.wrap_socket(connection, server_side=True))
                if self.speaks_first:
                    behave(stream)
                    return
                seen = _read(stream)
                if seen:
                    with self._lock:
                        self.seen.append(seen)
                    behave(stream)
        except OSError:
            self.hung_up.set()
        finally:
            self._open.discard(connection)


def _read(stream: socket.socket) -> Seen | None:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = stream.recv(65_536)
        if not piece:
            return None
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    while len(body) < int(headers.get("content-length", "0")):
        body += stream.recv(65_536)
    return Seen(method=method, path=path, headers=headers, body=body)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
