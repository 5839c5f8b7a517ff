"""How many records were accepted, known already, sampled out or refused, hour by hour."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import AdapterId
from monitor.store.tables import capture_counts

REQUESTS: Final = ("accepted", "sampled_out")
"""Outcomes that each stand for a request of the adapter."""

BACKFILLED: Final = "backfilled"
"""Those of them that came long after they were made: counted a second time, by this name."""

CountKey = tuple[AdapterId, datetime, str]
"""Adapter, any time within the hour, outcome."""


def add(connection: Connection, counts: Mapping[CountKey, int]) -> None:
    """Add to the counters; in order of their key, so that two writers cannot deadlock."""
    rows: dict[CountKey, int] = {}
    for (adapter_id, at, outcome), count in counts.items():
        key = (adapter_id, _hour(at), outcome)
        rows[key] = rows.get(key, 0) + count
    values = [
        {"adapter_id": key[0], "hour": key[1], "outcome": key[2], "count": count}
        for key, count in sorted(rows.items())
        if count
    ]
    if not values:
        return
    statement = insert(capture_counts).values(values)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["adapter_id", "hour", "outcome"],
            set_={"count": capture_counts.c.count + statement.excluded.count},
        )
    )


def totals(connection: Connection, *, adapter_id: AdapterId, since: datetime) -> dict[str, int]:
    """Sum an adapter's counters over the hours that began at or after ``since``."""
    return fleet_totals(connection, since=since, adapter_id=adapter_id).get(adapter_id, {})


def any_backfilled(
    connection: Connection, *, adapter_id: AdapterId, start: datetime, end: datetime
) -> bool:
    """Whether anything came in these hours that was made long before."""
    c = capture_counts.c
    query = sa.select(sa.literal(1)).where(
        c.adapter_id == adapter_id,
        c.outcome == BACKFILLED,
        c.hour >= _hour(start),
        c.hour <= _hour(end),
    )
    return connection.execute(query.limit(1)).one_or_none() is not None


def requests(connection: Connection, *, adapter_id: AdapterId, since: datetime) -> int:
    """Count an adapter's requests, those that a sampler did not send included."""
    counts = totals(connection, adapter_id=adapter_id, since=since)
    return sum(counts.get(outcome, 0) for outcome in REQUESTS)


def fleet_totals(
    connection: Connection, *, since: datetime, adapter_id: AdapterId | None = None
) -> dict[AdapterId, dict[str, int]]:
    """Sum every adapter's counters since a time, by outcome; each record counts once."""
    c = capture_counts.c
    query = (
        sa.select(c.adapter_id, c.outcome, sa.func.sum(c.count).label("total"))
        .where(c.hour >= since, c.outcome != BACKFILLED)
        .group_by(c.adapter_id, c.outcome)
    )
    if adapter_id is not None:
        query = query.where(c.adapter_id == adapter_id)
    fleet: dict[AdapterId, dict[str, int]] = {}
    for row in connection.execute(query):
        fleet.setdefault(AdapterId(row.adapter_id), {})[row.outcome] = int(row.total)
    return fleet


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
