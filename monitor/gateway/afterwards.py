"""Work left when an answer is over: counting it, and writing its record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

_LOG: Final = structlog.get_logger(__name__)

COMPANY: Final = 0.25
"""Seconds to wait for other answers' work; records wait longer than that anyway."""

AT_ONCE: Final = 16
"""Answers worked off before the event loop gets its turn: .3 ms of work."""


class Afterwards:
    """Batches this work, which would otherwise take the processor from waiting clients."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def add(self, work: Callable[[], None]) -> None:
        """Schedule work, to run soon or at :meth:`settle`."""
        if not self._due:
            asyncio.get_running_loop().call_later(COMPANY, self._turn)
        self._due.append(work)

    def settle(self) -> None:
        """Run all remaining work now."""
        self._do(len(self._due))

    def _turn(self) -> None:
        self._do(AT_ONCE)
        if self._due:
            asyncio.get_running_loop().call_soon(self._turn)

    def _do(self, most: int) -> None:
        due, self._due = self._due[:most], self._due[most:]
        for work in due:
            try:
                work()
            except Exception as error:  # noqa: BLE001 (one of many, and others wait behind it)
                _LOG.warning("answer_not_counted", error=type(error).__name__)
