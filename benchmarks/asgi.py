"""Call an ASGI application in this process: what is timed is the service, not a client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Application = Callable[[Any, Any, Any], Awaitable[None]]

_SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "path": "/v1/records",
    "raw_path": b"/v1/records",
    "query_string": b"",
    "scheme": "http",
    "root_path": "",
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 2),
}


async def post(application: Application, body: bytes) -> int:
    """Send one body and return the status of the answer."""
    status = 0
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await application({**_SCOPE, "headers": headers}, receive, send)
    return status


async def post_all(application: Application, bodies: Sequence[bytes], *, at_once: int) -> None:
    """Send bodies with so many senders; raise unless every answer is a success."""
    left = list(bodies)

    async def sender() -> None:
        while left:
            status = await post(application, left.pop())
            if status not in {200, 202}:
                raise RuntimeError(f"answered {status}")

    await asyncio.gather(*(sender() for _ in range(at_once)))


async def read_body(receive: Any) -> bytes:
    """Read a request's body."""
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def answer(send: Any, status: int) -> None:
    """Answer with an empty body."""
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})
