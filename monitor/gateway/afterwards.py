"""What is left to do when an answer is over: counting it, and writing its record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

_LOG: Final = structlog.get_logger(__name__)

COMPANY: Final = 0.25
"""Seconds that it waits for that of other answers: records wait longer than that anyway."""

AT_ONCE: Final = 16
"""Answers after which whoever waits for the loop comes in between: .3 ms of work, rarely a few."""


class Afterwards:
    """Does it in company: at once it would take the processor from those who wait for answers."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def add(self, work: Callable[[], None]) -> None:
        """Have it done soon, or by :meth:`settle`."""
        if not self._due:
            asyncio.get_running_loop().call_later(COMPANY, self._turn)
        self._due.append(work)

    def settle(self) -> None:
        """Do now all that is left to do."""
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
