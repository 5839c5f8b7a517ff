"""Whether the database has room to write what comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import psycopg
import sqlalchemy as sa

REMEMBERED: Final = 30.0
"""Seconds for which a refusal for want of room stands: writes of other tables may go on."""
DISK_FULL: Final = "disk-full: the database's disk has no room; nothing more is taken in"


class Room:
    """What is known of it: by refusals, and by a look at the disk where that is ours.

    Parameters
    ----------
    short
        Whether the disk runs short; asked often. None: the disk is another machine's.
    """

    def __init__(
        self,
        short: Callable[[], bool] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seen = short is not None
        """Whether the disk is looked at; else only refusals tell of it."""
        self._short = short or (lambda: False)
        self._clock = clock
        self._refused = float("-inf")

    def notice(self, error: BaseException) -> None:
        """Take an error into account, whatever it is."""
        if is_disk_full(error):
            self._refused = self._clock()

    def full(self) -> bool:
        """Whether the disk is full or runs short."""
        return self._clock() - self._refused < REMEMBERED or self._short()


def is_disk_full(error: BaseException) -> bool:
    """Whether the server had no room for what was written."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return isinstance(cause, psycopg.errors.DiskFull)
