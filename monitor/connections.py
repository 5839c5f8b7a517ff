"""What one client may hold of a server before anybody knows who it is: time, bytes, connections.

uvicorn waits for ever for the rest of a head, for the rest of a body, and for a reader that
does not read. Its protocol is kept, and only watched: it notes when something began, and once
a second :class:`Door` ends what takes too long, so a request costs a few assignments more.
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
"""How many times its bytes a body may have with what its chunks are framed in."""

RESERVED: Final = 16
"""Connections beyond ``most`` that are kept for questions about health."""

HURRY: Final = 2.0
"""Seconds that such a connection has for its head."""

LEFT_OVER: Final = 10.0
"""Seconds for which the rest of a body is still read once its request has been answered."""

TURN: Final = 1.0
"""Seconds between two looks at all connections."""

HEALTH: Final = frozenset({"/livez", "/readyz"})

_MOST_FILES: Final = 65_536
_AUTHORITY: Final = re.compile(rb"[A-Za-z0-9._\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


class Part(Enum):
    """What of a request is waited for."""

    HEAD = auto()
    BODY = auto()
    NOTHING = auto()


def is_late(
    settings: ConnectionSettings, part: Part, seconds: float, *, size: int, hurried: bool
) -> bool:
    """Whether the rest of a head, or of a body of which ``size`` bytes came, takes too long.

    >>> from datetime import timedelta
    >>> slow = ConnectionSettings(body=timedelta(seconds=20), pace=1000)
    >>> [is_late(slow, Part.BODY, at, size=5000, hurried=False) for at in (25.0, 25.1)]
    [False, True]
    """
    match part:
        case Part.HEAD:
            return seconds > (HURRY if hurried else settings.head.total_seconds())
        case Part.BODY:
            return seconds > settings.body.total_seconds() + size / settings.pace
        case Part.NOTHING:
            return False


def allow_files() -> int:
    """Let this process open as many files as it may; give that number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _MOST_FILES if soft == resource.RLIM_INFINITY else soft


def client_network(address: str) -> str:
    """Give what one client may choose its addresses from: for IPv6 a network of 64 bits.

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
    """Lower ``most`` to what so many files hold.

    Parameters
    ----------
    own
        Files that the process needs beside its connections.
    files_each
        Files that one connection may take: two where each asks somebody else in turn.
    """
    room = max(8, (files - own - RESERVED) // files_each)
    if room < settings.most:
        _LOG.warning("connections_limited", most=room, wanted=settings.most, files=files)
    return replace(settings, most=min(settings.most, room))


class Door:
    """Who may come in, and who has to go; one for each server, in the loop that serves.

    ``trusted`` are networks of proxies: they stand for many, and have no limit of their own.
    """

    def __init__(self, settings: ConnectionSettings, *, trusted: Sequence[str] = ()) -> None:
        self.settings = settings
        self.turned_away: Counter[str] = Counter()
        """Connections that were refused or ended here, by reason."""
        self._trusted = [ipaddress.ip_network(one) for one in trusted]
        self._inside: set[BoundedProtocol] = set()
        self._waiting: list[BoundedProtocol] = []
        self._of_network: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._turning = False

    def protocol(self) -> type[HttpToolsProtocol]:
        """Give what uvicorn's ``Config`` takes as ``http``."""
        return type("ProtocolOfDoor", (BoundedProtocol,), {"door": self})

    def enter(self, one: BoundedProtocol) -> str | None:
        """Count a connection in, or say why it may not stay."""
        if self._of_network[one.network] >= self.settings.per_address and not self._is_trusted(
            one.address
        ):
            return "address"
        if len(self._inside) >= self.settings.most + RESERVED:
            if not self._waiting:
                return "full"
            longest = self._waiting[0]  # no probe: those ask at once
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
        """Note that the head of a request is there."""
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
    """uvicorn's protocol, which notes since when it waits for what."""

    door: Door
    hurried = False
    """Whether it came when all places were taken: it may ask about health, once."""
    address = network = "local"
    _part = Part.HEAD
    _since = 0.0
    _size = 0
    """Bytes of the body that came."""
    _bytes = 0
    """Bytes that came since it waits for this part, or a few more."""
    _stuck_since: float | None = None
    _closing_since: float | None = None

    def connection_made(self, transport: Any) -> None:
        """Let it in, or send it away."""
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
        """Give its place to another."""
        self.door.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first ones after a request begin the next one's head."""
        if self.transport.is_closing():
            return
        if self._part is Part.NOTHING:
            self._part, self._since = Part.HEAD, self.loop.time()
            self._size = self._bytes = 0
        super().data_received(data)
        if self._part is not Part.NOTHING:
            self._bytes += len(data)
            if self._bytes > LARGEST_HEAD + FRAMING * self._size:
                self.end("large head", b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        """Begin the request, unless its target or host is none of ours to answer for."""
        _check_head(self.url, self.headers, self.parser.get_http_version())
        self._part, self._since, self._size, self._bytes = Part.BODY, self.loop.time(), 0, 0
        super().on_headers_complete()
        self.headers = []  # trailers go there: of these nothing is believed
        if self.hurried:
            self.door.asked(self)
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Count what comes."""
        self._size += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for nothing more."""
        self._part = Part.NOTHING
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Read what may be left of a body that nobody wants for a little while only."""
        self._since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note since when the client takes nothing."""
        self._stuck_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It takes something again."""
        self._stuck_since = None
        super().resume_writing()

    def look(self, now: float) -> None:
        """End the connection where its client takes too long."""
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
        if self.flow.read_paused or (self._part is Part.HEAD and not answered):
            self._since = now  # it is our turn, not the client's
        elif self._part is Part.BODY and answered:
            if now - self._since > LEFT_OVER:
                self.end("body")
        elif is_late(
            settings, self._part, now - self._since, size=self._size, hurried=self.hurried
        ):
            speechless = not answered and cycle is not None and cycle.response_started
            said = None if speechless else b"408 Request Timeout"
            self.end(self._part.name.lower(), said)

    def _closing(self, now: float) -> None:
        """End what is closed but holds its place, as its client does not take the last bytes."""
        if self._closing_since is None:
            self._closing_since = now
        if now - self._closing_since > self.door.settings.reading.total_seconds():
            self.end("reading")

    def end(self, why: str, said: bytes | None = None) -> None:
        """Close the connection; without a word where an answer has begun."""
        self.door.turned_away[why] += 1
        if said is None:
            self.transport.abort()
            return
        self.transport.write(
            b"HTTP/1.1 " + said + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()


def _check_head(target: bytes, headers: Sequence[tuple[bytes, bytes]], version: str) -> None:
    """Refuse what only a proxy that goes anywhere would take; raising is uvicorn's 400.

    An absolute target names an authority beside ``Host``; ``*`` and an authority alone are
    no paths. Two hosts, or one with more than a name and a port, mean different servers to
    different readers.
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
