"""Limits on request bodies: first the key, then the number of bytes as they stream in.

No body is read for a caller without a key; FastAPI alone would read JSON first.
``Content-Length`` is only a hint: a chunked body has none. Bytes over the limit are
discarded as they come, so memory stays flat. Up to ``DRAINED`` times the limit is read, so
that an honest client sees the 413 instead of a reset connection.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.api.access import BEARER, identify
from monitor.api.problems import Problem, problem_response
from monitor.room import Room

DRAINED: Final = 4
KEYED: Final = "/v1/"
"""Paths below this prefix take bodies only from callers with a key."""

MOST_HELD: Final = 64 * 1024 * 1024
"""Most bytes of all bodies together whose requests are not answered yet."""

_NOBODY: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """Largest bodies in bytes."""

    ordinary: int = 8 * 1024 * 1024
    reference_upload: int = 1024 * 1024 * 1024

    def of(self, method: str, path: str) -> int:
        """Return the limit of one request."""
        upload = method == "POST" and path.startswith(KEYED) and path.endswith("/reference")
        return self.reference_upload if upload else self.ordinary


class LimitBody:
    """ASGI middleware: 401 before a body is read, 413 over its limit, 429 over the memory."""

    def __init__(self, app: ASGIApp, *, limits: BodyLimits) -> None:
        self._app = app
        self._limits = limits
        self._room = Room(MOST_HELD)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limits.of(scope["method"], scope["path"])
        if _declared(scope) > limit * DRAINED:
            answer = problem_response(_too_large(limit), instance=scope["path"])
            await answer(scope, receive, send)
            return
        # uploads are passed on piece by piece, and never held
        held = limit <= self._limits.ordinary
        body = _Body(scope, receive, limit=limit, room=self._room if held else None)
        try:
            await self._app(scope, body.receive, send)
        finally:
            body.give_back()


class _Body:
    """The body of one request on its way in."""

    def __init__(self, scope: Scope, receive: Receive, *, limit: int, room: Room | None) -> None:
        self._scope = scope
        self._receive = receive
        self._limit = limit
        self._room = room
        self._sender = _NOBODY
        self._checked = not (scope["path"].startswith(KEYED) and _has_body(scope))
        self._size = 0
        self._held = 0

    async def receive(self) -> Message:
        """Read the next message, after checking the caller's key once."""
        if not self._checked:
            request = Request(self._scope)
            self._sender = (await identify(request, await BEARER(request))).id
            self._checked = True
        message = await self._receive()
        size = len(message.get("body", b""))
        self._size += size
        if self._size > self._limit:
            await _drain(self._receive, message, self._limit * (DRAINED - 1))
            raise _too_large(self._limit)
        if self._room is not None and size:
            if not self._room.take(size, holder=self._sender):
                raise _no_room()
            self._held += size
        return message

    def give_back(self) -> None:
        """Release the body's memory, because the request is answered."""
        if self._room is not None and self._held:
            self._room.give(self._held, holder=self._sender)


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def _drain(receive: Receive, message: Message, most: int) -> None:
    left = most
    while left > 0 and message.get("more_body", False):
        message = await receive()
        left -= len(message.get("body", b""))


def _no_room() -> Problem:
    return Problem(
        429,
        "Too many bodies are in flight; send this one again.",
        kind="overloaded",
        headers={"Retry-After": str(random.randint(5, 30))},  # noqa: S311 (jitter)
    )


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        f"The body is over {limit:,} bytes; send it in smaller requests.",
        kind="body-too-large",
    )
