"""Count records by the hour: accepted, duplicate, sampled out or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import AdapterId, Interval
from monitor.store.tables.records import capture_counts

REQUESTS: Final = ("accepted", "sampled_out")
"""Outcomes that each stand for one request of the adapter."""

BACKFILLED: Final = "backfilled"
"""Those of them sent long after they were made: counted a second time under this name."""

CountKey = tuple[AdapterId, datetime, str]
"""Adapter, any time within the hour, outcome."""


def add(connection: Connection, counts: Mapping[CountKey, int]) -> None:
    """Add to the counters in key order, so that two writers cannot deadlock."""
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


def backfilled(connection: Connection, windows: Sequence[tuple[AdapterId, Interval]]) -> list[bool]:
    """Say for each window whether backfilled records of its adapter came in these hours.

    An hour next to them counts: the counters use the service's clock, which may differ a little
    from the database's.
    """
    rows = {
        "adapters": [adapter_id for adapter_id, _ in windows],
        "firsts": [_hour(one.start - timedelta(hours=1)) for _, one in windows],
        "lasts": [_hour(one.end + timedelta(hours=1)) for _, one in windows],
        "outcome": BACKFILLED,
    }
    found = set(connection.execute(_BACKFILLED, rows).scalars())
    return [number in found for number in range(1, len(windows) + 1)]


_BACKFILLED: Final = sa.text(
    "SELECT DISTINCT wanted.number FROM capture_counts c JOIN"
    " unnest(CAST(:adapters AS int[]), CAST(:firsts AS timestamptz[]),"
    " CAST(:lasts AS timestamptz[])) WITH ORDINALITY AS wanted (adapter_id, first, last, number)"
    " ON c.adapter_id = wanted.adapter_id AND c.outcome = :outcome"
    " AND c.hour BETWEEN wanted.first AND wanted.last"
)


def any_ever(connection: Connection) -> bool:
    """True if a record of any adapter was ever counted."""
    query = sa.select(sa.literal(1)).select_from(capture_counts).limit(1)
    return connection.execute(query).one_or_none() is not None


def requests(connection: Connection, *, adapter_id: AdapterId, since: datetime) -> int:
    """Count an adapter's requests, including those that a sampler dropped."""
    counts = totals(connection, adapter_id=adapter_id, since=since)
    return sum(counts.get(outcome, 0) for outcome in REQUESTS)


def per_second(
    connection: Connection, *, adapter_id: AdapterId, known_since: datetime, now: datetime
) -> float:
    """Return an adapter's requests a second, over this hour and the one before.

    ``known_since`` is when it was registered: it had no requests before.
    """
    since = _hour(now - timedelta(hours=1))
    lasted = now - max(since, known_since)
    count = requests(connection, adapter_id=adapter_id, since=since)
    return count / max(lasted.total_seconds(), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """An adapter's requests per day of UTC, without backfilled ones.

    ``today`` counts those so far. Yesterday and the same weekday a week ago predict today:
    ``quieter`` is the one with fewer, ``busier`` the one with more, 0 if unknown. The day in which
    the adapter was registered is partial: only ``busier`` may count it.
    """

    today: int
    quieter: int
    busier: int


def days(connection: Connection, adapter_id: AdapterId, *, now: datetime) -> Days:
    """Count the days that decide which share of an adapter's requests is kept.

    Backfilled records, such as an import, say nothing about the traffic.
    """
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = (today, today - timedelta(days=1), today - timedelta(days=7))
    bound = {"adapter": adapter_id, "week_ago": starts[2], "next": starts[2] + timedelta(days=1)}
    row = connection.execute(_DAYS, bound | {"today": starts[0], "yesterday": starts[1]}).one()
    before = dict(zip(starts[1:], (row.n_yesterday, row.n_week_ago), strict=True))
    whole = [count for start, count in before.items() if row.created_at <= start]
    return Days(today=row.n_today, quieter=min(whole, default=0), busier=max(before.values()))


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


_NUMBER: Final = "CASE c.outcome WHEN 'backfilled' THEN -c.count ELSE c.count END"
_SUM: Final = f"coalesce(sum({_NUMBER}) FILTER (WHERE {{}}), 0)::bigint"
_DAYS: Final = sa.text(
    "SELECT a.created_at,"
    f" {_SUM.format('c.hour >= :today')} AS n_today,"
    f" {_SUM.format('c.hour >= :yesterday AND c.hour < :today')} AS n_yesterday,"
    f" {_SUM.format('c.hour < :next')} AS n_week_ago"
    " FROM adapters a LEFT JOIN capture_counts c ON c.adapter_id = a.id"
    " AND (c.hour >= :yesterday OR c.hour >= :week_ago AND c.hour < :next)"
    " AND c.outcome IN ('accepted', 'sampled_out', 'backfilled')"
    " WHERE a.id = :adapter GROUP BY a.created_at"
)


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
