"""Cancel the engine's request when its client goes away."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from starlette.types import Receive

from monitor.room import Room

GRACE: Final = 0.02
"""Seconds after which to watch for a disconnect."""


class ClientGone(Exception):  # noqa: N818 (named as what happened)
    """The client hung up while its body was read."""


class BodyTooLarge(Exception):  # noqa: N818 (named as what happened)
    """The body has more bytes than permitted."""


class BodiesFull(Exception):  # noqa: N818 (named as what happened)
    """Other requests' bodies use all the memory for bodies."""


class BodyMemory:
    """The share of a request's body in the common memory, until the request is over."""

    def __init__(self, room: Room, *, holder: str) -> None:
        self._room = room
        self._holder = holder
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._size:
            self._room.give(self._size, holder=self._holder)

    def take(self, size: int) -> None:
        """Count more bytes; raises :class:`BodiesFull` if there is no room for them."""
        if not self._room.take(size, holder=self._holder):
            raise BodiesFull
        self._size += size


async def read_body(receive: Receive, *, limit: int, held: BodyMemory) -> bytes:
    """Read a request's body.

    Raises
    ------
    BodyTooLarge, ClientGone, NoRoom
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise BodyTooLarge
        if part:
            held.take(len(part))
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


class Hangup:
    """Cancels the task that enters it when the client disconnects; then ``gone`` is true.

    The body must have been read before, so that only a disconnect can be received here. A task of
    its own waits for the disconnect; answers that come within ``GRACE`` need no such task.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._over = False
        self._watch: asyncio.Task[None] | None = None
        self.gone = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine runs in one)
        self._task = task
        self._begin = asyncio.get_running_loop().call_later(GRACE, self._start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._over = True
        self._begin.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if not self.gone or kind is None or not issubclass(kind, asyncio.CancelledError):
            return False
        return self._task.uncancel() == 0

    def over(self) -> None:
        """From now on, a disconnect ends a complete answer."""
        self._over = True

    def _start(self) -> None:
        self._watch = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._over:
            self.gone = True
            self._task.cancel()
