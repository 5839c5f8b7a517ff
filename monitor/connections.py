"""Limit what an unidentified client may hold of a server: time, bytes, connections.

uvicorn waits for ever for the rest of a head or a body, and for a reader that does not read. Its
protocol is kept, and only watched: it notes when a wait began, and once a second :class:`Door` ends
what takes too long, so a request costs only a few assignments more.
"""

from __future__ import annotations

import ipaddress
import re
import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from monitor.patience import ConnectionSettings

_LOG: Final = structlog.get_logger(__name__)

LARGEST_HEAD: Final = 64 * 1024
"""Bytes of a request's line and headers, and again of its trailers."""

FRAMING: Final = 16
"""The most bytes of a chunked body, as a multiple of its content."""

RESERVED: Final = 16
"""Connections beyond ``most`` that are reserved for health checks."""

HURRY: Final = 2.0
"""Seconds that such a connection has for its head."""

LEFT_OVER: Final = 10.0
"""Seconds for which the rest of a body is still read after its request was answered."""

TURN: Final = 1.0
"""Seconds between two checks of all connections."""

HEALTH: Final = frozenset({"/livez", "/readyz"})

_MOST_FILES: Final = 65_536
_AUTHORITY: Final = re.compile(rb"[A-Za-z0-9._\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


class AwaitedPart(Enum):
    """The part of a request that the server waits for."""

    HEAD = auto()
    BODY = auto()
    NOTHING = auto()


def is_late(
    settings: ConnectionSettings, part: AwaitedPart, seconds: float, *, size: int, hurried: bool
) -> bool:
    """True if the rest of a head, or of a body of ``size`` bytes so far, takes too long.

    >>> from datetime import timedelta
    >>> slow = ConnectionSettings(body=timedelta(seconds=20), pace=1000)
    >>> [is_late(slow, AwaitedPart.BODY, at, size=5000, hurried=False) for at in (25.0, 25.1)]
    [False, True]
    """
    match part:
        case AwaitedPart.HEAD:
            return seconds > (HURRY if hurried else settings.head.total_seconds())
        case AwaitedPart.BODY:
            return seconds > settings.body.total_seconds() + size / settings.pace
        case AwaitedPart.NOTHING:
            return False


def allow_files() -> int:
    """Raise this process's limit of open files to its maximum; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _MOST_FILES if soft == resource.RLIM_INFINITY else soft


def client_network(address: str) -> str:
    """Return the range of addresses that one client controls: for IPv6 a network of 64 bits.

    >>> [client_network(one) for one in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8:1:2:3::4")]
    ['192.0.2.7', '192.0.2.7', '2001:db8:1:2::/64']
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found.packed, 64), strict=False))


def fitted(
    settings: ConnectionSettings, *, files: int, own: int, files_each: int = 1
) -> ConnectionSettings:
    """Lower ``most`` to the number of connections that fit into the open files.

    Parameters
    ----------
    own
        Files that the process needs beside its connections.
    files_each
        Files that one connection may need: two if each opens another one in turn.
    """
    room = max(8, (files - own - RESERVED) // files_each)
    if room < settings.most:
        _LOG.warning("connections_limited", most=room, wanted=settings.most, files=files)
    return replace(settings, most=min(settings.most, room))


class Door:
    """Admits and ends connections; one for each server, in the loop that serves.

    ``trusted`` are networks of proxies: each stands for many clients, so it has no limit of its
    own.
    """

    def __init__(self, settings: ConnectionSettings, *, trusted: Sequence[str] = ()) -> None:
        self.settings = settings
        self.turned_away: Counter[str] = Counter()
        """Connections that were refused or ended, by reason."""
        self._trusted = [ipaddress.ip_network(one) for one in trusted]
        self._inside: set[BoundedProtocol] = set()
        self._waiting: list[BoundedProtocol] = []
        self._of_network: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._turning = False

    def protocol(self) -> type[HttpToolsProtocol]:
        """Return the class for ``http`` in uvicorn's ``Config``."""
        return type("ProtocolOfDoor", (BoundedProtocol,), {"door": self})

    def enter(self, one: BoundedProtocol) -> str | None:
        """Count a connection in, or return why it may not stay."""
        if self._of_network[one.network] >= self.settings.per_address and not self._is_trusted(
            one.address
        ):
            return "address"
        if len(self._inside) >= self.settings.most + RESERVED:
            if not self._waiting:
                return "full"
            longest = self._waiting[0]  # no health check: those ask at once
            longest.end("full")
            self.leave(longest)
        one.hurried = len(self._inside) >= self.settings.most
        if one.hurried:
            self._waiting.append(one)
        self._inside.add(one)
        self._of_network[one.network] += 1
        if not self._turning:
            self._turning = True
            one.loop.call_later(TURN, self._turn, one.loop)
        return None

    def asked(self, one: BoundedProtocol) -> None:
        """Note that a request's head has arrived."""
        if one in self._waiting:
            self._waiting.remove(one)

    def leave(self, one: BoundedProtocol) -> None:
        """Count a connection out."""
        if one.hurried:
            self.asked(one)
        if one in self._inside:
            self._inside.discard(one)
            self._of_network[one.network] -= 1
            if not self._of_network[one.network]:
                del self._of_network[one.network]

    def _is_trusted(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)

    def _turn(self, loop: Any) -> None:
        now = loop.time()
        for one in tuple(self._inside):
            one.look(now)
        new = self.turned_away - self._told
        if new:
            _LOG.warning("connections_ended", **new)
            self._told = Counter(self.turned_away)
        self._turning = bool(self._inside)
        if self._turning:
            loop.call_later(TURN, self._turn, loop)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, extended to note since when it waits, and for what."""

    door: Door
    hurried = False
    """True if it came when all places were taken: it may make one health check."""
    address = network = "local"
    _part = AwaitedPart.HEAD
    _since = 0.0
    _size = 0
    """Bytes of the body received so far."""
    _bytes = 0
    """Bytes received since it waits for this part, or slightly more."""
    _stuck_since: float | None = None
    _closing_since: float | None = None

    def connection_made(self, transport: Any) -> None:
        """Admit the connection, or refuse it."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else "local"
        self.network = client_network(self.address)
        self._since = self.loop.time()
        refused = self.door.enter(self)
        if refused is not None:
            self.end(refused, b"503 Service Unavailable")
        elif self.hurried:
            self.app = _only_health(self.app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the connection's place."""
        self.door.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive bytes; the first ones after a request begin the next one's head."""
        if self.transport.is_closing():
            return
        if self._part is AwaitedPart.NOTHING:
            self._part, self._since = AwaitedPart.HEAD, self.loop.time()
            self._size = self._bytes = 0
        super().data_received(data)
        if self._part is not AwaitedPart.NOTHING:
            self._bytes += len(data)
            if self._bytes > LARGEST_HEAD + FRAMING * self._size:
                self.end("large head", b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        """Begin the request, unless its target or host is not ours to answer."""
        _check_head(self.url, self.headers, self.parser.get_http_version())
        self._part, self._since, self._size, self._bytes = AwaitedPart.BODY, self.loop.time(), 0, 0
        super().on_headers_complete()
        self.headers = []  # trailers are collected there, and none is trusted
        if self.hurried:
            self.door.asked(self)
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Count the body's bytes."""
        self._size += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop waiting for the client."""
        self._part = AwaitedPart.NOTHING
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Read the unwanted rest of a body, but only for a short time."""
        self._since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note since when the client does not read."""
        self._stuck_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        self._stuck_since = None
        super().resume_writing()

    def look(self, now: float) -> None:
        """End the connection if its client takes too long."""
        settings = self.door.settings
        if self.transport.is_closing():
            self._closing(now)
            return
        if self._stuck_since is not None:
            if now - self._stuck_since > settings.reading.total_seconds():
                self.end("reading")
            return
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        answered = cycle is None or cycle.response_complete
        if self.flow.read_paused or (self._part is AwaitedPart.HEAD and not answered):
            self._since = now  # it is our turn, not the client's
        elif self._part is AwaitedPart.BODY and answered:
            if now - self._since > LEFT_OVER:
                self.end("body")
        elif is_late(
            settings, self._part, now - self._since, size=self._size, hurried=self.hurried
        ):
            speechless = not answered and cycle is not None and cycle.response_started
            said = None if speechless else b"408 Request Timeout"
            self.end(self._part.name.lower(), said)

    def _closing(self, now: float) -> None:
        """End a closed connection whose client does not take the last bytes."""
        if self._closing_since is None:
            self._closing_since = now
        if now - self._closing_since > self.door.settings.reading.total_seconds():
            self.end("reading")

    def end(self, why: str, said: bytes | None = None) -> None:
        """Close the connection, with an error answer unless an answer has begun."""
        self.door.turned_away[why] += 1
        if said is None:
            self.transport.abort()
            return
        self.transport.write(
            b"HTTP/1.1 " + said + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()


def _check_head(target: bytes, headers: Sequence[tuple[bytes, bytes]], version: str) -> None:
    """Refuse requests that only an open proxy would accept; raising makes uvicorn's 400.

    An absolute target names an authority beside ``Host``; ``*`` and a bare authority are not paths.
    Two hosts, or a host with more than a name and a port, mean different servers to different
    readers.
    """
    if not target.startswith(b"/"):
        raise ValueError("the target is no path")
    hosts, size = [], len(target)
    for name, value in headers:
        size += len(name) + len(value) + 4
        if name == b"host":
            hosts.append(value)
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise ValueError("a request has one host")
    if hosts and not _AUTHORITY.fullmatch(hosts[0]):
        raise ValueError("the host is none")
    if size > LARGEST_HEAD:
        raise ValueError("the head is too large")  # and came at once


def _only_health(app: ASGIApp) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in HEALTH:
            await app(scope, receive, send)
            return
        headers = [(b"content-length", b"0"), (b"retry-after", b"5")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return answered
