"""Send records to the service through a bounded queue that delays no answer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from typing import Final, NamedTuple

import aiohttp
import msgspec
import structlog

from monitor.gateway.meters import Meters
from monitor.gateway.service import ServiceClient
from monitor.gateway.settings import GatewaySettings

_LOG: Final = structlog.get_logger(__name__)

MOST_RECORDS: Final = 500
MOST_BYTES: Final = 4 * 1024 * 1024
LINGER: Final = 0.5
"""Seconds that a record waits to be batched."""

_PATIENCE: Final = aiohttp.ClientTimeout(total=60, sock_connect=5)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_ACCEPTED: Final = 202
_REFUSED: Final = frozenset({400, 413, 415, 422})
"""Statuses after which a repeat would fail again."""


class Waiting(NamedTuple):
    """A record as a line of NDJSON."""

    adapter: str
    line: bytes


class _Rejected(msgspec.Struct):
    index: int


class _Outcome(msgspec.Struct):
    rejected: list[_Rejected] = []


class Outbound:
    """Takes records at once or drops them, and counts each by result."""

    def __init__(
        self, service: ServiceClient, *, settings: GatewaySettings, meters: Meters
    ) -> None:
        self._service = service
        self._settings = settings
        self._meters = meters
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._came = asyncio.Event()

    def offer(self, adapter: str, line: bytes) -> None:
        """Queue a record; drop and count it if there is no room."""
        full = (
            len(self._waiting) >= self._settings.queue_records
            or self._bytes + len(line) > self._settings.queue_bytes
        )
        if full:
            self._meters.records.labels(adapter, "dropped").inc()
            return
        self._waiting.append(Waiting(adapter, line))
        self._bytes += len(line)
        self._meters.queue.set(len(self._waiting))
        self._came.set()

    async def run(self) -> None:
        """Send queued records until cancelled; back off while the service is away."""
        pause = 0.0
        while True:
            await self._came.wait()
            await asyncio.sleep(LINGER)
            self._came.clear()
            while self._waiting:
                failed = await self._send()
                if failed is None:
                    pause = 0.0
                    continue
                if not pause:
                    _LOG.warning("records_wait", error=failed, records=len(self._waiting))
                pause = min(max(_FIRST_PAUSE, 2 * pause), _LONGEST_PAUSE)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def finish(self, seconds: float) -> None:
        """Send queued records for at most ``seconds``; what is left by then is lost."""
        try:
            async with asyncio.timeout(seconds):
                while self._waiting:
                    if await self._send() is not None:
                        await asyncio.sleep(_FIRST_PAUSE)
        except TimeoutError:
            pass
        if self._waiting:
            _LOG.warning("records_lost", records=len(self._waiting))

    async def _send(self) -> str | None:
        """Send one batch; return the error if it has to be sent again."""
        batch = self._batch()
        try:
            async with self._service.request(
                "POST",
                "/v1/records",
                data=b"\n".join(one.line for one in batch),
                headers={"Content-Type": "application/x-ndjson"},
                timeout=_PATIENCE,
            ) as answer:
                body = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__
        if status == _ACCEPTED:
            self._settle(batch, rejected=_rejected(body))
        elif status in _REFUSED:
            self._settle(batch, rejected=set(range(len(batch))))
        else:
            return f"status {status}"
        return None

    def _batch(self) -> list[Waiting]:
        batch: list[Waiting] = []
        size = 0
        for one in self._waiting:
            size += len(one.line) + 1
            if batch and (len(batch) >= MOST_RECORDS or size > MOST_BYTES):
                break
            batch.append(one)
        return batch

    def _settle(self, batch: list[Waiting], *, rejected: set[int]) -> None:
        outcomes: Counter[tuple[str, str]] = Counter()
        for index, one in enumerate(batch):
            self._waiting.popleft()
            self._bytes -= len(one.line)
            outcomes[one.adapter, "refused" if index in rejected else "sent"] += 1
        for (adapter, outcome), count in outcomes.items():
            self._meters.records.labels(adapter, outcome).inc(count)
        self._meters.queue.set(len(self._waiting))
        if rejected:
            _LOG.warning("records_refused", records=len(rejected))


def _rejected(body: bytes) -> set[int]:
    try:
        return {one.index for one in msgspec.json.decode(body, type=_Outcome).rejected}
    except ValueError:
        return set()
