"""Report routes that the service sends and the gateway refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import aiohttp
import structlog

from monitor.domain import Edition, Route
from monitor.gateway.routebook import RouteBook
from monitor.gateway.service import ServiceClient

_LOG: Final = structlog.get_logger(__name__)

SAY_EVERY: Final = 60.0
"""Seconds; the service forgets a report after three minutes."""
_PAUSE: Final = 2.0
_NAMED: Final = "driftline_gateway_route_refused names them, and the log says why"
_PATIENCE: Final = aiohttp.ClientTimeout(total=15, sock_connect=5)


class Disputes:
    """Reports why the gateway follows other routes than the service's."""

    def __init__(self, service: ServiceClient, *, book: RouteBook, name: str) -> None:
        self._service = service
        self._book = book
        self._name = name
        self._seen: Mapping[str, Route] = {}
        self._logged: dict[str, Edition] = {}
        self._new = asyncio.Event()

    def look(self) -> None:
        """Log newly refused routes, once each, after the service sent its routes."""
        refused = self._book.refused
        for adapter, told in refused.items():
            if self._logged.get(adapter) != told.edition:
                _LOG.warning("route_refused", why=_sentence(self._book, told))
            self._logged[adapter] = told.edition
        if refused != self._seen:
            self._seen = refused
            self._new.set()

    async def run(self) -> None:
        """Report to the service until cancelled: on each change, and each minute."""
        while True:
            try:
                async with asyncio.timeout(SAY_EVERY if self._seen else None):
                    await self._new.wait()
            except TimeoutError:
                pass
            self._new.clear()
            await self._say()
            await asyncio.sleep(_PAUSE)  # two services may send different tables in turn

    async def _say(self) -> None:
        held = [
            {
                "adapter": held.adapter,
                "epoch": held.epoch,
                "generation": held.generation,
                "told_epoch": self._book.refused[held.adapter].epoch,
            }
            for held in self._book.routes
            if held.adapter in self._book.refused
        ]
        body = {"router": self._name, "held": held}
        try:
            async with self._service.request(
                "POST", "/v1/routes/refusals", json=body, timeout=_PATIENCE
            ) as answer:
                failed = None if answer.ok else f"status {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failed = type(error).__name__
        if failed:
            _LOG.warning("refusals_not_told", error=failed)


def warning(book: RouteBook) -> str | None:
    """Say how many routes are refused; their names are in the log, and where a key is asked for."""
    count = len(book.refused)
    told = "1 route" if count == 1 else f"{count} routes"
    return f"refuses {told} that the service tells: {_NAMED}" if count else None


def _sentence(book: RouteBook, told: Route) -> str:
    held = next(route for route in book.routes if route.adapter == told.adapter)
    return (
        f"{told.adapter}: goes by generation {held.generation} of epoch {held.epoch}; refuses"
        f" generation {told.generation} of epoch {told.epoch}, which the service tells"
    )
