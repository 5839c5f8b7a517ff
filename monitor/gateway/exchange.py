"""One request and its answer, from the client's first byte to the last."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
import structlog
from starlette.types import Receive, Scope, Send

from monitor.domain import Arm, Route
from monitor.gateway import headers, refusals
from monitor.gateway.asked import Asked, read
from monitor.gateway.choice import choose, point_of, rescuer
from monitor.gateway.engines import Engine, Engines, TooSlow, Unreachable
from monitor.gateway.hangup import BodyTooLarge, ClientGone, Hangup, read_body
from monitor.gateway.meters import NO_ADAPTER, Meters
from monitor.gateway.refusals import Refusal
from monitor.gateway.routebook import RouteBook
from monitor.gateway.settings import GatewaySettings

_LOG: Final = structlog.get_logger(__name__)

COMPLETIONS: Final = frozenset({"/v1/chat/completions", "/v1/completions"})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_FOUND: Final = 404
_SERVER_ERRORS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayParts:
    """What every exchange works with."""

    settings: GatewaySettings
    book: RouteBook
    engines: Engines
    meters: Meters


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One time that an engine is asked; ``arm`` None where the name has no route.

    Times are seconds of ``perf_counter``.
    """

    engine: Engine
    arm: Arm | None
    sent_at: float = 0.0
    answered_at: float = 0.0
    passed_at: float = 0.0


class Exchange:
    """A request on its way; made for one, run once."""

    def __init__(self, parts: GatewayParts, scope: Scope, receive: Receive, send: Send) -> None:
        self._parts = parts
        self._scope = scope
        self._receive = receive
        self._send = send
        self._route: Route | None = None
        self._asked = Asked(body=b"")
        self._complete_at = 0.0

    async def run(self) -> None:
        """Answer the request."""
        limit = self._parts.settings.max_body
        try:
            body = await read_body(self._receive, limit=limit)
        except ClientGone:
            return
        except BodyTooLarge:
            await refusals.too_large(limit).send(self._send)
            return
        self._complete_at = time.perf_counter()
        arm = self._resolve(body)
        async with Hangup(self._receive) as hangup:
            await self._answer(arm, hangup)
        if hangup.gone:
            self._parts.meters.broken.labels(self._adapter, "client").inc()

    @property
    def _adapter(self) -> str:
        return NO_ADAPTER if self._route is None else self._route.adapter

    def _resolve(self, body: bytes) -> Arm | None:
        """Find the arm that answers; None: the name has no route, the body goes on as it is."""
        self._asked = Asked(body=body)
        if self._scope["method"] != "POST" or not body:
            return None
        asked = read(body)
        model = asked.model
        route = None if model is None else self._parts.book.find(model)
        if route is None:
            return None
        self._asked, self._route = asked, route
        return choose(route, self._point(route))

    def _point(self, route: Route) -> float:
        if sum(arm.weight > 0 for arm in route.arms) == 1:
            return 0.0
        subject = self.subject() or self._asked.conversation()
        return point_of(route, subject) if subject else random.random()  # noqa: S311 - no secret

    def subject(self) -> str | None:
        """Who asks: the header, else the body's ``user``."""
        given = headers.find(self._scope["headers"], headers.SUBJECT)
        return given.decode("latin-1") if given else self._asked.text("user")

    async def _answer(self, arm: Arm | None, hangup: Hangup) -> None:
        try:
            attempt, response = await self._first_that_answers(arm)
        except TooSlow:
            await self._refuse(refusals.TOO_SLOW, hangup)
        except Unreachable:
            await self._refuse(refusals.UNREACHABLE, hangup)
        else:
            try:
                await self._pass_on(attempt, response, hangup)
            finally:
                attempt.engine.busy -= 1
                # closes the connection unless the answer was read to its end
                response.release() if response.content.at_eof() else response.close()

    async def _first_that_answers(self, arm: Arm | None) -> tuple[Attempt, aiohttp.ClientResponse]:
        """Ask the chosen arm and, where it cannot answer, once more: in its place, elsewhere.

        Raises
        ------
        Unreachable, TooSlow
        """
        first = Attempt(engine=self._parts.engines.pick(), arm=arm)
        try:
            response = await self._ask(first)
        except Unreachable as error:
            if not (self._repeatable or not error.sent):
                raise
            self._retried(first, "unreachable")
            second = self._second(first)
            return second, await self._ask(second)
        second = self._second(first)
        same = (second.engine, second.arm) == (first.engine, first.arm)
        if arm is None or same or not _is_failure(response.status):
            return first, response
        self._retried(first, str(response.status))
        try:
            answer = await self._ask(second)
        except (Unreachable, TooSlow):
            return first, response  # what the first one said says more
        first.engine.busy -= 1
        response.close()
        return second, answer

    @property
    def _repeatable(self) -> bool:
        """Whether asking twice does no more than asking once, whatever became of the first."""
        safe = self._scope["method"] in _SAFE
        return safe or self._route is not None or self._scope["path"] in COMPLETIONS

    def _second(self, first: Attempt) -> Attempt:
        engine = self._parts.engines.pick(avoid=first.engine)
        if self._route is None or first.arm is None:
            return Attempt(engine=engine, arm=None)
        return Attempt(engine=engine, arm=rescuer(self._route, first.arm))

    def _retried(self, attempt: Attempt, reason: str) -> None:
        self._parts.meters.retries.labels(*self._labels(attempt), reason).inc()
        version = attempt.arm.version if attempt.arm else ""
        _LOG.warning(
            "asked_again",
            adapter=self._adapter,
            version=version,
            engine=attempt.engine.name,
            reason=reason,
        )

    async def _ask(self, attempt: Attempt) -> aiohttp.ClientResponse:
        arm, asked = attempt.arm, self._asked
        body = asked.body if arm is None else asked.replaced(model=arm.model)
        attempt.sent_at = time.perf_counter()
        attempt.engine.busy += 1
        try:
            response = await self._parts.engines.ask(
                attempt.engine,
                self._scope["method"],
                _target(self._scope),
                headers=headers.to_engine(
                    self._scope["headers"], engine_key=self._parts.settings.engine_key
                ),
                body=body,
            )
        except BaseException:
            attempt.engine.busy -= 1
            raise
        attempt.answered_at = time.perf_counter()
        return response

    async def _pass_on(
        self, attempt: Attempt, response: aiohttp.ClientResponse, hangup: Hangup
    ) -> None:
        """Give the client the answer as it comes."""
        await self._send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": headers.to_client(response.raw_headers, self._told(attempt)),
            }
        )
        attempt.passed_at = time.perf_counter()
        begun = False
        try:
            async for piece in response.content.iter_any():
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
                if not begun:
                    begun = True
                    self._first_byte(attempt, response.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # returning without the end closes the client's connection: the honest sign
            self._parts.meters.broken.labels(self._adapter, "engine").inc()
            _LOG.warning("answer_broken", adapter=self._adapter, error=type(error).__name__)
            return
        if not begun:
            self._first_byte(attempt, response.status)
        hangup.over()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _first_byte(self, attempt: Attempt, status: int) -> None:
        now = time.perf_counter()
        labels = self._labels(attempt)
        meters = self._parts.meters
        meters.requests.labels(*labels, str(status)).inc()
        before = attempt.sent_at - self._complete_at
        after = attempt.passed_at - attempt.answered_at
        meters.overhead.labels(self._adapter).observe(before + after)
        meters.first_byte.labels(*labels[:2]).observe(now - self._complete_at)

    async def _refuse(self, refusal: Refusal, hangup: Hangup) -> None:
        self._parts.meters.requests.labels(self._adapter, "", "", str(refusal.status)).inc()
        hangup.over()
        await refusal.send(self._send)

    def _labels(self, attempt: Attempt) -> tuple[str, str, str]:
        arm = attempt.arm
        return (NO_ADAPTER, "", "") if arm is None else (self._adapter, arm.version, arm.arm.value)

    def _told(self, attempt: Attempt) -> Mapping[bytes, bytes]:
        if attempt.arm is None:
            return {}
        return {
            headers.ADAPTER: self._adapter.encode(),
            headers.VERSION: attempt.arm.version.encode(),
            headers.ARM: attempt.arm.arm.value.encode(),
        }


def _is_failure(status: int) -> bool:
    return status == _NOT_FOUND or status >= _SERVER_ERRORS


def _target(scope: Scope) -> str:
    """Path and query as the client wrote them."""
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")
