"""End, expire and delete by time, but only if the clock is trusted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from monitor.store import clock, partitions
from monitor.store.clock import Clock, DeletionsHeld, Watcher
from monitor.store.database import Database
from monitor.store.evaluation import coverage_days, evaluations, perplexity, reports
from monitor.store.records import feedback, pending, terms
from monitor.store.traffic import canary_looks

_LOG: Final = structlog.get_logger(__name__)

EVERY: Final = clock.STEP_EVERY
"""The interval between deletions of old data."""
EVALUATIONS: Final = timedelta(days=90)
"""How long evaluated windows are listed; scores and transitions stay longer."""
COVERAGE: Final = timedelta(days=400)
"""How long a day's coverage is stored: as long as scores."""
RUNS: Final = timedelta(days=30)
"""How long the documents of a perplexity run are stored; no reader needs more than 7 days."""
LOOKS: Final = timedelta(days=90)
"""How long looks are stored after a canary's end; the audit keeps its changes."""

Told = Callable[[], datetime]


def wall_clock() -> datetime:
    """Read this machine's clock."""
    return datetime.now(tz=UTC)


@dataclass(slots=True, kw_only=True)
class Timed:
    """Calls ``work`` with the database's time, or logs why not.

    ``tolerated`` is the largest accepted difference between this machine's clock and the
    database's.
    """

    name: str
    database: Database
    work: Callable[[datetime], object]
    tolerated: timedelta
    told: Told = wall_clock
    _doubt: str | None = None

    def turn(self) -> bool:
        """Work once; return False, since nothing more is due at once."""
        now, known = self.database.run(lambda tx: (clock.now(tx), clock.read(tx)))
        if clock.unseen(known, now=now):
            return False  # a jump, or a start: the next look at the clock decides
        skew = self.told() - now
        doubt = (
            clock.doubt(known, skew=skew, tolerated=self.tolerated)
            if known
            else (clock.skewed(skew) if abs(skew) > self.tolerated else None)
        )
        if doubt is None:
            self.work(now)
        elif self._doubt is None:
            _LOG.warning("waits_for_the_clock", what=self.name, reason=doubt)
        self._doubt = doubt
        return False


@dataclass(slots=True, kw_only=True)
class Housekeeping:
    """Looks at the clock every turn; every hour creates the days ahead and drops old data.

    Nothing is dropped on the first day of a database under this code, on the day after its clock
    jumped or went unwatched, or while this machine's clock differs: the log says so, and what would
    be dropped. Data that is old only because of a clock jump is kept until a person confirms the
    clock.
    """

    database: Database
    kept: Mapping[str, timedelta]
    tolerated: timedelta
    told: Told = wall_clock
    monotonic: Callable[[], float] = time.monotonic
    _watcher: Watcher = field(init=False)
    _done: float | None = None
    _standing: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        self._watcher = Watcher(monotonic=self.monotonic)

    def turn(self) -> bool:
        """Look once, and delete if an hour has passed; soon again after a failure.

        The hour is by the monotonic clock, since this machine's own may stand still, or jump.
        """
        known = self.database.run(self._watcher.look)
        withheld = clock.withheld(known, skew=self.told() - known.seen, tolerated=self.tolerated)
        due = self._done is None or self.monotonic() - self._done >= EVERY.total_seconds()
        stops = (withheld, clock.unconfirmed(known))
        standing = tuple(one is not None for one in stops)
        if any(standing) and (due or standing != self._standing):
            self._tell(known, *stops)
        elif not any(standing) and (due or any(self._standing)):
            self.database.run(lambda tx: clock.hold(tx, DeletionsHeld()))
        self._standing = standing
        if not due:
            return False
        self.database.run(lambda tx: partitions.create_ahead(tx, now=known.seen))
        if withheld is None:
            self._drop(self.database.run(clock.advance))
        self._done = self.monotonic()
        return False

    def _tell(self, known: Clock, withheld: str | None, unconfirmed: str | None) -> None:
        would = _counted(
            self.database.run(
                lambda tx: partitions.expired(tx, now=known.seen, retention=self.kept)
            )
        )
        reason = "; ".join(filter(None, (withheld, unconfirmed)))
        self.database.run(lambda tx: clock.hold(tx, DeletionsHeld(reason=reason, would_drop=would)))
        event = "deletions_wait_for_a_person" if withheld is None else "nothing_is_deleted"
        _LOG.warning(event, reason=reason, would_drop=would)

    def _drop(self, now: datetime) -> None:
        gone = partitions.drop_old(self.database, now=now, retention=self.kept)
        if gone:
            _LOG.info("days_dropped", partitions=_counted(gone), as_of=now.isoformat())
        for _ in self._rows(now):
            pass

    def _rows(self, now: datetime) -> Iterator[object]:
        """Delete from tables without daily partitions, a batch at a time."""
        run = self.database.run
        yield run(lambda tx: pending.drop_expired(tx, now=now))
        oldest = now - self.kept["record_embeddings"]
        yield run(lambda tx: terms.drop_older(tx, than=oldest))
        yield run(lambda tx: reports.drop_older(tx, than=now - reports.KEPT))
        while done := run(lambda tx: evaluations.drop_older(tx, than=now - EVALUATIONS)):
            yield done
        compared = (now - COVERAGE).date()
        yield run(lambda tx: coverage_days.drop_older(tx, than=compared))
        while done := run(lambda tx: feedback.drop_older(tx, than=now - feedback.KEPT)):
            yield done
        while done := run(lambda tx: perplexity.drop_older(tx, than=now - RUNS)):
            yield done
        while done := run(lambda tx: canary_looks.drop(tx, ended_before=now - LOOKS)):
            yield done


def _counted(names: Sequence[str]) -> dict[str, int]:
    """Count the days by table."""
    return dict(Counter(partitions.table_of(name) for name in names))
