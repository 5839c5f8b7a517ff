"""Start the gateway, follow the routes, answer until told to stop, finish what is under way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import aiohttp
import uvicorn
from starlette.applications import Starlette

from monitor.gateway.app import create_app
from monitor.gateway.engines import Engines
from monitor.gateway.exchange import GatewayParts
from monitor.gateway.follow import RouteFollower
from monitor.gateway.meters import Meters
from monitor.gateway.routebook import RouteBook
from monitor.gateway.settings import GatewaySettings

_NO_ROUTES: Final = "no routes: the service has not told any, and none were kept"


def assemble(settings: GatewaySettings, *, cache: Path | None) -> Starlette:
    """Put the application together; ``cache`` is where routes are kept over restarts."""
    meters = Meters()
    book = RouteBook(cache)
    book.load()
    parts = GatewayParts(settings=settings, book=book, engines=Engines(settings), meters=meters)
    beside = _Beside(parts)
    return create_app(parts, ready=beside.why_not_ready, work=beside.start)


def serve(settings: GatewaySettings, *, cache: Path | None) -> None:
    """Answer until SIGTERM or SIGINT, then finish what is under way within ``drain``."""
    uvicorn.Server(
        uvicorn.Config(
            assemble(settings, cache=cache),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=int(settings.drain.total_seconds()),
        )
    ).run()


class _Beside:
    """What runs beside the requests: following the routes."""

    def __init__(self, parts: GatewayParts) -> None:
        self._parts = parts
        self._follower: RouteFollower | None = None

    def why_not_ready(self) -> str | None:
        """None once there are routes, or the service has said that there are none."""
        heard = self._follower is not None and self._follower.heard
        return None if heard or len(self._parts.book) else _NO_ROUTES

    async def start(self) -> Callable[[], Awaitable[None]]:
        """Start; what is returned ends it."""
        settings = self._parts.settings
        service = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {settings.key}"} if settings.key else {},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        self._follower = RouteFollower(
            service, settings.service, book=self._parts.book, meters=self._parts.meters
        )
        tasks = [asyncio.create_task(self._follower.run(), name="routes")]

        async def end() -> None:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await service.close()

        return end
