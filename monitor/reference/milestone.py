"""Say what a version's reference still lacks, and when it will have it at current traffic."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from detectors.day_effect import ASSUMED, DayEffect
from detectors.forecast import smallest_shift
from detectors.types import Budget
from monitor.domain import Reference, ReferenceState, Version
from monitor.reference.calibrate import COVERED_DAYS, COVERED_RECORDS, SMALLEST_BASELINE
from monitor.reference.learned import AGAIN_AFTER, LearnedSettings
from monitor.store.references import baselines, references
from monitor.store.references.baselines import Gathered
from monitor.store.references.references import ReferenceSource

_DAY: Final = timedelta(days=1)
_NAMED_DAYS: Final = 6
"""Up to this many days ahead, a weekday's name is unambiguous."""
_SHARE: Final = Budget(notice=1.0 / 9.0, page=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneRules:
    """How references are made automatically here.

    ``share`` is the budget of `logit_ks`, ``days`` the assumed difference between days.
    """

    auto: bool = True
    learned: LearnedSettings = field(default_factory=LearnedSettings)
    share: Budget = _SHARE
    days: DayEffect = ASSUMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone:
    """The next condition that a version's reference waits for.

    records, needed
        The records available, and the records needed.
    days, needed_days
        The span of these records, and the span needed; 0 if none is needed.
    reached_at
        The expected time at the last day's traffic; None if unknown, or if a person must act.
    sees
        Shift of the mean NLL, in sd, that the reference will then show within a day; None if
        unknown or if no shift would show.
    text
        All of it in plain words.
    """

    records: int
    needed: int
    days: float = 0.0
    needed_days: float = 0.0
    reached_at: datetime | None = None
    sees: float | None = None
    text: str


def next_milestone(
    tx: Connection, version: Version, *, rules: MilestoneRules, now: datetime
) -> Milestone | None:
    """Return the next milestone; None if the reference is approved, being built or failed.

    Cost: one index range, the records of the last 28 days.
    """
    newest = next(iter(references.of_version(tx, version.id)), None)
    if newest is not None and (newest.state is not ReferenceState.READY or newest.approved_by):
        return None
    details = None if newest is None else references.details(tx, newest.id)
    since = now - rules.learned.lookback
    if details is not None and details.source is ReferenceSource.ACCEPT:
        since = max(since, datetime.fromisoformat(details.request["start"]))
    found = baselines.gathered(
        tx, version_id=version.id, adapter_id=version.adapter_id, since=since, now=now
    )
    if newest is None or details is None:
        return first(found, rules=rules, now=now)
    auto = details.source.learned and rules.auto
    return coverage(newest, found, rules=rules, now=now, auto=auto)


def first(found: Gathered, *, rules: MilestoneRules, now: datetime) -> Milestone:
    """Return the milestone of a version without a reference: its first one."""
    needed = rules.learned.least if rules.auto else SMALLEST_BASELINE
    have = f"{found.records:,} of {needed:,} records"
    reached = _reached(found, needed=needed, now=now) if rules.auto else None
    sees = _sees(found, by=_reached(found, needed=needed, now=now), now=now, rules=rules)
    words = [have]
    if not rules.auto:
        words.append("upload or freeze a reference: none is learned (reference.auto)")
    elif found.records >= needed:
        words.append("ready within minutes")
    else:
        words.append(_when("ready", reached, now=now))
    return Milestone(
        records=found.records,
        needed=needed,
        days=_days(found, now),
        reached_at=reached,
        sees=sees,
        text="; ".join([*words, *_seeing(sees)]),
    )


def coverage(
    provisional: Reference, found: Gathered, *, rules: MilestoneRules, now: datetime, auto: bool
) -> Milestone:
    """Return the milestone at which coverage approves a provisional reference's replacement."""
    days = _days(found, now)
    have = (
        f"provisional: {days:.1f} of 14 days and {found.records:,} of {COVERED_RECORDS:,} records"
    )
    if not auto:
        return Milestone(
            records=provisional.n_baseline,
            needed=COVERED_RECORDS,
            days=provisional.span_days,
            needed_days=COVERED_DAYS,
            text="provisional: a person approves it, or a freeze of 14 days replaces it",
        )
    needed = max(COVERED_RECORDS, rules.learned.least)
    reached = _reached(found, needed=needed, now=now)
    if reached is not None and found.first_at is not None:
        covered = found.first_at + timedelta(days=COVERED_DAYS)
        again = (provisional.ready_at or now) + AGAIN_AFTER
        reached = max(reached, covered, again)
    sees = _sees(found, by=reached, now=now, rules=rules)
    when = _when("approved by coverage", reached, now=now, after=" if stable then")
    return Milestone(
        records=found.records,
        needed=needed,
        days=days,
        needed_days=COVERED_DAYS,
        reached_at=reached,
        sees=sees,
        text="; ".join([have, when, *_seeing(sees)]),
    )


def _reached(found: Gathered, *, needed: int, now: datetime) -> datetime | None:
    """Return when there will be enough records at the current rate; None if none come."""
    if found.records >= needed:
        return now
    per_day = _per_day(found, now)
    return now + _DAY * ((needed - found.records) / per_day) if per_day else None


def _per_day(found: Gathered, now: datetime) -> float:
    """Return the last day's records, or the daily rate since the first record if later."""
    if found.first_at is None:
        return 0.0
    elapsed = min(_DAY, max(now - found.first_at, timedelta(minutes=1)))
    return found.last_day * (_DAY / elapsed)


def _sees(
    found: Gathered, *, by: datetime | None, now: datetime, rules: MilestoneRules
) -> float | None:
    """Return the effect that a reference of all records up to then will detect."""
    if by is None or found.first_at is None:
        return None
    per_day = _per_day(found, now)
    records = found.records + round(per_day * ((by - now) / _DAY))
    seen = smallest_shift(
        records=max(SMALLEST_BASELINE, records),
        days=(by - found.first_at) / _DAY,
        per_day=per_day,
        budget=rules.share,
    )
    return seen if math.isfinite(seen) else None


def _days(found: Gathered, now: datetime) -> float:
    return (now - found.first_at) / _DAY if found.first_at else 0.0


def _when(what: str, at: datetime | None, *, now: datetime, after: str = "") -> str:
    if at is None:
        return "none came in the last day"
    return f"{what} {day_words(at, now=now)}{after}"


def day_words(at: datetime, *, now: datetime) -> str:
    """Name a future time as people do, in UTC.

    >>> now = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
    >>> day_words(now + timedelta(hours=5), now=now), day_words(now + timedelta(days=2), now=now)
    ('today 14:00 UTC', 'Thursday 09:00 UTC')
    >>> day_words(now + timedelta(days=13), now=now)
    'on 16 March'
    """
    at = at.astimezone(UTC)
    if at.date() == now.astimezone(UTC).date():
        return f"today {at:%H:%M} UTC"
    if at - now < timedelta(days=_NAMED_DAYS):
        return f"{at:%A} {at:%H:%M} UTC"
    year = f" {at.year}" if at.year != now.year else ""
    return f"on {at.day} {at:%B}{year}"


def _seeing(sees: float | None) -> list[str]:
    return [] if sees is None else [f"will see {sees:+.2g} sd within a day"]
