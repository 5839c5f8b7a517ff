"""Which requests are sampled: the service's own decision, made before the engine is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import aiohttp
import msgspec
import structlog

from monitor.capture.sampling import ALWAYS_KEPT, keep
from monitor.domain import Arm
from monitor.gateway.service import Service

_LOG: Final = structlog.get_logger(__name__)

FRESH_FOR: Final = 60.0
"""Seconds after which the service is asked again."""

_SOON: Final = 5.0
_PATIENCE: Final = aiohttp.ClientTimeout(total=15, sock_connect=5)
_OK: Final = 200


class _Told(msgspec.Struct):
    shares: dict[str, float]


class Shares:
    """The share of each adapter's requests that become records, as the service keeps them.

    The same hash and the same share as :mod:`monitor.capture` uses: the service would keep
    just these. What is not sampled is counted and told, as the share follows the traffic.
    An adapter whose share is not known yet is not sampled.
    """

    def __init__(self) -> None:
        self._shares: dict[str, float] = {}
        self._passed_over: Counter[str] = Counter()

    def decide(self, adapter: str, arm: Arm, record_id: str) -> bool:
        """Whether this request becomes a record; counts it where it does not."""
        share = self._shares.get(adapter)
        if share is not None and arm.arm in ALWAYS_KEPT:
            return True
        if share is not None and keep(adapter, record_id, share):
            return True
        self._passed_over[adapter] += 1
        return False

    def missing(self, adapters: Sequence[str]) -> bool:
        """Whether one of these has no share yet."""
        return any(adapter not in self._shares for adapter in adapters)

    def take(self, adapters: Sequence[str]) -> dict[str, int]:
        """Hand the counts over, to be told: of these adapters, those without any included."""
        counted, self._passed_over = self._passed_over, Counter()
        return dict.fromkeys(adapters, 0) | counted

    def give_back(self, counted: dict[str, int]) -> None:
        """Take counts back that could not be told."""
        self._passed_over.update(counted)

    def settle(self, shares: dict[str, float]) -> None:
        """Go by these shares from now on."""
        self._shares |= shares


class ShareKeeper:
    """Exchanges counts for shares with the service, each minute and when adapters are new."""

    def __init__(self, service: Service, *, shares: Shares) -> None:
        self._service = service
        self._shares = shares
        self._adapters: Sequence[str] = ()
        self._new = asyncio.Event()

    def serve(self, adapters: Sequence[str]) -> None:
        """From now on these adapters have routes."""
        self._adapters = adapters
        if self._shares.missing(adapters):
            self._new.set()

    async def run(self) -> None:
        """Exchange until cancelled."""
        failing = False
        while True:
            pause = _SOON if self._shares.missing(self._adapters) else FRESH_FOR
            try:
                async with asyncio.timeout(pause):
                    await self._new.wait()
            except TimeoutError:
                pass
            self._new.clear()
            if not self._adapters:
                continue
            failed = await self._exchange()
            if failed and not failing:
                _LOG.warning("shares_not_told", error=failed)
            failing = failed is not None

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
