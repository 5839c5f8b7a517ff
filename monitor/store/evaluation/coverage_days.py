"""Store coverage by day, from which monthly receipts are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from alerts.types import VerdictKind
from monitor.domain import VersionId
from monitor.policy.coverage import Coverage, from_json, summed, to_json
from monitor.store.tables.evaluations import coverage_days
from monitor.store.tables.registry import adapters, versions

_C: Final = coverage_days.c


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredVersion:
    """The coverage of a version's detectors over some days."""

    version_id: VersionId
    adapter: str
    version: str
    coverage: tuple[Coverage, ...]


def add(tx: Connection, found: Mapping[tuple[VersionId, date], Iterable[Coverage]]) -> None:
    """Add windows' coverage to their days.

    The caller holds the versions' verdicts, so no two add to a day at once.
    """
    if not found:
        return
    keys = {"ids": [key[0] for key in found], "days": [key[1] for key in found]}
    known = {(row.version_id, row.day): row.body for row in tx.execute(_KNOWN, keys)}
    rows = [
        {
            "version_id": key[0],
            "day": key[1],
            "body": [to_json(one) for one in summed([*map(from_json, known.get(key, ())), *new])],
        }
        for key, new in found.items()
    ]
    tx.execute(_PUT, rows)


_KNOWN: Final = sa.text(
    "SELECT version_id, day, body FROM coverage_days JOIN"
    " unnest(CAST(:ids AS int[]), CAST(:days AS date[])) AS wanted (version_id, day)"
    " USING (version_id, day)"
)
_INSERT: Final = insert(coverage_days)
_PUT: Final = _INSERT.on_conflict_do_update(
    index_elements=["version_id", "day"], set_={"body": _INSERT.excluded.body}
).returning(_C.version_id)


def totals(tx: Connection, *, first: date, last: date) -> list[CoveredVersion]:
    """Sum the days ``[first, last]`` for each version that had requests."""
    rows = tx.execute(
        sa.select(
            _C.version_id,
            adapters.c.name.label("adapter"),
            versions.c.name.label("version"),
            sa.func.array_agg(_C.body).label("bodies"),
        )
        .join(versions, versions.c.id == _C.version_id)
        .join(adapters, adapters.c.id == versions.c.adapter_id)
        .where(_C.day.between(first, last))
        .group_by(_C.version_id, adapters.c.name, versions.c.name)
        .order_by(adapters.c.name, versions.c.name)
    )
    return [
        CoveredVersion(
            version_id=VersionId(row.version_id),
            adapter=row.adapter,
            version=row.version,
            coverage=summed(from_json(one) for body in row.bodies for one in body),
        )
        for row in rows
    ]


_BLIND: Final = sa.text(
    """
    SELECT version_id, sum(least(until, :end) - greatest(at, :start)) AS lasted
    FROM (
        SELECT version_id, at, after,
               coalesce(lead(at) OVER (PARTITION BY version_id ORDER BY at, id), :end) AS until
        FROM transitions WHERE :blind IN (before, after) AND at < :end
    ) spells
    WHERE after = :blind AND until > :start
    GROUP BY version_id
    """
)


def blind_time(tx: Connection, *, start: datetime, end: datetime) -> dict[VersionId, timedelta]:
    """Return how long each version was ``blind`` within ``[start, end)``, if it was at all."""
    bound = {"start": start, "end": end, "blind": VerdictKind.BLIND.value}
    return {VersionId(row.version_id): row.lasted for row in tx.execute(_BLIND, bound)}


def drop_older(tx: Connection, *, than: date) -> None:
    """Delete older days."""
    tx.execute(sa.delete(coverage_days).where(_C.day < than))
