"""Read the pages that were sent: one per opening, however many channels heard of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import IncidentId, Mark
from monitor.store.tables.registry import versions


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPage:
    """One page: an incident that started as one, became one, or was reopened as one.

    tier
        The adapter's tier when it was sent; None for a fleet incident.
    delivered
        True if a receiver took it; False if it waits, or was never taken.
    """

    incident_id: IncidentId
    adapter: str | None
    version: str | None
    tier: str | None
    at: datetime
    summary: str
    delivered: bool
    marked: Mark | None


_SENT: Final = sa.text(
    """
    SELECT o.incident_id, (array_agg(o.alert ORDER BY o.seq))[1] AS alert, i.marked,
           min(o.created_at) AS at, bool_or(o.state = 'delivered') AS delivered
    FROM outbox o JOIN incidents i ON i.id = o.incident_id
    WHERE o.created_at >= :start AND o.created_at < :end
      AND o.alert ->> 'severity' = 'page'
      AND o.alert ->> 'status' IN ('started', 'worsened', 'reopened')
    GROUP BY o.incident_id, i.marked, o.alert ->> 'status', o.alert ->> 'started_at'
    ORDER BY min(o.created_at) DESC, o.incident_id DESC
    """
)


def sent(tx: Connection, *, start: datetime, end: datetime) -> list[SentPage]:
    """List the pages decided in ``[start, end)``, newest first.

    Copies for other channels, retries and repeats count as the same page; so does a new member of a
    fleet incident. Cost: one pass over the outbox.
    """
    return [_page(row) for row in tx.execute(_SENT, {"start": start, "end": end})]


def watched_since(tx: Connection) -> datetime | None:
    """Return when the first version was registered; None if none was."""
    found: datetime | None = tx.execute(
        sa.select(sa.func.min(versions.c.registered_at))
    ).scalar_one()
    return found


def _page(row: sa.Row[tuple[object, ...]]) -> SentPage:
    alert = row.alert
    return SentPage(
        incident_id=IncidentId(row.incident_id),
        adapter=alert.get("adapter") or None,
        version=alert.get("version") or None,
        tier=alert.get("tier") if alert.get("adapter") else None,
        at=row.at,
        summary=alert.get("summary", ""),
        delivered=row.delivered,
        marked=row.marked and Mark(row.marked),
    )
