"""The size of a request body, counted as it streams in.

``Content-Length`` is only a hint: a chunked body has none. Bytes over the limit are thrown
away as they come, so memory stays flat, and up to ``DRAINED`` times the limit is read so
that an honest client gets to see the 413 instead of a reset connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.api.problems import Problem, problem_response

DRAINED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """Largest bodies in bytes."""

    ordinary: int = 8 * 1024 * 1024
    reference_upload: int = 1024 * 1024 * 1024

    def of(self, method: str, path: str) -> int:
        """Return the limit of one request."""
        upload = method == "POST" and path.startswith("/v1/") and path.endswith("/reference")
        return self.reference_upload if upload else self.ordinary


class LimitBody:
    """ASGI middleware: answer 413 to a body over its limit."""

    def __init__(self, app: ASGIApp, *, limits: BodyLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limits.of(scope["method"], scope["path"])
        if _declared(scope) > limit * DRAINED:
            answer = problem_response(_too_large(limit), instance=scope["path"])
            await answer(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _counted(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            await _drain(receive, message, limit * (DRAINED - 1))
            raise _too_large(limit)
        return message

    return counted


async def _drain(receive: Receive, message: Message, most: int) -> None:
    left = most
    while left > 0 and message.get("more_body", False):
        message = await receive()
        left -= len(message.get("body", b""))


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        f"The body is over {limit:,} bytes; send it in smaller requests.",
        kind="body-too-large",
    )
