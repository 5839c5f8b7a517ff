"""The share of each adapter's records that is kept, and the traffic that decides it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import AdapterId, ReferenceId
from monitor.store.tables import sampling_rates

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingRate:
    """The share in (0, 1], and the reference that pins it (None while there is no such)."""

    rate: float
    reference_id: ReferenceId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests that came as they were made in the last day, or since the adapter is known."""

    seen: int
    elapsed: timedelta

    @property
    def is_a_day(self) -> bool:
        """Whether it is known what comes in a whole day, its night included."""
        return self.elapsed >= _DAY


def fetch(connection: Connection, adapter_id: AdapterId) -> SamplingRate | None:
    """Return the rate in use, if one was ever chosen."""
    c = sampling_rates.c
    query = sa.select(c.rate, c.reference_id).where(c.adapter_id == adapter_id)
    row = connection.execute(query).mappings().one_or_none()
    return SamplingRate(**row) if row else None


def put(
    connection: Connection,
    *,
    adapter_id: AdapterId,
    reference_id: ReferenceId | None,
    rate: float,
    since: datetime,
) -> None:
    """Use this rate from now on."""
    values = {"reference_id": reference_id, "rate": rate, "since": since}
    statement = insert(sampling_rates).values(adapter_id=adapter_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["adapter_id"], set_=values))


def reference_in_force(connection: Connection, adapter_id: AdapterId) -> ReferenceId | None:
    """Return the newest ready reference of any of the adapter's versions."""
    query = sa.text(
        'SELECT max(r.id) FROM "references" r JOIN versions v ON v.id = r.version_id'
        " WHERE v.adapter_id = :adapter AND r.state = 'ready'"
    )
    found = connection.execute(query, {"adapter": adapter_id}).scalar_one()
    return None if found is None else ReferenceId(found)


def traffic(connection: Connection, adapter_id: AdapterId, *, now: datetime) -> Traffic:
    """Count what came in the last 24 hours, kept or not; counters are hourly.

    What was sent long after it was made, as an import is, says nothing about the traffic.
    """
    query = sa.text(
        "SELECT coalesce(sum(CASE c.outcome WHEN 'backfilled' THEN -c.count ELSE c.count END),"
        " 0)::bigint AS seen,"
        " greatest(min(c.hour), min(a.created_at), :since) AS start"
        " FROM adapters a LEFT JOIN capture_counts c ON c.adapter_id = a.id"
        " AND c.hour > CAST(:since AS timestamptz) - interval '1 hour'"
        " AND c.outcome IN ('accepted', 'sampled_out', 'backfilled')"
        " WHERE a.id = :adapter"
    )
    bound = {"adapter": adapter_id, "since": now - _DAY}
    row = connection.execute(query, bound).one()
    return Traffic(seen=row.seen, elapsed=max(now - row.start, timedelta(0)))
