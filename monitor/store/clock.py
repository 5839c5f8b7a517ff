"""Judge whether the database's clock can be trusted enough to delete by it.

One clock decides what is due, what ends and what is old: the database's. It too can be wrong,
together with its machine. So each daemon compares it every few seconds with its last value and the
elapsed time, and the database keeps how long the clock has run steadily. Old data is deleted only
after a steady day, and a day's worth at a time. The database also keeps how far the clock jumped
ahead: deletions use the clock less that jump, until a person confirms it.

Terms use :func:`end`, and durations that must have passed use :func:`sure`.
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

from monitor.store import wakeups
from monitor.store.database import Database
from monitor.store.tables.traffic import flags

NAME: Final = "clock"
STRAY: Final = timedelta(minutes=5)
"""A clock that differs this much from the elapsed time has jumped."""
ABSENCE: Final = timedelta(days=1)
"""The longest stop of the service that is told apart from a jump."""
BELIEVED: Final = timedelta(days=1)
"""A jump ahead of at most this is accepted once the clock has settled."""
BELIEVED_ABSENCE: Final = timedelta(days=7)
"""The same if no daemon ran meanwhile: mostly the service was off."""
SETTLING: Final = timedelta(days=1)
"""How long the clock must run steadily before old data is deleted."""
STEP: Final = timedelta(days=1)
"""How much further deletions may reach in one pass."""
STEP_EVERY: Final = timedelta(hours=1)
"""The shortest time between two passes, however often daemons start."""
ASKED_EVERY: Final = 5.0
"""Seconds after which the database is asked for its time again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The state of the database's clock.

    seen
        Its time at the last look.
    steady_since
        Since when it has neither jumped nor gone unwatched for a day, by its own time.
    jumped
        The size of the last jump; zero after the first look.
    reached, reached_at
        The time that deletions use, which follows the clock a day at a time, and when it last
        moved.
    ahead
        How far ahead it is because of recent jumps, all added up, as far as no person confirmed
        them. A jump back is forgotten once the clock has settled: a later jump counts by itself.
    """

    seen: datetime
    steady_since: datetime
    jumped: timedelta
    reached: datetime
    reached_at: datetime
    ahead: timedelta = timedelta()

    @property
    def believed(self) -> datetime:
        """Its time, less the unconfirmed jump."""
        return self.seen - max(timedelta(), self.ahead)


def now(tx: Connection) -> datetime:
    """Read the database's clock, not the time at which this transaction began."""
    found: datetime = tx.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found


class DatabaseClock:
    """The database's time without a query each time; :func:`now` is exact.

    Between two queries, this machine's monotonic clock carries it forward. While the database does
    not answer, the last answer counts. Thread-safe; queries at once when constructed.
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
        """Return the time, at most a few seconds behind a jump of the database's clock."""
        if self._monotonic() - self._tried >= ASKED_EVERY and self._asking.acquire(blocking=False):
            try:
                self._tried = self._monotonic()
                self._answer = self._asked()
            except (sa.exc.DBAPIError, psycopg.Error):
                pass  # callers that need the database raise the error themselves
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
    """Update the clock's state with a look.

    Parameters
    ----------
    elapsed
        The measured time since ``before``; None if no process measured it.
    newest
        The date of the newest data, beyond which a first look does not trust the clock.
    """
    if before is None:
        jumped = max(timedelta(), now - newest)
        first = Clock(
            seen=now, steady_since=now, jumped=timedelta(), reached=min(now, newest), reached_at=now
        )
        return replace(first, ahead=jumped if jumped > BELIEVED_ABSENCE else timedelta())
    jumped = now - before.seen - (elapsed or timedelta())
    unseen = elapsed is None and jumped > timedelta()
    found = replace(before, seen=now, reached_at=min(before.reached_at, now))
    if abs(jumped) > (ABSENCE if unseen else STRAY):
        off = unseen and jumped <= BELIEVED_ABSENCE
        ahead = before.ahead if off else before.ahead + jumped
        found = replace(found, steady_since=now, jumped=jumped, ahead=ahead)
    elif now - before.steady_since >= SETTLING and before.ahead <= BELIEVED:
        found = replace(found, ahead=timedelta())
    return replace(found, reached=min(before.reached, found.believed))


def advanced(clock: Clock) -> Clock:
    """Let deletions reach a step further, if a step is due and allowed."""
    if clock.seen - clock.reached_at < STEP_EVERY:
        return clock
    reached = min(clock.believed, clock.reached + STEP)
    return replace(clock, reached=reached, reached_at=clock.seen)


def sure(clock: Clock | None, since: datetime, *, now: datetime) -> datetime:
    """Return the time since which time has surely passed: ``since``, or a later jump.

    Durations restart at a jump, so that no jump completes one.
    """
    if clock is None or not clock.jumped or clock.steady_since > now:
        return since
    return clock.steady_since if since > now or since < clock.steady_since else since


def end(clock: Clock | None, until: datetime, *, now: datetime) -> datetime:
    """Return the end of a term; if the clock jumped past it, the term lasts until it settles."""
    if clock is None or not clock.jumped or until > now:
        return until
    settled = clock.steady_since + SETTLING
    stood = until > clock.steady_since - max(timedelta(), clock.jumped)
    return settled if stood and now < settled else until


def before(clock: Clock | None, moment: datetime) -> datetime:
    """Return the time before the jump if ``moment`` is the moment of the jump."""
    jumped = clock is not None and moment == clock.steady_since
    return moment - clock.jumped if clock is not None and jumped else moment


def unseen(clock: Clock | None, *, now: datetime) -> bool:
    """True if the clock has jumped since the last look, which has not noticed it yet."""
    return clock is not None and abs(now - clock.seen) > STRAY


def doubt(clock: Clock, *, skew: timedelta, tolerated: timedelta) -> str | None:
    """Say why nothing ends or expires by this clock; None if things may.

    ``skew`` is this machine's clock less the database's.
    """
    if abs(skew) > tolerated:
        return skewed(skew)
    if not clock.jumped or clock.seen - clock.steady_since >= SETTLING:
        return None
    way = "ahead" if clock.jumped > timedelta() else "back"
    return f"the database's clock went {way} by {_whole(abs(clock.jumped))}; {_from(clock)}"


def withheld(clock: Clock, *, skew: timedelta, tolerated: timedelta) -> str | None:
    """Say why nothing may be deleted by this clock; None if old data may be."""
    doubted = doubt(clock, skew=skew, tolerated=tolerated)
    if doubted is None and clock.seen - clock.steady_since < SETTLING:
        return f"the database's clock was first looked at lately; {_from(clock)}"
    return doubted


def unconfirmed(clock: Clock) -> str | None:
    """Describe the jump that deletions ignore until a person confirms it; None if none."""
    if clock.ahead <= BELIEVED:
        return None
    return (
        f"what is old only because the database's clock went ahead by {_whole(clock.ahead)} goes"
        " after `driftline retention confirm`"
    )


def _from(clock: Clock) -> str:
    return f"by it from {(clock.steady_since + SETTLING).isoformat(timespec='minutes')} on"


def skewed(skew: timedelta) -> str:
    """Describe how far this machine's clock differs from the database's."""
    way = "ahead of" if skew > timedelta() else "behind"
    return f"this machine's clock is {_whole(abs(skew))} {way} the database's"


def _whole(span: timedelta) -> timedelta:
    return timedelta(seconds=round(span.total_seconds()))


@dataclass(slots=True)
class Watcher:
    """One process's looks at the clock, compared with its own monotonic clock."""

    monotonic: Callable[[], float] = time.monotonic
    _last: tuple[datetime, float] | None = None

    def look(self, tx: Connection) -> Clock:
        """Look at the clock, store its state, and reschedule work put off to a wrong time."""
        tx.execute(_FIRST)
        row = tx.execute(_READ).one()
        stands, before, newest = row.stands, _clock(row.value), row.newest
        moment = self.monotonic()
        elapsed = None
        if before is not None and self._last is not None:
            # other processes look too: their last look counts from the time of ours
            since = timedelta(seconds=moment - self._last[1])
            elapsed = max(timedelta(), since - max(timedelta(), before.seen - self._last[0]))
        found = looked(before, now=stands, elapsed=elapsed, newest=newest or stands)
        if before is not None and found.jumped < timedelta() and found.steady_since == stands:
            rewind(tx, by=-found.jumped)
        write(tx, found)
        self._last = (stands, moment)
        return found


def write(tx: Connection, clock: Clock) -> None:
    """Store the state of the clock."""
    value = {
        "seen": clock.seen.isoformat(),
        "steady_since": clock.steady_since.isoformat(),
        "jumped_seconds": clock.jumped.total_seconds(),
        "reached": clock.reached.isoformat(),
        "reached_at": clock.reached_at.isoformat(),
        "ahead_seconds": clock.ahead.total_seconds(),
    }
    _add(tx, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionsHeld:
    """Why old data is not deleted, None if it is, and how many days would go, by table."""

    reason: str | None = None
    would_drop: Mapping[str, int] = field(default_factory=dict)


def hold(tx: Connection, held: DeletionsHeld) -> None:
    """Store whether deletions are held up, for people to read."""
    _add(tx, {"withheld": held.reason, "would_drop": dict(held.would_drop)})


def held(tx: Connection) -> DeletionsHeld:
    """Read whether deletions are held up; empty for a database that was never looked at."""
    value = tx.execute(_VALUE).scalar_one_or_none() or {}
    return DeletionsHeld(reason=value.get("withheld"), would_drop=value.get("would_drop", {}))


def _add(tx: Connection, value: Mapping[str, Any]) -> None:
    tx.execute(
        sa.update(flags)
        .where(flags.c.name == NAME)
        .values(value=flags.c.value.op("||")(sa.cast(dict(value), JSONB)), at=sa.func.now())
    )


def advance(tx: Connection) -> datetime:
    """Take a step, if one is due; return the time that deletions use now."""
    tx.execute(_READ)  # locks, so that only one of several daemons takes the step
    found = read(tx)
    if found is None:
        raise RuntimeError("nobody has looked at the clock yet")
    stepped = advanced(found)
    write(tx, stepped)
    return stepped.reached


def confirm(tx: Connection) -> timedelta:
    """Confirm the clock as it stands; return by how much deletions may catch up."""
    tx.execute(_READ)  # locks
    found = read(tx)
    if found is None:
        return timedelta()
    write(tx, replace(found, ahead=timedelta()))
    return max(timedelta(), found.ahead)


def read(tx: Connection) -> Clock | None:
    """Return the state at the last look; None before the first."""
    value = tx.execute(_VALUE).scalar_one_or_none()
    return None if value is None else _clock(value)


def rewind(tx: Connection, *, by: timedelta) -> None:
    """Bring forward work put off to a wrong time, after the clock went back.

    Otherwise work due in five minutes would be due in four months, and a dead process's lease would
    last as long. Evaluations in progress are taken back, since they would schedule the next one for
    that time.
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
    for name in wakeups.TIMED:
        wakeups.notify(tx, name)


_TAKE_BACK: Final = sa.text(
    "UPDATE tasks SET epoch = epoch + 1, lease_until = NULL, lease_owner = NULL,"
    " next_due_at = clock_timestamp() WHERE lease_until IS NOT NULL"
)
_PUT_OFF: Final = (
    ("tasks", "next_due_at"),
    ("tasks", "next_window_start"),
    ("tasks", "requested_at"),
    ("tasks", "last_done_at"),
    ("latest_scores", "at"),
    ("pending_texts", "lease_until"),
    ("references", "lease_until"),
    ("admissions", "lease_until"),
    ("reports", "requested_at"),
    ("reports", "lease_until"),
    ("selftests", "requested_at"),
    ("selftests", "lease_until"),
    ("outbox", "next_at"),
    ("outbox", "lease_until"),
    ("pending_decisions", "lease_until"),
    ("canaries", "next_look_at"),
    ("canaries", "lease_until"),
    ("trainings", "lease_until"),
)
"""The columns that say when work is due or free again, when a window was judged last, since a page
waits for others' windows, and the newest score's time, since an older score does not replace it."""

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
        ahead=timedelta(seconds=value.get("ahead_seconds", 0.0)),
    )
