"""The engine's side of a request: asked once, and once more if no answer comes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import aiohttp
import structlog
from starlette.types import Scope

from monitor import tracing
from monitor.domain import Arm, Route
from monitor.gateway import headers
from monitor.gateway.afterwards import Afterwards
from monitor.gateway.asked import RequestBody
from monitor.gateway.choice import rescuer
from monitor.gateway.engines import EngineReplica, ReplicaGroup, TooSlow, Unreachable
from monitor.gateway.keyring import KeyRing
from monitor.gateway.loading import Loading
from monitor.gateway.meters import NO_ADAPTER, Meters
from monitor.gateway.records import SeenAnswer
from monitor.gateway.routebook import RouteBook
from monitor.gateway.sampling import COMPLETIONS, Sample, Sampler
from monitor.gateway.settings import GatewaySettings
from monitor.room import Room

_LOG: Final = structlog.get_logger(__name__)

NO_ANSWER, TIMED_OUT, BROKEN = 0, 408, 502
"""Statuses in records if the engine gave none; all count as failures."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
_SERVER_ERRORS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayParts:
    """The parts of the gateway that every request uses."""

    settings: GatewaySettings
    book: RouteBook
    engines: ReplicaGroup
    meters: Meters
    sampler: Sampler
    loading: Loading
    afterwards: Afterwards
    room: Room
    ring: KeyRing | None = None
    """The keys of clients; None: everybody is admitted."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request to an engine; ``arm`` is None if the name has no route.

    Times are seconds of ``perf_counter``. ``switched`` is true if the replica did not hold the
    version.
    """

    engine: EngineReplica
    arm: Arm | None
    sample: Sample | None = None
    response: aiohttp.ClientResponse | None = None
    switched: bool = False
    sent_at: float = 0.0
    answered_at: float = 0.0
    passed_at: float = 0.0
    first_byte_at: float | None = None
    ended_at: float | None = None

    def close(self) -> None:
        """Release the connection: for reuse if the answer was read to its end."""
        response, self.response = self.response, None
        if response is None:
            return
        self.engine.busy -= 1
        if response.content.at_eof():
            response.release()
        else:
            response.close()


class Inquiry:
    """Asks engines for one request; ``last`` is the latest attempt, for its record."""

    def __init__(
        self, parts: GatewayParts, scope: Scope, asked: RequestBody, route: Route | None
    ) -> None:
        self._parts = parts
        self._scope = scope
        self._asked = asked
        self._route = route
        self.last: Attempt | None = None

    @property
    def adapter(self) -> str:
        """The adapter's name as a label."""
        return NO_ADAPTER if self._route is None else self._route.adapter

    def labels(self, attempt: Attempt) -> tuple[str, str, str]:
        """Return adapter, version and arm."""
        arm = attempt.arm
        return (NO_ADAPTER, "", "") if arm is None else (self.adapter, arm.version, arm.arm.value)

    def subject(self) -> str | None:
        """Return the subject: from the header, else from the body's ``user``."""
        given = headers.find(self._scope["headers"], headers.SUBJECT)
        return given.decode("latin-1") if given else self._asked.text("user")

    async def first_that_answers(self, arm: Arm | None) -> Attempt:
        """Ask the chosen arm and, if it cannot answer, once more: another arm or replica.

        The returned attempt has a response, which the caller closes.

        Raises
        ------
        Unreachable, TooSlow
        """
        model = "" if arm is None else arm.model
        first = Attempt(engine=self._parts.engines.pick(model), arm=arm)
        try:
            response = await self.ask(first)
        except Unreachable as error:
            if error.sent and not self._repeatable:
                raise
            self._retried(first, "unreachable")
            self.record(first, NO_ANSWER)
            second = self._second(first)
            await self.ask(second)
            return second
        if arm is None or not _is_failure(response.status):
            return first
        second = self._second(first)
        if (second.engine, second.arm) == (first.engine, first.arm):
            return first
        return await self._in_place_of(first, response.status, second)

    async def _in_place_of(self, first: Attempt, status: int, second: Attempt) -> Attempt:
        """Ask ``second``; keep the answer of ``first`` in case that fails."""
        self._retried(first, str(status))
        first.ended_at = time.perf_counter()
        try:
            await self.ask(second)
        except (Unreachable, TooSlow):
            self.record(second, NO_ANSWER)
            return first  # its answer says more
        except BaseException:
            first.close()
            raise
        first.close()
        self.record(first, status)
        return second

    @property
    def _repeatable(self) -> bool:
        """True if asking twice does no more than asking once, even if the first request arrived."""
        safe = self._scope["method"] in _SAFE
        return safe or self._route is not None or self._scope["path"] in COMPLETIONS

    def _second(self, first: Attempt) -> Attempt:
        arm = None
        if self._route is not None and first.arm is not None:
            arm = rescuer(self._route, first.arm)
        model = "" if arm is None else arm.model
        return Attempt(engine=self._parts.engines.pick(model, avoid=first.engine), arm=arm)

    def _retried(self, attempt: Attempt, reason: str) -> None:
        labels = self.labels(attempt)
        self._parts.meters.retries.labels(*labels, reason).inc()
        _LOG.warning(
            "asked_again",
            adapter=self.adapter,
            version=labels[1],
            engine=attempt.engine.name,
            reason=reason,
        )

    async def ask(self, attempt: Attempt) -> aiohttp.ClientResponse:
        """Ask once; an attempt without a sample may get one.

        Raises
        ------
        Unreachable, TooSlow
        """
        self.last = attempt
        arm, engine = attempt.arm, attempt.engine
        if arm is not None and attempt.sample is None:
            attempt.sample = self._parts.sampler.begin(
                self._scope["path"], self._asked, adapter=self.adapter, arm=arm
            )
        model = "" if arm is None else arm.model
        if arm is not None:
            attempt.switched = model not in engine.recent
            engine.used(model, self._parts.settings.resident_adapters)
        engine.busy += 1
        try:
            response = await self._request(attempt)
            if attempt.sample and attempt.sample.injected and response.status == _BAD_REQUEST:
                response = await self._request_as_asked(attempt, attempt.sample, response)
        except BaseException:
            engine.busy -= 1
            if attempt.switched:
                engine.dropped(model)
            raise
        if arm is not None and self._scope["path"] in COMPLETIONS:
            self._note(attempt, model, response.status)
        attempt.response = response
        return response

    def _note(self, attempt: Attempt, model: str, status: int) -> None:
        """Note what an answer's status says of a replica."""
        if status == _NOT_FOUND:
            attempt.engine.lacks(model)
            return
        attempt.engine.holds(model)
        if status >= _BAD_REQUEST and attempt.switched:
            attempt.engine.dropped(model)

    async def _request_as_asked(
        self, attempt: Attempt, sample: Sample, refused: aiohttp.ClientResponse
    ) -> aiohttp.ClientResponse:
        """Ask without our additions, which the engine may have refused."""
        refused.close()
        sample.injected = {}
        response = await self._request(attempt)
        if response.status != _BAD_REQUEST:
            self._parts.sampler.refused(sample.arm.model)
        return response

    async def _request(self, attempt: Attempt) -> aiohttp.ClientResponse:
        arm, sample = attempt.arm, attempt.sample
        body = self._asked.body
        if arm is not None:
            wish = {} if sample is None else sample.injected
            body = self._asked.replaced(model=arm.model, **wish)
        attempt.sent_at = time.perf_counter()
        response = await self._parts.engines.ask(
            attempt.engine,
            self._scope["method"],
            _target(self._scope),
            headers=headers.to_engine(
                self._scope["headers"],
                engine_key=self._parts.settings.engine_key,
                own_keys=self._parts.settings.keys,
                encoding="identity" if sample else None,
                traceparent=tracing.traceparent(),
            ),
            body=body,
        )
        attempt.answered_at = time.perf_counter()
        return response

    def record(self, attempt: Attempt | None, status: int) -> None:
        """Queue the record, if the attempt has a sample."""
        if attempt is None or attempt.sample is None:
            return
        first = attempt.first_byte_at
        streamed = bool(self._asked.value("stream"))
        ended = attempt.ended_at or time.perf_counter()
        measured = SeenAnswer(
            status=status,
            latency_ms=1e3 * (ended - attempt.sent_at),
            ttft_ms=1e3 * (first - attempt.sent_at) if first and streamed else None,
            replica=attempt.engine.name,
            engine=attempt.engine.software or None,
        )
        self._parts.sampler.finish(attempt.sample, measured, subject=self.subject())


def _is_failure(status: int) -> bool:
    return status == _NOT_FOUND or status >= _SERVER_ERRORS


def _target(scope: Scope) -> str:
    """Return path and query as the client wrote them."""
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")
