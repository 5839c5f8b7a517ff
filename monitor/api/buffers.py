"""Raw request bodies, and the memory they may take together.

An ingest body is held whole until its records are durable. The sum over all requests in
flight is bounded; whoever comes when it is used up is told to come again, before a byte
of theirs is kept.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import Depends, Request

from monitor.api.problems import Problem

MOST_BUFFERED: Final = 64 * 1024 * 1024


class Buffers:
    """Counts the bytes of bodies in flight; lives on the event loop, so it needs no lock."""

    def __init__(self, most: int = MOST_BUFFERED) -> None:
        self._most = most
        self.used = 0

    def take(self, size: int) -> None:
        """Count ``size`` more bytes; 429 when that is more than there may be."""
        if self.used + size > self._most:
            raise Problem(
                429,
                "Too many bodies are in flight; send this one again.",
                kind="overloaded",
                headers={"Retry-After": str(random.randint(5, 30))},  # noqa: S311 (jitter)
            )
        self.used += size

    def give(self, size: int) -> None:
        """Count ``size`` bytes less."""
        self.used -= size


async def raw_body(request: Request) -> AsyncIterator[bytes]:
    """Read the body into memory that is accounted for until the answer is sent."""
    buffers: Buffers = request.app.state.buffers
    chunks: list[bytes] = []
    taken = 0
    try:
        async for chunk in request.stream():
            buffers.take(len(chunk))
            taken += len(chunk)
            chunks.append(chunk)
        yield b"".join(chunks)
    finally:
        buffers.give(taken)


RawBody = Annotated[bytes, Depends(raw_body)]
