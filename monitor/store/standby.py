"""Read pages from a standby of the database, while it is close behind.

Pages are read far more often than anything changes, and nothing is decided by them. A standby that
is behind, away or promoted costs a look: the primary is read in its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, TypeVar

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy import Connection, Engine

from monitor.store import teams

T = TypeVar("T")

_LOG = structlog.get_logger(__name__)

MOST_BEHIND: Final = timedelta(seconds=30)
"""Behind by more, it is not read; the service writes its clock every ten seconds."""
LOOK_S: Final = 5.0
"""Seconds after which it is asked again how far behind it is, or whether it is back."""
OWN_S: Final = 30.0
"""Seconds for which the primary is read after a form: its sender looks for what it did."""

_BEHIND: Final = sa.text(
    "SELECT clock_timestamp() - CAST(value ->> 'seen' AS timestamptz) FROM flags"
    " WHERE name = 'clock' AND pg_is_in_recovery()"
)

_PAGES: Final[ContextVar[bool]] = ContextVar("driftline_pages", default=False)


def read_pages(*, on: bool = True) -> None:
    """Let the transactions of this request read from the standby, where there is one."""
    _PAGES.set(on)


def reading_pages() -> bool:
    """True if this request only reads pages."""
    return _PAGES.get()


@contextmanager
def primary() -> Iterator[None]:
    """Read the primary inside, also for a page: keys are made and revoked there."""
    before = _PAGES.set(False)
    try:
        yield
    finally:
        _PAGES.reset(before)


def behind(tx: Connection) -> timedelta | None:
    """Return how long ago the service wrote what a standby has; None: none, or no standby."""
    found: timedelta | None = tx.execute(_BEHIND).scalar_one_or_none()
    return found


@dataclass(frozen=True, slots=True)
class StandbyAnswer(Generic[T]):
    """An answer that was read from the standby; it may be None."""

    value: T


class Standby:
    """A pool of connections to one standby. Thread-safe."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._until = clock()
        """Until then the last look counts."""
        self._fits = False
        self._why = ""
        self._own_until = clock()

    def changed(self) -> None:
        """Note that somebody sends a form to this process."""
        self._own_until = self._clock() + OWN_S

    def read(self, work: Callable[[Connection], T]) -> StandbyAnswer[T] | None:
        """Call ``work`` in one transaction of the standby; None if the primary is to be read."""
        if self._clock() < self._own_until or not self._is_close():
            return None
        try:
            with self._engine.begin() as connection:
                teams.enter(connection)
                return StandbyAnswer(work(connection))
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, psycopg.Error) as error:
            self._leave(type(error).__name__)
            return None

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _is_close(self) -> bool:
        with self._lock:
            if self._clock() < self._until:
                return self._fits
            self._until = self._clock() + LOOK_S  # others go by the last look meanwhile
        try:
            with self._engine.begin() as connection:
                late = behind(connection)
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, psycopg.Error) as error:
            self._leave(type(error).__name__)
            return False
        if late is None:
            self._leave("it is no standby of this service's database")
        elif late > MOST_BEHIND:
            self._leave("it is behind")
        else:
            if self._why:
                _LOG.info("standby_read_again")
            self._fits, self._why = True, ""
        return self._fits

    def _leave(self, why: str) -> None:
        """Read the primary until the next look; say a new reason once."""
        if why != self._why:
            _LOG.warning("standby_not_read", reason=why)
        with self._lock:
            self._fits, self._why = False, why
            self._until = self._clock() + LOOK_S
