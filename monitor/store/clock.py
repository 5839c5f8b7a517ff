"""The database's clock, and whether it is believed enough to delete by it.

Only one clock decides what is due, what ends and what is old: the database's. It may be
wrong as well, though, together with the whole machine. So each daemon compares it, every
few seconds, with where it stood before and the time that went by; how long it has run on
steadily is kept in the database. What is old is deleted after a day of that, and a day's
worth at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import JSONB, insert

from monitor.store.database import Database
from monitor.store.tables import flags

NAME: Final = "clock"
STRAY: Final = timedelta(minutes=5)
"""A clock that moved this much more, or less, than time went by has jumped."""
ABSENCE: Final = timedelta(days=1)
"""A service may be off this long: longer, nobody can tell that from a jump."""
SETTLING: Final = timedelta(days=1)
"""How long the clock must have run on before what is old by it is deleted."""
STEP: Final = timedelta(days=1)
"""How much further deletions may reach in one pass."""
STEP_EVERY: Final = timedelta(hours=1)
"""How often they may, however often daemons start."""
ASKED_EVERY: Final = 5.0
"""Seconds after which whoever wants the database's time asks it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What is known of the database's clock.

    seen
        What it said at the last look.
    steady_since
        Since when, by itself, it has neither jumped nor been out of sight for a day.
    jumped
        By how much it jumped then; zero at the first look of all.
    reached, reached_at
        Deletions go by this time, which follows the clock a day at a time; when it last did.
    """

    seen: datetime
    steady_since: datetime
    jumped: timedelta
    reached: datetime
    reached_at: datetime


def now(tx: Connection) -> datetime:
    """Read the database's clock, not the time at which this transaction began."""
    found: datetime = tx.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found


class DatabaseClock:
    """Gives the database's time without asking it each time; :func:`now` is the exact one.

    Between two answers it goes on by this machine's monotonic clock, which nobody sets. While
    the database does not answer, the last answer counts. Thread-safe; it asks at once.
    """

    def __init__(
        self, database: Database, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._asking = threading.Lock()
        self._answer = self._asked()
        self._tried = self._answer[1]

    def __call__(self) -> datetime:
        """Give the time, at most a few seconds behind a jump of the database's clock."""
        if self._monotonic() - self._tried >= ASKED_EVERY and self._asking.acquire(blocking=False):
            try:
                self._tried = self._monotonic()
                self._answer = self._asked()
            except (sa.exc.DBAPIError, psycopg.Error):
                pass  # what needs the database says so itself
            finally:
                self._asking.release()
        said, at = self._answer
        return said + timedelta(seconds=self._monotonic() - at)

    def _asked(self) -> tuple[datetime, float]:
        said = self._database.run(now, attempts=1)
        return said, self._monotonic()


def looked(
    before: Clock | None, *, now: datetime, elapsed: timedelta | None, newest: datetime
) -> Clock:
    """Take a look into account.

    Parameters
    ----------
    elapsed
        Time that truly went by since ``before``, where somebody was there to measure it.
    newest
        The date of the newest data, beyond which a first look does not believe the clock.
    """
    if before is None:
        return Clock(
            seen=now,
            steady_since=now,
            jumped=timedelta(),
            reached=min(now, newest),
            reached_at=now,
        )
    jumped = now - before.seen - (elapsed or timedelta())
    most = STRAY if elapsed is not None or jumped < timedelta() else ABSENCE
    seen = replace(
        before,
        seen=now,
        reached=min(before.reached, now),
        reached_at=min(before.reached_at, now),
    )
    return seen if abs(jumped) <= most else replace(seen, steady_since=now, jumped=jumped)


def advanced(clock: Clock) -> Clock:
    """Let deletions reach a step further, as far as the clock goes, if it is time for one."""
    if clock.seen - clock.reached_at < STEP_EVERY:
        return clock
    return replace(clock, reached=min(clock.seen, clock.reached + STEP), reached_at=clock.seen)


def doubt(clock: Clock, *, skew: timedelta, tolerated: timedelta) -> str | None:
    """Say why nothing ends or expires by this clock; None where it may.

    ``skew`` is this machine's clock less the database's.
    """
    if abs(skew) > tolerated:
        return skewed(skew)
    if not clock.jumped or clock.seen - clock.steady_since >= SETTLING:
        return None
    way = "ahead" if clock.jumped > timedelta() else "back"
    by = timedelta(seconds=round(abs(clock.jumped).total_seconds()))
    return f"the database's clock went {way} by {by}; {_from(clock)}"


def withheld(clock: Clock, *, skew: timedelta, tolerated: timedelta) -> str | None:
    """Say why nothing is deleted by this clock; None where what is old may be."""
    doubted = doubt(clock, skew=skew, tolerated=tolerated)
    if doubted is None and clock.seen - clock.steady_since < SETTLING:
        return f"the database's clock was first looked at lately; {_from(clock)}"
    return doubted


def _from(clock: Clock) -> str:
    return f"by it from {(clock.steady_since + SETTLING).isoformat(timespec='minutes')} on"


def skewed(skew: timedelta) -> str:
    """Say that one of two clocks is wrong."""
    way = "ahead of" if skew > timedelta() else "behind"
    by = timedelta(seconds=round(abs(skew).total_seconds()))
    return f"this machine's clock is {by} {way} the database's"


@dataclass(slots=True)
class Watcher:
    """One process's looks at the clock, which its own monotonic one is held against."""

    monotonic: Callable[[], float] = time.monotonic
    _last: tuple[datetime, float] | None = None

    def look(self, tx: Connection) -> Clock:
        """Look, and write down what is known now; what waits for a time that was wrong is due."""
        tx.execute(_FIRST)
        row = tx.execute(_READ).one()
        stands, before, newest = row.stands, _clock(row.value), row.newest
        moment = self.monotonic()
        elapsed = None
        if before is not None and self._last is not None:
            # others look too: what they saw counts from the time at which we did
            since = timedelta(seconds=moment - self._last[1])
            elapsed = max(timedelta(), since - max(timedelta(), before.seen - self._last[0]))
        found = looked(before, now=stands, elapsed=elapsed, newest=newest or stands)
        if before is not None and found.jumped < timedelta() and found.steady_since == stands:
            rewind(tx, by=-found.jumped)
        write(tx, found)
        self._last = (stands, moment)
        return found


def write(tx: Connection, clock: Clock) -> None:
    """Keep what is known of the clock."""
    value = {
        "seen": clock.seen.isoformat(),
        "steady_since": clock.steady_since.isoformat(),
        "jumped_seconds": clock.jumped.total_seconds(),
        "reached": clock.reached.isoformat(),
        "reached_at": clock.reached_at.isoformat(),
    }
    _add(tx, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Why nothing is deleted, None where it is, and how many days of each table would go."""

    reason: str | None = None
    would_drop: Mapping[str, int] = field(default_factory=dict)


def hold(tx: Connection, held: Held) -> None:
    """Write down whether deletions are held up, for people to read."""
    _add(tx, {"withheld": held.reason, "would_drop": dict(held.would_drop)})


def held(tx: Connection) -> Held:
    """Read it; of a database that nobody has looked at nothing is known."""
    value = tx.execute(_VALUE).scalar_one_or_none() or {}
    return Held(reason=value.get("withheld"), would_drop=value.get("would_drop", {}))


def _add(tx: Connection, value: Mapping[str, Any]) -> None:
    tx.execute(
        sa.update(flags)
        .where(flags.c.name == NAME)
        .values(value=flags.c.value.op("||")(sa.cast(dict(value), JSONB)), at=sa.func.now())
    )


def advance(tx: Connection) -> datetime:
    """Take a step, if it is time for one; give what deletions go by now."""
    tx.execute(_READ)  # locks: of several daemons one takes it
    found = read(tx)
    if found is None:
        raise RuntimeError("nobody has looked at the clock yet")
    stepped = advanced(found)
    write(tx, stepped)
    return stepped.reached


def read(tx: Connection) -> Clock | None:
    """Give what was seen at the last look; None before the first."""
    value = tx.execute(_VALUE).scalar_one_or_none()
    return None if value is None else _clock(value)


def rewind(tx: Connection, *, by: timedelta) -> None:
    """Bring back what was put off to a time that was wrong, after the clock went back.

    Otherwise work that was due in five minutes would be due in four months, and what a dead
    process held would be held as long. Evaluations under way are taken back: they would put
    the next one off to that time yet.
    """
    tx.execute(_TAKE_BACK)
    for table, column in _PUT_OFF:
        tx.execute(
            sa.text(
                f'UPDATE "{table}" SET {column} = greatest(clock_timestamp(), {column} - :by)'
                f" WHERE {column} > clock_timestamp()"
            ),
            {"by": by},
        )


_TAKE_BACK: Final = sa.text(
    "UPDATE tasks SET epoch = epoch + 1, lease_until = NULL, lease_owner = NULL,"
    " next_due_at = clock_timestamp() WHERE lease_until IS NOT NULL"
)
_PUT_OFF: Final = (
    ("tasks", "next_due_at"),
    ("tasks", "next_window_start"),
    ("tasks", "requested_at"),
    ("latest_scores", "at"),
    ("pending_texts", "lease_until"),
    ("references", "lease_until"),
    ("selftests", "requested_at"),
    ("selftests", "lease_until"),
    ("outbox", "next_at"),
    ("outbox", "lease_until"),
    ("canaries", "next_look_at"),
    ("canaries", "lease_until"),
)
"""When each kind of work is due or free again, and the newest score, which an older one
does not replace."""

_VALUE: Final = sa.select(flags.c.value).where(flags.c.name == NAME)
_FIRST: Final = (
    insert(flags).values(name=NAME, value={}, actor="driftline").on_conflict_do_nothing()
)
_READ: Final = sa.text(
    "SELECT clock_timestamp() AS stands, value,"
    " (SELECT finished_at FROM evaluations ORDER BY id DESC LIMIT 1) AS newest"
    " FROM flags WHERE name = 'clock' FOR UPDATE OF flags"
)


def _clock(value: Mapping[str, Any]) -> Clock | None:
    if "seen" not in value:
        return None
    return Clock(
        seen=datetime.fromisoformat(value["seen"]),
        steady_since=datetime.fromisoformat(value["steady_since"]),
        jumped=timedelta(seconds=value["jumped_seconds"]),
        reached=datetime.fromisoformat(value["reached"]),
        reached_at=datetime.fromisoformat(value["reached_at"]),
    )
