"""Know whether the database has disk space for writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import psycopg
import sqlalchemy as sa

REMEMBERED: Final = 30.0
"""Seconds for which a disk-full error counts, since writes to other tables may succeed."""
DISK_FULL: Final = "disk-full: the database's disk has no room; nothing more is taken in"


class DiskRoom:
    """The database's disk space: known by errors, and by looking at a local disk.

    Parameters
    ----------
    short
        True if the disk runs short; called often. None if the disk is another machine's.
    """

    def __init__(
        self,
        short: Callable[[], bool] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seen = short is not None
        """True if the disk is looked at; else only errors tell."""
        self._short = short or (lambda: False)
        self._clock = clock
        self._refused = float("-inf")

    def notice(self, error: BaseException) -> None:
        """Note an error of any kind."""
        if is_disk_full(error):
            self._refused = self._clock()

    def full(self) -> bool:
        """True if the disk is full or runs short."""
        return self._clock() - self._refused < REMEMBERED or self._short()


def is_disk_full(error: BaseException) -> bool:
    """True if the server had no disk space for the write."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return isinstance(cause, psycopg.errors.DiskFull)
