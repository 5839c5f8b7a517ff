"""End a stopped process: in order if possible, in time in any case."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

_LOG = structlog.get_logger(__name__)

ORDERLY: Final = timedelta(seconds=18)
"""Work in hand may take this long after the stop signal; leases cover the rest."""
LAST: Final = timedelta(seconds=23)
"""Work not finished this long after the signal is abandoned."""
KILLING: Final = timedelta(seconds=1)
LATE: Final = 1
"""The exit status of a process that left work unfinished."""


class Shutdown:
    """Begins with the first stop signal and has a limit, whatever children and servers do.

    A stopped database, or a disk that does not answer, must not keep a broken process from being
    restarted.
    """

    def __init__(self, *, last: timedelta = LAST, leave: Callable[[int], None] = os._exit) -> None:
        self._last = last
        self._leave = leave
        self._until: float | None = None
        self._kills: list[Callable[[], object]] = []

    def kills(self, kill: Callable[[], object]) -> None:
        """Register a call before the process is left in disorder; the call may hang."""
        self._kills.append(kill)

    def begin(self) -> None:
        """Start the limit; repeated calls change nothing. Safe in a signal handler."""
        if self._until is None:
            self._until = time.monotonic() + ORDERLY.total_seconds()
            threading.Thread(target=self._watch, name="ending", daemon=True).start()

    def left(self, most: timedelta) -> float:
        """Return the seconds that a part may take: ``most``, or what the other parts have left."""
        if self._until is None:
            return most.total_seconds()
        return max(0.1, min(most.total_seconds(), self._until - time.monotonic()))

    def _watch(self) -> None:
        time.sleep(self._last.total_seconds())
        _LOG.error("ended_in_disorder", after_seconds=self._last.total_seconds())
        killers = [threading.Thread(target=kill, daemon=True) for kill in self._kills]
        for killer in killers:
            killer.start()
        deadline = time.monotonic() + KILLING.total_seconds()
        for killer in killers:
            killer.join(max(0.0, deadline - time.monotonic()))
        self._leave(LATE)
