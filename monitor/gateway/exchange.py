"""The client's side of a request, from its first byte to the answer's last."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import aiohttp
import structlog
from starlette.types import Receive, Scope, Send

from monitor import tracing
from monitor.domain import Arm, Route
from monitor.gateway import headers, refusals
from monitor.gateway.asked import RequestBody, read
from monitor.gateway.choice import choose, point_of
from monitor.gateway.engines import TooSlow, Unreachable
from monitor.gateway.hangup import (
    BodiesFull,
    BodyMemory,
    BodyTooLarge,
    ClientGone,
    Hangup,
    read_body,
)
from monitor.gateway.inquiry import BROKEN, NO_ANSWER, TIMED_OUT, Attempt, GatewayParts, Inquiry
from monitor.gateway.keyring import ClientKey
from monitor.gateway.loading import Loaded
from monitor.gateway.passing import ASKED, MODELS, READ
from monitor.gateway.refusals import GatewayRefusal
from monitor.gateway.sampling import Sample
from monitor.gateway.taps import DONE

_LOG: Final = structlog.get_logger(__name__)
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request answered completely with status 200, which becomes a record."""

    asked: RequestBody
    route: Route
    arm: Arm
    sample: Sample


async def answer(
    parts: GatewayParts, scope: Scope, receive: Receive, send: Send, *, key: ClientKey | None = None
) -> Answered | None:
    """Read, route and answer a request; None if a shadow may not get a copy.

    ``key`` is the client's; None: everybody may ask for everything.
    """
    with BodyMemory(parts.room, holder=scope["client"][0] if scope["client"] else "") as held:
        try:
            body = await read_body(receive, limit=parts.settings.max_body, held=held)
        except ClientGone:
            return None
        except BodyTooLarge:
            await refuse(parts, refusals.too_large(parts.settings.max_body), send)
            return None
        except BodiesFull:
            await refuse(parts, refusals.NO_ROOM, send)
            return None
        return await _answer(parts, scope, body, receive, send, key=key)


async def refuse(parts: GatewayParts, refusal: GatewayRefusal, send: Send) -> None:
    """Answer without an engine, and count it."""
    await refusal.send(send)
    parts.meters.turned_away(refusal.status)


async def _answer(
    parts: GatewayParts,
    scope: Scope,
    body: bytes,
    receive: Receive,
    send: Send,
    *,
    key: ClientKey | None,
) -> Answered | None:
    complete_at = time.perf_counter()
    asked, route = _resolved(parts, scope, body)
    refusal = _refusal(scope, asked)
    if key is not None and key.adapters is not None:
        if refusal is None and not _may_ask(key, scope, asked):
            refusal = refusals.NOT_FOR_THIS_KEY
        if asked.fields is not None:  # an engine that takes the first of two models finds one
            asked = replace(asked, body=asked.replaced())
    if refusal is not None:
        await refuse(parts, refusal, send)
        return None
    inquiry = Inquiry(parts, scope, asked, route)
    exchange = ForwardedAnswer(parts, inquiry, send, complete_at=complete_at)
    arm = None if route is None else _chosen(route, inquiry, asked)
    whole: Attempt | None = None
    async with Hangup(receive) as hangup:
        whole = await exchange.run(arm, hangup)
    if hangup.gone:
        exchange.hung_up()
    if route is None or whole is None or whole.arm is None or whole.sample is None:
        return None
    return Answered(asked=asked, route=route, arm=whole.arm, sample=whole.sample)


def _resolved(parts: GatewayParts, scope: Scope, body: bytes) -> tuple[RequestBody, Route | None]:
    """Find the route for the body's model name; without one the body is sent on unchanged."""
    if scope["method"] != "POST" or not body:
        return RequestBody(body=body), None
    asked = read(body)
    model = asked.model
    route = None if model is None else parts.book.find(model)
    return asked, route


def _refusal(scope: Scope, asked: RequestBody) -> GatewayRefusal | None:
    """Refuse bodies that no engine would read: they would pass unrouted and uncounted."""
    if scope["method"] != "POST" or scope["path"] not in ASKED:
        return None
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            return refusals.ENCODED
    return refusals.NO_JSON if asked.fields is None else None


def _may_ask(key: ClientKey, scope: Scope, asked: RequestBody) -> bool:
    """True if a key with adapters of its own may ask this; what names no model, it may not."""
    path = scope["path"]
    if path.startswith(f"{MODELS}/"):
        return key.may_ask(path.removeprefix(f"{MODELS}/"))
    if path in READ:
        return True
    return scope["method"] == "POST" and path in ASKED and key.may_ask(asked.model)


def _chosen(route: Route, inquiry: Inquiry, asked: RequestBody) -> Arm | None:
    serving = [arm for arm in route.arms if arm.weight > 0]
    if len(serving) == 1:
        return serving[0]
    subject = inquiry.subject() or asked.conversation()
    point = point_of(route, subject) if subject else random.random()  # noqa: S311 - no secret
    return choose(route, point)


class ForwardedAnswer:
    """An answer on its way to the client; ``complete_at`` is when its request was complete."""

    def __init__(
        self, parts: GatewayParts, inquiry: Inquiry, send: Send, *, complete_at: float
    ) -> None:
        self._parts = parts
        self._inquiry = inquiry
        self._send = send
        self._complete_at = complete_at

    async def run(self, arm: Arm | None, hangup: Hangup) -> Attempt | None:
        """Ask, and pass the answer on; return the attempt if it was complete and a success."""
        inquiry = self._inquiry
        try:
            attempt = await inquiry.first_that_answers(arm)
        except TooSlow:
            inquiry.record(inquiry.last, TIMED_OUT)
            await self._refuse(refusals.TOO_SLOW, hangup)
        except Unreachable:
            inquiry.record(inquiry.last, NO_ANSWER)
            await self._refuse(refusals.UNREACHABLE, hangup)
        else:
            assert attempt.response is not None  # noqa: S101 (first_that_answers says so)
            try:
                whole = await self._pass_on(attempt, attempt.response, hangup)
                return attempt if whole and attempt.response.status == _OK else None
            finally:
                attempt.close()
        return None

    def hung_up(self) -> None:
        """Count a client that left; its partial answer makes no record, as it would seem short."""
        meters, last = self._parts.meters, self._inquiry.last
        meters.broken.labels(self._inquiry.adapter, "client").inc()
        if last is not None and last.sample is not None:
            meters.records.labels(self._inquiry.adapter, "cancelled").inc()

    async def _pass_on(
        self, attempt: Attempt, response: aiohttp.ClientResponse, hangup: Hangup
    ) -> bool:
        """Pass the answer to the client as it comes; False if it broke off."""
        adapter, version, arm = self._inquiry.labels(attempt)
        tracing.note(adapter=adapter, version=version, arm=arm)
        tap, passed = None, headers.to_client(response.raw_headers, self._told(attempt))
        if attempt.sample is not None:
            tap = self._parts.sampler.tap(attempt.sample, response.status, response.headers)
            if tap is not None and attempt.sample.injected:
                passed = [pair for pair in passed if pair[0] != b"content-length"]
        await self._send(
            {"type": "http.response.start", "status": response.status, "headers": passed}
        )
        attempt.passed_at = time.perf_counter()
        last = b""
        try:
            async for piece in response.content.iter_any():
                if attempt.first_byte_at is None:
                    attempt.first_byte_at = time.perf_counter()
                last = piece if tap is None else tap.feed(piece)
                if last.endswith(DONE):
                    hangup.over()
                # where the end is there already, both go at once: a write less, a wake-up less
                if last and not response.content.at_eof():
                    await self._send(
                        {"type": "http.response.body", "body": last, "more_body": True}
                    )
                    last = b""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # returning without the end closes the client's connection: the honest sign
            tracing.note(error=type(error).__name__)
            adapter = self._inquiry.adapter
            self._parts.meters.broken.labels(adapter, "engine").inc()
            _LOG.warning("answer_broken", adapter=adapter, error=type(error).__name__)
            self._inquiry.record(attempt, BROKEN)
            return False
        if tap is not None:
            last += tap.close()
        hangup.over()
        await self._send({"type": "http.response.body", "body": last, "more_body": False})
        attempt.ended_at = time.perf_counter()
        over = partial(self._over, attempt, response.status, stream=_is_stream(response))
        self._parts.afterwards.add(over)
        return True

    def _over(self, attempt: Attempt, status: int, *, stream: bool) -> None:
        """Measure a finished answer, and have its record written; nobody waits any more."""
        adapter, version, arm = self._inquiry.labels(attempt)
        meters = self._parts.meters
        meters.requests.labels(adapter, version, arm, str(status)).inc()
        before = attempt.sent_at - self._complete_at
        after = attempt.passed_at - attempt.answered_at
        meters.overhead.labels(adapter).observe(before + after)
        first_byte = attempt.first_byte_at or attempt.answered_at
        meters.first_byte.labels(adapter, version).observe(first_byte - self._complete_at)
        if attempt.arm is not None and stream:
            self._parts.loading.observe(
                Loaded(adapter, version), first_byte - attempt.sent_at, switched=attempt.switched
            )
        self._inquiry.record(attempt, status)

    async def _refuse(self, refusal: GatewayRefusal, hangup: Hangup) -> None:
        adapter = self._inquiry.adapter
        tracing.note(adapter=adapter)
        self._parts.meters.requests.labels(adapter, "", "", str(refusal.status)).inc()
        hangup.over()
        await refusal.send(self._send)

    def _told(self, attempt: Attempt) -> Mapping[bytes, bytes]:
        if attempt.arm is None:
            return {}
        told = {
            headers.ADAPTER: self._inquiry.adapter.encode(),
            headers.VERSION: attempt.arm.version.encode(),
            headers.ARM: attempt.arm.arm.encode(),
        }
        if attempt.sample is not None:
            # feedback about this answer has to name it
            told[headers.RECORD] = attempt.sample.id.encode()
            told[headers.AT] = attempt.sample.at.isoformat().encode()
        return told


def _is_stream(response: aiohttp.ClientResponse) -> bool:
    return response.headers.get("Content-Type", "").startswith("text/event-stream")
