"""Start the gateway, follow the routes, answer until told to stop, then drain."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from monitor.connections import Door, allow_files, fitted
from monitor.engine_addresses import NO_ADDRESS
from monitor.gateway.afterwards import Afterwards
from monitor.gateway.app import create_app
from monitor.gateway.disputes import Disputes, warning
from monitor.gateway.engines import ReplicaGroup
from monitor.gateway.follow import RouteFollower
from monitor.gateway.inquiry import GatewayParts
from monitor.gateway.keyring import KeyKeeper, KeyRing
from monitor.gateway.loading import Loading
from monitor.gateway.meters import Meters
from monitor.gateway.outbound import Outbound
from monitor.gateway.residents import ResidentKeeper
from monitor.gateway.routebook import RouteBook
from monitor.gateway.sampling import Sampler
from monitor.gateway.server import IDLE, GatewayServer, Leaving, listeners
from monitor.gateway.service import ServiceClient
from monitor.gateway.settings import GatewaySettings
from monitor.gateway.shares import ShareKeeper, Shares
from monitor.gateway.software import SoftwareKeeper
from monitor.room import Room

SWITCH: Final = 0.0005
"""The thread switch interval in seconds, so that the writer thread lets streams go on."""

OWN_FILES: Final = 64
"""Files that a gateway needs beside its connections to clients and engines."""

FLUSH: Final = 5.0
"""Seconds at the end for sending queued records."""

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
KEYS_CACHE: Final = "gateway-keys.json"

OPEN: Final = (
    "open: whoever reaches this address asks the engines, and reads the adapters' names in its"
    " metrics; keys = true in [gateway] asks for keys"
)

_NO_KEYS: Final = "no keys: the service has not told any, and none were kept"
_LEAVING: Final = "this process is about to end"
_NO_ROUTES: Final = "no routes: the service has not told any, and none were kept"


def assemble(
    settings: GatewaySettings,
    *,
    cache: Path | None,
    key_file: Path | None = None,
    leaving: Leaving | None = None,
) -> ASGIApp:
    """Assemble the application.

    Parameters
    ----------
    cache
        Where routes are cached over restarts; the keys of clients beside it.
    key_file
        Holds the service's key, if the settings have none.
    leaving
        Tells when this process is about to end.
    """
    meters = Meters()
    book = RouteBook(cache)
    book.load()
    ring = None
    if settings.keys:
        ring = KeyRing(time=book.time, cache=cache and cache.with_name(KEYS_CACHE))
        ring.load()
    shares = Shares()
    engines = ReplicaGroup(settings)
    leaving = leaving or Leaving()
    loading = Loading(settings.resident_adapters)
    beside = _Beside(
        settings,
        book=book,
        engines=engines,
        meters=meters,
        shares=shares,
        loading=loading,
        key_file=key_file,
        ring=ring,
    )
    parts = GatewayParts(
        settings=settings,
        book=book,
        engines=engines,
        meters=meters,
        sampler=Sampler(
            settings, shares=shares, offer=beside.offer, meters=meters, clock=book.time
        ),
        loading=loading,
        afterwards=Afterwards(),
        room=Room(settings.max_bodies),
        ring=ring,
    )
    app = create_app(
        parts,
        ready=lambda: _LEAVING if leaving.begun else beside.why_not_ready(),
        warnings=lambda: [*filter(None, [warning(book), OPEN if is_open(settings) else None])],
        work=beside.start,
    )
    return leaving.telling(app)


def is_open(settings: GatewaySettings) -> bool:
    """True if other machines reach the gateway, and it asks nobody for a key."""
    return not settings.keys and settings.host not in LOOPBACK


def serve(settings: GatewaySettings, *, cache: Path | None, key_file: Path | None = None) -> None:
    """Answer until SIGTERM or SIGINT, then finish open requests within ``drain``.

    Raises
    ------
    OSError
        The settings' address cannot be bound.
    """
    sys.setswitchinterval(SWITCH)
    leaving = Leaving()
    sockets = listeners(settings.host, settings.port)
    limits = fitted(settings.connections, files=allow_files(), own=OWN_FILES, files_each=2)
    door = Door(limits, trusted=settings.trusted_proxies)
    config = uvicorn.Config(
        assemble(settings, cache=cache, key_file=key_file, leaving=leaving),
        http=door.protocol(),
        ws="none",
        proxy_headers=False,  # the client's address and scheme are used nowhere
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=int(settings.drain.total_seconds()),
    )
    GatewayServer(config, leaving=leaving, lame_duck=settings.lame_duck).run(sockets=sockets)


@dataclass(slots=True, eq=False)
class _Beside:
    """The background tasks: routes, shares, records, and the engines' software."""

    settings: GatewaySettings
    _: KW_ONLY
    book: RouteBook
    engines: ReplicaGroup
    meters: Meters
    shares: Shares
    loading: Loading
    key_file: Path | None
    ring: KeyRing | None
    _follower: RouteFollower | None = field(default=None, init=False)
    _outbound: Outbound | None = field(default=None, init=False)

    def why_not_ready(self) -> str | None:
        """Return None once there is an engine, and routes or the service's word for none.

        Where clients need keys, they have to be known, too.
        """
        if not self.engines.all:
            return NO_ADDRESS
        if self.ring is not None and not self.ring.known:
            return _NO_KEYS
        heard = self._follower is not None and self._follower.heard
        return None if heard or len(self.book) else _NO_ROUTES

    def offer(self, adapter: str, line: bytes) -> None:
        """Queue a record."""
        assert self._outbound is not None, "start() comes first"  # noqa: S101 (invariant)
        self._outbound.offer(adapter, line)

    async def start(self) -> Callable[[], Awaitable[None]]:
        """Start the tasks; the returned function ends them."""
        settings, meters, ring = self.settings, self.meters, self.ring
        service = ServiceClient(settings, key_file=self.key_file)
        outbound = Outbound(service, settings=settings, meters=meters)
        keeper = ShareKeeper(service, shares=self.shares)
        # two processes may share the port during a handover
        name = f"gateway {socket.gethostname()[:64]}:{settings.port}, process {os.getpid()}"
        disputes = Disputes(service, book=self.book, name=name)
        follower = RouteFollower(
            service, book=self.book, meters=meters, disputes=disputes, told=keeper.serve
        )
        keeper.serve([route.adapter for route in self.book.routes])
        self._follower, self._outbound = follower, outbound
        residents = ResidentKeeper(
            self.engines, loading=self.loading, book=self.book, meters=meters, settings=settings
        )
        running = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("routes", follower.run()),
                ("disputes", disputes.run()),
                ("shares", keeper.run()),
                ("records", outbound.run()),
                ("engines", self.engines.follow()),
                ("software", SoftwareKeeper(self.engines, settings=settings).run()),
                ("residents", residents.run()),
                *([("keys", KeyKeeper(service, ring=ring).run())] if ring is not None else []),
            )
        ]

        async def end() -> None:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await outbound.finish(FLUSH)
            await service.close()

        return end
