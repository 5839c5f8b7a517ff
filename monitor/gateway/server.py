"""Listen on one port that the ending gateway and its successor share.

No client notices a restart: the new process listens on the same port (``SO_REUSEPORT``), then the
old one is told to end. It announces its end for a while, stops listening, and answers every request
that reached it.
"""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from types import FrameType
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG: Final = structlog.get_logger(__name__)

IDLE: Final = 75
"""Seconds that an idle connection is kept: longer than clients and load balancers keep
theirs, so that they close it, and no request meets a closing connection."""

LAST_WORDS: Final = 0.5
"""Seconds in which the last accepted connections may send their request."""

_CLOSE: Final = (b"connection", b"close")


class Leaving:
    """The announcement that this process is about to end; answers then say so."""

    def __init__(self) -> None:
        self.begun = False

    def telling(self, app: ASGIApp) -> ASGIApp:
        """Make each answer of ``app`` close its connection once leaving has begun."""

        async def told(scope: Scope, receive: Receive, send: Send) -> None:
            leaves = self.begun and scope["type"] == "http"
            await app(scope, receive, _closing(send) if leaves else send)

        return told


def _closing(send: Send) -> Send:
    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
        await send(message)

    return closing


class GatewayServer(uvicorn.Server):
    """On SIGTERM announces its end for ``lame_duck``, then ends; SIGINT ends at once."""

    def __init__(self, config: uvicorn.Config, *, leaving: Leaving, lame_duck: timedelta) -> None:
        super().__init__(config)
        self._leaving = leaving
        self._lame_duck = lame_duck.total_seconds()
        self._end = float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave; a second signal ends at once."""
        if sig == signal.SIGTERM and not self._leaving.begun:
            self._leaving.begun = True
            self._end = time.monotonic() + self._lame_duck
            return
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Return True when it is time to stop listening."""
        return await super().on_tick(counter) or time.monotonic() >= self._end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept the waiting connections, stop listening, then finish the open requests."""
        self._leaving.begun = True
        spare = [
            one.dup() for one in sockets or ()
        ]  # the event loop closes its own sockets at once
        for server in self.servers:
            server.close()
        waiting: list[socket.socket] = []
        for one in spare:
            with one:  # closed at once: what comes while those are answered finds no listener
                waiting += _waiting(one)
        await self._take(waiting)
        await asyncio.sleep(LAST_WORDS)
        await super().shutdown(sockets)

    async def _take(self, connections: Sequence[socket.socket]) -> None:
        """Serve the connections that waited, which closing the listener would have reset."""
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            # as uvicorn makes it; its annotation says only that this is a type of protocol
            return self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                _loop=loop,
            )

        for connection in connections:
            await loop.connect_accepted_socket(protocol, connection)


def _waiting(listener: socket.socket) -> Iterator[socket.socket]:
    listener.setblocking(False)
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        except ConnectionAbortedError:
            continue
        yield connection


def listeners(host: str, port: int) -> list[socket.socket]:
    """Bind every address of ``host``, even if the same user's gateway listens there already.

    Raises
    ------
    OSError
        The address is not ours, or another program listens there.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    if _is_taken(addresses):
        _LOG.warning("port_shared", port=port, until="the other process ends")
    made: list[socket.socket] = []
    try:
        for family, address in addresses:
            made.append(_bound(family, address, shared=True))
    except OSError:
        for one in made:
            one.close()
        raise
    return made


def _is_taken(addresses: Sequence[tuple[socket.AddressFamily, tuple[object, ...]]]) -> bool:
    for family, address in addresses:
        try:
            _bound(family, address, shared=False).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
    return False


def _bound(
    family: socket.AddressFamily, address: tuple[object, ...], *, shared: bool
) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared and hasattr(socket, "SO_REUSEPORT"):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made
