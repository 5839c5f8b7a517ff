"""What waits to be told, and what each channel was told last.

A message begins in ``held`` and moves to the outbox in one transaction, so it is always in
exactly one of the two, or it came to nothing and is in neither. The incident itself stays.
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
from monitor.store.tables import adapters, held, incidents, versions

_TELLING: Final = 0x74656C6C  # "tell": the advisory lock of whoever looks at all groups


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRow:
    """A message that waits for a channel; ``at`` is since when."""

    id: UUID
    channel: str
    incident_id: IncidentId
    transition_id: TransitionId | None
    alert: Mapping[str, object]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRow:
    """The last message of an incident that a channel was given, and how the incident stands.

    ``state`` is the incident machine's, as JSON. ``taken``: the channel was told since that
    somebody has it in hand.
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
    """Let one message for one channel wait."""
    tx.execute(
        held.insert().values(
            id=uuid4(),
            channel=channel,
            incident_id=incident_id,
            transition_id=transition_id,
            alert=dict(alert),
        )
    )


def take(tx: Connection, incident_id: IncidentId | None = None) -> list[HeldRow]:
    """Lock what waits, of one incident or of all, in its order.

    Of all, what another transaction holds is left out: it is looking at it itself.
    """
    query = sa.select(*(column for column in held.c if column.name != "seq")).order_by(held.c.seq)
    if incident_id is not None:
        query = query.where(held.c.incident_id == incident_id)
    rows = tx.execute(query.with_for_update(skip_locked=incident_id is None)).mappings()
    return [HeldRow(**row) for row in rows]


def waiting(tx: Connection, incident_id: IncidentId) -> datetime | None:
    """Say since when a message about an incident waits; None: none does."""
    query = sa.select(sa.func.min(held.c.at)).where(held.c.incident_id == incident_id)
    found: datetime | None = tx.execute(query).scalar_one()
    return found


def count(tx: Connection) -> int:
    """Count the messages that wait, of all channels."""
    return int(tx.execute(sa.select(sa.func.count()).select_from(held)).scalar_one())


def any_held(tx: Connection) -> bool:
    """Whether anything waits at all."""
    return tx.execute(sa.select(held.c.id).limit(1)).first() is not None


def forget(tx: Connection, messages: Collection[UUID]) -> None:
    """Drop messages that have moved to the outbox or come to nothing."""
    tx.execute(held.delete().where(held.c.id.in_(messages)))


def alone(tx: Connection) -> bool:
    """Whether nobody else looks at all groups; held until the transaction ends."""
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
    """Give what every channel was told last: of one incident, or of all that matter now.

    Those are open, or ended within ``recent``, or have messages that wait. That somebody has
    it in hand is no news.
    """
    rows = tx.execute(_LAST, {"one": incident_id, "recent": recent}).mappings()
    return [ToldRow(**row) for row in rows]


def lasting(tx: Connection, incident_ids: Collection[IncidentId]) -> frozenset[IncidentId]:
    """Hold those that are open, whatever was read before; nobody ends them meanwhile.

    What another transaction is changing is left out: it is waited for by nobody.
    """
    query = (
        sa.select(incidents.c.id)
        .where(incidents.c.id.in_(incident_ids), incidents.c.closed_at.is_(None))
        .with_for_update(key_share=True, skip_locked=True)
    )
    return frozenset(tx.execute(query).scalars())


def without_records(tx: Connection) -> dict[tuple[str, str], str]:
    """Name the versions whose records do not come, and how severe that is."""
    query = (
        sa.select(adapters.c.name, versions.c.name, incidents.c.severity)
        .join(adapters, adapters.c.id == incidents.c.adapter_id)
        .join(versions, versions.c.id == incidents.c.version_id)
        .where(incidents.c.kind == "no_data", incidents.c.closed_at.is_(None))
    )
    return {(adapter, version): severity for adapter, version, severity in tx.execute(query)}
