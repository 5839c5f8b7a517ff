"""Store held messages, and read what each channel was told last.

A message begins in ``held`` and moves to the outbox in one transaction, so it is always in exactly
one of the two, or in neither if it became pointless. The incident itself stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import IncidentId, TransitionId
from monitor.store import wakeups
from monitor.store.tables.incidents import held, incidents
from monitor.store.tables.registry import adapters, versions

_TELLING: Final = 0x74656C6C  # "tell": the advisory lock of whoever looks at all groups


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRow:
    """A message held for a channel since ``at``; ``is_open`` and ``state`` are its incident's."""

    id: UUID
    channel: str
    incident_id: IncidentId
    transition_id: TransitionId | None
    alert: Mapping[str, object]
    at: datetime
    is_open: bool
    state: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRow:
    """A channel's last message about an incident, and the incident's state.

    ``state`` is the incident machine's, as JSON. ``taken`` is true if the channel was told of an
    acknowledgement since.
    """

    channel: str
    incident_id: IncidentId
    alert: Mapping[str, object]
    group_key: str | None
    at: datetime
    is_open: bool
    state: Mapping[str, object]
    taken: bool


def hold(
    tx: Connection,
    *,
    channel: str,
    alert: Mapping[str, object],
    incident_id: IncidentId,
    transition_id: TransitionId | None,
) -> None:
    """Hold one message for one channel."""
    tx.execute(
        held.insert().values(
            id=uuid4(),
            channel=channel,
            incident_id=incident_id,
            transition_id=transition_id,
            alert=dict(alert),
        )
    )
    wakeups.notify(tx, wakeups.HELD)


def take(tx: Connection, incident_id: IncidentId | None = None) -> list[HeldRow]:
    """Lock and return held messages, of one incident or of all, in order.

    When reading all, rows locked by another transaction are skipped: it is handling them.
    """
    query = (
        sa.select(
            *(column for column in held.c if column.name != "seq"),
            incidents.c.closed_at.is_(None).label("is_open"),
            incidents.c.state,
        )
        .join(incidents, incidents.c.id == held.c.incident_id)
        .order_by(held.c.seq)
    )
    if incident_id is not None:
        query = query.where(held.c.incident_id == incident_id)
    rows = tx.execute(query.with_for_update(skip_locked=incident_id is None, of=held)).mappings()
    return [HeldRow(**row) for row in rows]


def waiting(tx: Connection, incident_id: IncidentId) -> datetime | None:
    """Return since when a message about an incident is held; None if none is."""
    query = sa.select(sa.func.min(held.c.at)).where(held.c.incident_id == incident_id)
    found: datetime | None = tx.execute(query).scalar_one()
    return found


def count(tx: Connection) -> int:
    """Count the held messages of all channels."""
    return int(tx.execute(sa.select(sa.func.count()).select_from(held)).scalar_one())


def any_held(tx: Connection) -> bool:
    """True if any message is held."""
    return tx.execute(sa.select(held.c.id).limit(1)).first() is not None


def any_open(tx: Connection) -> bool:
    """True if any incident is open."""
    query = sa.select(incidents.c.id).where(incidents.c.closed_at.is_(None))
    return tx.execute(query.limit(1)).first() is not None


def forget(tx: Connection, messages: Collection[UUID]) -> None:
    """Delete messages that moved to the outbox or became pointless."""
    tx.execute(held.delete().where(held.c.id.in_(messages)))


def alone(tx: Connection) -> bool:
    """True if no other transaction is looking at all groups; locks until this one ends."""
    return bool(tx.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_TELLING))).scalar_one())


_LAST: Final = sa.text(
    """
    WITH looked_at AS (
        SELECT id FROM incidents WHERE id = :one
        UNION
        SELECT id FROM incidents WHERE CAST(:one AS bigint) IS NULL AND closed_at IS NULL
        UNION
        SELECT id FROM incidents
        WHERE CAST(:one AS bigint) IS NULL AND closed_at >= now() - CAST(:recent AS interval)
        UNION
        SELECT incident_id FROM held WHERE CAST(:one AS bigint) IS NULL
    ),
    newest AS (
        SELECT DISTINCT ON (o.channel, o.incident_id)
            o.channel, o.incident_id, o.alert, o.group_key, o.created_at AS at, o.seq,
            i.closed_at IS NULL AS is_open, i.state
        FROM looked_at l
        JOIN incidents i ON i.id = l.id
        JOIN outbox o ON o.incident_id = i.id
        WHERE o.alert ->> 'status' <> 'acknowledged'
        ORDER BY o.channel, o.incident_id, o.seq DESC
    )
    SELECT n.channel, n.incident_id, n.alert, n.group_key, n.at, n.is_open, n.state,
        EXISTS (  -- asked of the newest alone: repeats of a month are many
            SELECT FROM outbox a
            WHERE a.incident_id = n.incident_id AND a.channel = n.channel AND a.seq > n.seq
              AND a.alert ->> 'status' = 'acknowledged'
        ) AS taken
    FROM newest n
    ORDER BY n.channel, n.incident_id
    """
)


def last(
    tx: Connection, incident_id: IncidentId | None = None, *, recent: timedelta = timedelta()
) -> list[ToldRow]:
    """Return every channel's last message: of one incident, or of all relevant ones.

    Relevant incidents are open, ended within ``recent``, or have held messages. Acknowledgements
    are not counted as messages.
    """
    rows = tx.execute(_LAST, {"one": incident_id, "recent": recent}).mappings()
    return [ToldRow(**row) for row in rows]


_CALLED: Final = sa.text(
    """
    SELECT w.channel, w.incident_id, min(o.created_at) AS at
    FROM (
        SELECT channel, incident_id, min(at) AS since FROM held
        WHERE channel = ANY(:later)
        GROUP BY channel, incident_id
    ) w
    JOIN outbox o ON o.incident_id = w.incident_id AND o.created_at >= w.since
    WHERE o.channel <> ALL(:later)
      AND o.alert ->> 'status' NOT IN ('acknowledged', 'recovered')
    GROUP BY w.channel, w.incident_id
    """
)


def called(tx: Connection, later: Collection[str]) -> dict[tuple[str, IncidentId], datetime]:
    """Return when another channel was first told what these channels still wait for.

    By channel and incident; without an entry, none was told since the message is held.
    """
    rows = tx.execute(_CALLED, {"later": list(later)}).mappings()
    return {(row["channel"], row["incident_id"]): row["at"] for row in rows}


def lasting(tx: Connection, incident_ids: Collection[IncidentId]) -> frozenset[IncidentId]:
    """Lock and return the incidents that are open now; nobody can end them meanwhile.

    Incidents that another transaction is changing are skipped instead of waited for.
    """
    query = (
        sa.select(incidents.c.id)
        .where(incidents.c.id.in_(incident_ids), incidents.c.closed_at.is_(None))
        .with_for_update(key_share=True, skip_locked=True)
    )
    return frozenset(tx.execute(query).scalars())


def without_records(tx: Connection) -> dict[tuple[str, str], str]:
    """Return the versions whose records do not come, with the incident's severity."""
    query = (
        sa.select(adapters.c.name, versions.c.name, incidents.c.severity)
        .join(adapters, adapters.c.id == incidents.c.adapter_id)
        .join(versions, versions.c.id == incidents.c.version_id)
        .where(incidents.c.kind == "no_data", incidents.c.closed_at.is_(None))
    )
    return {(adapter, version): severity for adapter, version, severity in tx.execute(query)}
