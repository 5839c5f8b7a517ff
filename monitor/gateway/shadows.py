"""Send copies of answered requests to a version in shadow, whose answers nobody sees."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from functools import partial

import aiohttp
from starlette.types import Scope

from monitor.domain import Arm, ArmKind, Route
from monitor.gateway.engines import TooSlow, Unreachable
from monitor.gateway.exchange import Answered
from monitor.gateway.inquiry import BROKEN, NO_ANSWER, TIMED_OUT, Attempt, GatewayParts, Inquiry
from monitor.gateway.sampling import Sample

MIRRORED, DROPPED, CANCELLED = "mirrored", "dropped", "cancelled"


class Shadows:
    """Sends each sampled request to the shadow arm, once the client has its answer.

    At most ``shadow_requests`` are in flight; more are dropped and counted, as are those in flight
    when the gateway ends. A failed copy is not retried.
    """

    def __init__(self, parts: GatewayParts) -> None:
        self._parts = parts
        self._under_way: set[asyncio.Task[None]] = set()

    def offer(self, scope: Scope, answered: Answered) -> None:
        """Take a completed request; only the stable arm's answers are compared."""
        route = answered.route
        arm = shadow_of(route, self._parts.book.time())
        if arm is None or answered.arm.arm is not ArmKind.STABLE:
            return
        if len(self._under_way) >= self._parts.settings.shadow_requests:
            self._count(route, arm, DROPPED)
            return
        task = asyncio.create_task(self._replay(scope, answered, arm))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def end(self) -> None:
        """Cancel the copies in flight, which are not worth a delay."""
        under_way = tuple(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _replay(self, scope: Scope, answered: Answered, arm: Arm) -> None:
        parts, route = self._parts, answered.route
        inquiry = Inquiry(parts, scope, answered.asked, route)
        sample = parts.sampler.copied(answered.sample, scope["path"], arm)
        try:
            engine = parts.engines.pick(arm.model)
        except Unreachable:
            self._count(route, arm, DROPPED)
            return
        attempt = Attempt(engine=engine, arm=arm, sample=sample)
        try:
            status = await self._status(inquiry, attempt, sample)
        except asyncio.CancelledError:
            self._count(route, arm, CANCELLED)
            raise
        finally:
            attempt.close()
        parts.afterwards.add(partial(inquiry.record, attempt, status))
        self._count(route, arm, MIRRORED)

    async def _status(self, inquiry: Inquiry, attempt: Attempt, sample: Sample) -> int:
        """Ask, and read the answer to its end; map failures to a status."""
        try:
            response = await inquiry.ask(attempt)
        except TooSlow:
            return TIMED_OUT
        except Unreachable:
            return NO_ANSWER
        tap = self._parts.sampler.tap(sample, response.status, response.headers)
        try:
            async for piece in response.content.iter_any():
                attempt.first_byte_at = attempt.first_byte_at or time.perf_counter()
                if tap is not None:
                    tap.feed(piece)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return BROKEN
        attempt.ended_at = time.perf_counter()
        if tap is not None:
            tap.close()
        return response.status

    def _count(self, route: Route, arm: Arm, outcome: str) -> None:
        self._parts.meters.shadows.labels(route.adapter, arm.version, outcome).inc()


def shadow_of(route: Route, now: datetime) -> Arm | None:
    """Return the arm that answers copies; None if there is none or the route has expired."""
    if route.valid_until is not None and now >= route.valid_until:
        return None
    return next((arm for arm in route.arms if arm.arm is ArmKind.SHADOW), None)
