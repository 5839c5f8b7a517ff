"""Freeze references automatically: a version is watched from its first thousand records on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from monitor.domain import Interval, Reference
from monitor.reference.calibrate import COVERED_DAYS, COVERED_RECORDS, SMALLEST_BASELINE
from monitor.reference.freeze import open_generation, usable
from monitor.store.database import Database
from monitor.store.errors import Conflict
from monitor.store.references import baselines
from monitor.store.references.baselines import Learning
from monitor.store.references.references import ReferenceSource
from monitor.store.registry import versions

AGAIN_AFTER: Final = timedelta(days=1)
"""Age of a provisional reference before it is replaced."""

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedSettings:
    """The rules for freezing live records as a reference.

    least
        Records of a version before its first, provisional reference is frozen.
    lookback
        Records older than this are not used. While the version is stable its provisional reference
        is replaced by one of twice as many days, and at 14 days by one approved by coverage.
    """

    least: int = 1_000
    lookback: timedelta = timedelta(days=28)

    @property
    def problems(self) -> list[str]:
        """List the numbers that cannot be, each with its key."""
        if self.least < SMALLEST_BASELINE:
            return [f"least: must be at least {SMALLEST_BASELINE}, which a reference takes"]
        return []


def freeze_learned(
    database: Database, *, now: datetime, settings: LearnedSettings | None = None
) -> list[Reference]:
    """Freeze references for versions without an uploaded one, from their live records.

    Call this about every minute; a version whose build failed is left to a person.
    """
    rules = settings or LearnedSettings()
    found = database.run(
        lambda tx: baselines.learning(
            tx, since=now - rules.lookback, now=now, again=now - AGAIN_AFTER, least=rules.least
        )
    )
    made = [_freeze(database, one, now=now) for one in found if _worth_it(one, now=now)]
    return [reference for reference in made if reference is not None]


def _worth_it(one: Learning, *, now: datetime) -> bool:
    """True for a first reference, and for one of twice the days or with full coverage."""
    days = (now - one.first_at) / timedelta(days=1)
    if one.generation == 0 or days >= COVERED_DAYS:
        return one.generation == 0 or one.records >= COVERED_RECORDS
    return days >= 2.0 * one.span_days and one.records >= COVERED_RECORDS


def _freeze(database: Database, one: Learning, *, now: datetime) -> Reference | None:
    version = database.run(lambda tx: versions.fetch_by_id(tx, one.version_id))
    window = Interval(start=one.first_at, end=now)
    if one.records < COVERED_RECORDS:
        kept = database.run(lambda tx: usable(tx, version, window))
        if not kept.enough:  # a few more records may do; of a thousand, the build says what lacks
            return None
    try:
        made = database.run(
            lambda tx: open_generation(
                tx,
                version=version,
                window=window,
                cause=_cause(one, now=now),
                created_by="driftline",
                source=ReferenceSource.AUTO,
                after=one.generation,
            )
        )
    except Conflict:
        # another daemon, or a person, was first
        return None
    _LOG.info("reference_learned", version=version.label, generation=made.generation)
    return made


def _cause(one: Learning, *, now: datetime) -> str:
    learned = f"learned {one.records:,} records"
    days = (now - one.first_at) / timedelta(days=1)
    return learned if one.generation == 0 else f"coverage: {learned} of {days:.1f} days"
