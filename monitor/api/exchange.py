"""The frame of every exchange: request id, log line, security headers, last error handler.

The log line carries the route's template and numbers, never a body, a key or a query.
"""

from __future__ import annotations

import re
import secrets
import time
import traceback
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor import tracing
from monitor.api.access import key_of
from monitor.api.problems import answer as answer_problem
from monitor.api.problems import internal_error
from monitor.store import teams
from monitor.store.standby import read_pages

_LOG = structlog.get_logger(__name__)

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
GONE: Final = 499
"""Status in the log where a client left, or was disconnected, before its body was complete."""

QUIET: Final = frozenset({"/livez", "/readyz", "/metrics"})

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'"
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # without one, forms of ours have no `Origin` either
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class ExchangeMiddleware:
    """ASGI middleware, outermost."""

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry) -> None:
        self._app = app
        self._requests = Counter(
            "driftline_http_requests",
            "HTTP requests answered",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "driftline_http_request_seconds",
            "Seconds until an answer was complete (long-polls included)",
            ("route",),
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in QUIET:
            await self._exchange(scope, receive, send)
        else:
            with tracing.request("request", scope["headers"]):
                await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        # a pipelined request begins in the context of the one before it
        teams.see({})
        read_pages(on=False)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request=request_id)
        answer = _Answer(send, request_id=request_id)
        started = time.perf_counter()
        try:
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            answer.status = answer.status or GONE
        except Exception as error:
            _log_fault(error)
            if answer.status is not None:
                raise  # the answer is half sent: only closing the connection is honest now
            body = answer_problem(Request(scope), internal_error())
            await body(scope, receive, answer.send)
        finally:
            self._count(scope, int(answer.status or 500), time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown").removeprefix("/v1")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if scope["path"] not in QUIET:
            key = key_of(scope)
            who = {} if key is None else {"key": key.name[:64]}
            ms = round(seconds * 1e3, 1)
            _LOG.info("request", method=method, route=route, status=status, ms=ms, **who)
            tracing.note(f"{method} {route}", method=method, route=route, status=status)


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class _Answer:
    """Passes messages on, adds our headers to the first, and notes the status."""

    def __init__(self, send: Send, *, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            headers["X-Request-Id"] = self._request_id
        await self._send(message)


def _log_fault(error: Exception) -> None:
    """Log where the error arose, but not its message, which may repeat a prompt or a secret."""
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    _LOG.error("request_failed", error=type(error).__name__, frames=where)
