"""Choose the sampled requests before the engine is asked, by the service's own rule."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import aiohttp
import msgspec
import structlog

from monitor.capture.keeping import ALWAYS_KEPT, keep
from monitor.domain import Arm
from monitor.gateway.service import ServiceClient

_LOG: Final = structlog.get_logger(__name__)

FRESH_FOR: Final = 60.0
"""Seconds after which the service is asked again."""

WORN_BY: Final = 400
"""Sampled requests of an adapter after which the service is asked at once, as in a flood."""

AT_MOST: Final = 1.0
"""The shortest interval in seconds between two calls, however many requests come."""

_SOON: Final = 5.0
_PATIENCE: Final = aiohttp.ClientTimeout(total=15, sock_connect=5)
_OK: Final = 200


class _Told(msgspec.Struct):
    shares: dict[str, float]


class Shares:
    """The share of each adapter's requests that become records, as the service sets it.

    Uses the same hash and share as :mod:`monitor.capture`, so the service would keep exactly these.
    Unsampled requests are counted and reported, since the share follows the traffic. An adapter
    whose share is not known yet is not sampled.
    """

    def __init__(self) -> None:
        self._shares: dict[str, float] = {}
        self._passed_over: Counter[str] = Counter()
        self._sampled: Counter[str] = Counter()
        self.wanted = asyncio.Event()
        """Set when the service is to be asked before the minute ends."""

    def decide(self, adapter: str, arm: Arm, record_id: str) -> bool:
        """True if this request becomes a record; counts it if not."""
        share = self._shares.get(adapter)
        if share is not None and arm.arm in ALWAYS_KEPT:
            return True
        if share is not None and keep(adapter, record_id, share):
            self._sampled[adapter] += 1
            if self._sampled[adapter] == WORN_BY:
                self.wanted.set()
            return True
        self._passed_over[adapter] += 1
        return False

    def missing(self, adapters: Sequence[str]) -> bool:
        """True if one of these adapters has no share yet."""
        return any(adapter not in self._shares for adapter in adapters)

    def take(self, adapters: Sequence[str]) -> dict[str, int]:
        """Take the counts to report, including a zero for each of these adapters."""
        self.wanted.clear()
        counted, self._passed_over = self._passed_over, Counter()
        return dict.fromkeys(adapters, 0) | counted

    def give_back(self, counted: dict[str, int]) -> None:
        """Restore counts that could not be reported."""
        self._passed_over.update(counted)

    def settle(self, shares: dict[str, float]) -> None:
        """Use these shares from now on."""
        self._shares |= shares
        self._sampled.clear()


class ShareKeeper:
    """Exchanges counts for shares with the service: each minute, for new adapters, in a flood."""

    def __init__(self, service: ServiceClient, *, shares: Shares) -> None:
        self._service = service
        self._shares = shares
        self._adapters: Sequence[str] = ()

    def serve(self, adapters: Sequence[str]) -> None:
        """Set the adapters that have routes."""
        self._adapters = adapters
        if self._shares.missing(adapters):
            self._shares.wanted.set()

    async def run(self) -> None:
        """Exchange until cancelled."""
        failing = False
        while True:
            pause = _SOON if self._shares.missing(self._adapters) else FRESH_FOR
            try:
                async with asyncio.timeout(pause):
                    await self._shares.wanted.wait()
            except TimeoutError:
                pass
            if not self._adapters:
                self._shares.wanted.clear()
                continue
            failed = await self._exchange()
            if failed and not failing:
                _LOG.warning("shares_not_told", error=failed)
            failing = failed is not None
            await asyncio.sleep(AT_MOST)

    async def _exchange(self) -> str | None:
        counted = self._shares.take(self._adapters)
        try:
            async with self._service.request(
                "POST", "/v1/sampling", json={"sampled_out": counted}, timeout=_PATIENCE
            ) as answer:
                body = await answer.read()
                if answer.status == _OK:
                    self._shares.settle(msgspec.json.decode(body, type=_Told).shares)
                    return None
                failed = f"status {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            failed = type(error).__name__
        self._shares.give_back(counted)
        return failed
