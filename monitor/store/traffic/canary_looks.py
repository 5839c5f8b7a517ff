"""Store each canary's looks; they are dropped some time after it has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.store.rows import stored
from monitor.store.tables.traffic import canary_looks
from monitor.store.traffic.canaries import CanaryId


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryEvent:
    """One event of a canary; measurements are None if none were made."""

    at: datetime
    event: str
    phase: str
    pause: str | None
    step: int
    weight: float
    reason: str
    actor: str
    outcome: str | None = None
    trial_requests: int | None = None
    control_requests: int | None = None
    guards: Sequence[Mapping[str, Any]] | None = None
    failures: Mapping[str, Sequence[int]] | None = None


def append(tx: Connection, canary_id: CanaryId, look: CanaryEvent) -> None:
    """Append a look."""
    guards = sa.null() if look.guards is None else [dict(g) for g in look.guards]
    failed = sa.null() if look.failures is None else dict(look.failures)
    row = stored(canary_looks, look, canary_id=canary_id, guards=guards, failures=failed)
    tx.execute(canary_looks.insert().values(row))


def looks(tx: Connection, canary_id: CanaryId, *, limit: int = 2000) -> list[CanaryEvent]:
    """Return a canary's newest ``limit`` looks, oldest first."""
    query = (
        sa.select(*(canary_looks.c[name] for name in CanaryEvent.__slots__))
        .where(canary_looks.c.canary_id == canary_id)
        .order_by(canary_looks.c.id.desc())
        .limit(limit)
    )
    return [CanaryEvent(**row) for row in tx.execute(query).mappings()][::-1]


def last_measured(looks: Sequence[CanaryEvent]) -> CanaryEvent | None:
    """Return the last look that measured something; None if none did."""
    return next((look for look in reversed(looks) if look.guards is not None), None)


def failures(tx: Connection, canary_id: CanaryId, *, since: datetime) -> list[Mapping[str, Any]]:
    """Return the failures of every look since a time, oldest first."""
    query = (
        sa.select(canary_looks.c.failures)
        .where(
            canary_looks.c.canary_id == canary_id,
            canary_looks.c.at >= since,
            canary_looks.c.failures.is_not(None),
        )
        .order_by(canary_looks.c.id)
    )
    return list(tx.execute(query).scalars())


def rollbacks(tx: Connection, *, since: datetime, until: datetime, actor: str) -> int:
    """Count all adapters' rollbacks by ``actor`` after ``since`` and up to ``until``."""
    query = sa.select(sa.func.count(sa.distinct(canary_looks.c.canary_id))).where(
        # a literal: with a bound value the planner could not tell that the index covers it
        canary_looks.c.phase == sa.literal_column("'rolling_back'"),
        canary_looks.c.event == "looked",
        canary_looks.c.actor == actor,
        canary_looks.c.at > since,
        canary_looks.c.at <= until,
    )
    return int(tx.execute(query).scalar_one())


_DROP: Final = sa.text(
    "DELETE FROM canary_looks WHERE id IN (SELECT l.id FROM canary_looks l"
    " JOIN canaries c ON c.id = l.canary_id WHERE c.ended_at < :before LIMIT :most)"
)
MOST: Final = 5_000
"""The most looks dropped at a time."""


def drop(tx: Connection, *, ended_before: datetime) -> int:
    """Drop up to ``MOST`` looks of canaries that ended before a time; call until it returns 0.

    The audit keeps each change with its measurements.
    """
    return tx.execute(_DROP, {"before": ended_before, "most": MOST}).rowcount
