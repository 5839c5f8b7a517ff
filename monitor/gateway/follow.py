"""Follow the service's routes; while the service is away, the last ones stay in force."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Final

import aiohttp
import msgspec
import structlog

from monitor.gateway.disputes import Disputes
from monitor.gateway.meters import Meters
from monitor.gateway.routebook import RouteBook, read_routes
from monitor.gateway.service import ServiceClient

_LOG: Final = structlog.get_logger(__name__)

WAIT: Final = 30
"""Seconds that the service may hold a request while nothing changes."""

_PATIENCE: Final = aiohttp.ClientTimeout(total=WAIT + 15, sock_connect=5)
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_DISPUTED: Final = 1.0
_OK, _NOT_MODIFIED = 200, 304


class _Page(msgspec.Struct):
    items: msgspec.Raw


class NoRoutes(Exception):  # noqa: N818 (named as the outcome)
    """The service did not send routes; the text says why, without quoting the service."""


@dataclass(slots=True, eq=False)
class RouteFollower:
    """Long-polls ``GET /v1/routes`` for ever, and passes the adapters to ``told`` each time."""

    service: ServiceClient
    _: KW_ONLY
    book: RouteBook
    meters: Meters
    disputes: Disputes
    told: Callable[[Sequence[str]], None]
    _tag: str | None = field(default=None, init=False)
    heard: bool = field(default=False, init=False)
    """True once the service has sent its routes."""

    async def run(self) -> None:
        """Follow until cancelled; log each new failure once, and retry ever more slowly."""
        pause, told = 0.0, ""
        while True:
            try:
                await self._ask()
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, NoRoutes) as error:
                why = str(error) if isinstance(error, NoRoutes) else type(error).__name__
                if why != told:
                    _LOG.warning("routes_not_told", error=why, known=len(self.book))
                told = why
                pause = min(max(_FIRST_PAUSE, 2 * pause), _LONGEST_PAUSE)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            else:
                if pause:
                    _LOG.info("routes_told_again")
                pause, told = 0.0, ""
                if self.book.refused:
                    # one address may hide the services of two databases: each answers at once
                    await asyncio.sleep(_DISPUTED)

    async def _ask(self) -> None:
        known = {} if self._tag is None else {"If-None-Match": self._tag}
        query = {} if self._tag is None else {"wait": str(WAIT)}
        async with self.service.request(
            "GET", "/v1/routes", params=query, headers=known, timeout=_PATIENCE
        ) as answer:
            _tell_time(self.book, answer.headers.get("Driftline-Time"))
            if answer.status == _OK:
                body = await answer.read()
                routes = read_routes(bytes(msgspec.json.decode(body, type=_Page).items))
                if self.book.update(routes):
                    _LOG.info("routes_changed", routes=len(self.book))
                self._tag = answer.headers.get("ETag")
            elif answer.status != _NOT_MODIFIED:
                raise NoRoutes(f"status {answer.status}")
        if self._tag is None:
            raise NoRoutes("no ETag: the service is older than this gateway")
        self.heard = True
        self.meters.routes_seen.set(time.time())
        for route in self.book.routes:
            self.meters.generation.labels(route.adapter).set(route.generation)
            self.meters.epoch.labels(route.adapter).set(route.epoch)
            self.meters.refused.labels(route.adapter).set(route.adapter in self.book.refused)
        self.told([route.adapter for route in self.book.routes])
        self.disputes.look()


def _tell_time(book: RouteBook, said: str | None) -> None:
    """Set the book's time; a service older than this gateway sends none."""
    moment = datetime.fromisoformat(said) if said else None
    if moment is not None and moment.tzinfo is not None:
        book.set_time(moment)
