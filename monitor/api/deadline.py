"""Every request is answered in time, whatever the database does.

A thread that waits for a silent server cannot be interrupted. It is left alone, and its
caller gets an answer that says to check and try again.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.api.problems import Problem, problem_response

_LOG: Final = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 10

_ASKING: Final = ("/answers", "/test")
"""Ends of paths that wait for engines or receivers without a time in the request."""


class Deadline:
    """ASGI middleware: 503 where no answer has begun within ``limit`` of the request's last byte.

    ``longest_wait`` is added where the caller asks to wait, or engines and receivers are asked.
    """

    def __init__(self, app: ASGIApp, *, limit: timedelta, longest_wait: timedelta) -> None:
        self._app = app
        self._limit = limit.total_seconds()
        self._longest_wait = longest_wait.total_seconds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        task = asyncio.create_task(self._answer(scope, exchange))
        try:
            late = await exchange.is_late(task, self._of(scope))
        except BaseException:
            task.cancel()
            raise
        if not late:
            await task
            return
        task.cancel()
        task.add_done_callback(_let_go)
        _LOG.warning(
            "deadline_passed",
            route=getattr(scope.get("route"), "path", "unknown"),
            seconds=self._of(scope),
        )
        await problem_response(_too_late(), instance=scope["path"])(scope, receive, send)

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        await self._app(scope, exchange.receive, exchange.send)

    def _of(self, scope: Scope) -> float:
        waits = scope["path"].endswith(_ASKING) or b"wait=" in scope["query_string"]
        return self._limit + (self._longest_wait if waits else 0.0)


class _Exchange:
    """One request's exchange and its timer; after the deadline nothing more is sent."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._reading = False
        self._late = False
        self.begun = asyncio.Event()

    async def receive(self) -> Message:
        self._reading = True
        try:
            return await self._receive()
        finally:
            self._reading = False
            self._since = self._loop.time()

    async def send(self, message: Message) -> None:
        self.begun.set()
        if not self._late:
            await self._send(message)

    async def is_late(self, task: asyncio.Task[None], limit: float) -> bool:
        """Wait until the answer begins, the task ends, or the time is up."""
        begun = asyncio.create_task(self.begun.wait())
        try:
            while not (task.done() or begun.done()):
                left = self._since + limit - self._loop.time()
                if left <= 0 and not self._reading:
                    self._late = True
                    return True
                await asyncio.wait(
                    {task, begun}, timeout=max(left, 1.0), return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            begun.cancel()
        return False


def _let_go(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # the caller has gone


def _too_late() -> Problem:
    return Problem(
        503,
        "This took too long, and may still be done: look before you send it again.",
        kind="too-late",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )
