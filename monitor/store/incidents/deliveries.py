"""Read the outbox's messages as people see them, and replay dead letters.

:mod:`monitor.store.incidents.outbox` writes, claims and buries messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from monitor.domain import IncidentId, TransitionId
from monitor.store import wakeups
from monitor.store.incidents.outbox import DeliveryState
from monitor.store.rows import shaped
from monitor.store.tables.incidents import outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A message and its state, as people see it.

    ``batch`` identifies the messages sent with it; None if it is sent alone.
    """

    id: UUID
    seq: int
    channel: str
    incident_id: IncidentId | None
    transition_id: TransitionId | None
    alert: Mapping[str, Any]
    state: DeliveryState
    next_at: datetime
    attempts: int
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None
    batch: UUID | None

    @property
    def message(self) -> UUID:
        """The id that the receiver sees: one for all messages of a batch."""
        return self.batch or self.id


_UNSHOWN: Final = frozenset({"lease_until", "group_key"})
_COLUMNS: Final = tuple(column for column in outbox.c if column.name not in _UNSHOWN)


def fetch(tx: Connection, message: UUID) -> DeliveryRow | None:
    """Return one message."""
    row = tx.execute(sa.select(*_COLUMNS).where(outbox.c.id == message)).mappings().one_or_none()
    return _delivery(row) if row else None


def newest(
    tx: Connection,
    *,
    state: DeliveryState | None = None,
    incident_id: IncidentId | None = None,
    before_seq: int | None = None,
    limit: int = 100,
) -> list[DeliveryRow]:
    """List messages, newest first; ``before_seq`` ended the previous page."""
    query = sa.select(*_COLUMNS).order_by(outbox.c.seq.desc()).limit(limit)
    if state is not None:
        query = query.where(outbox.c.state == state)
    if incident_id is not None:
        query = query.where(outbox.c.incident_id == incident_id)
    if before_seq is not None:
        query = query.where(outbox.c.seq < before_seq)
    return [_delivery(row) for row in tx.execute(query).mappings()]


def replay(tx: Connection, message: UUID) -> bool:
    """Queue a dead letter again, with all its attempts; False if it is not dead.

    The rest of its batch is queued too: one id always sends the same content.
    """
    mates = sa.select(outbox.c.batch).where(outbox.c.id == message).scalar_subquery()
    again = (
        outbox.update()
        .where(
            (outbox.c.id == message) | (outbox.c.batch == mates),
            outbox.c.state == DeliveryState.DEAD,
        )
        .values(state=DeliveryState.QUEUED, next_at=sa.func.now(), attempts=0)
    )
    replayed = tx.execute(again).rowcount > 0
    if replayed:
        wakeups.notify(tx, wakeups.OUTBOX)
    return replayed


STRANDED: Final = sa.text(
    """
    SELECT id FROM outbox o
    WHERE o.state = 'queued'
      AND o.next_at <= now() - :after
      AND o.channel <> ALL(:channels)
      AND NOT EXISTS (
          SELECT FROM outbox older
          WHERE older.state = 'queued'
            AND older.channel = o.channel
            AND older.incident_id = o.incident_id
            AND older.seq < o.seq
      )
    ORDER BY o.seq
    LIMIT :most
    """
)


def stranded(
    tx: Connection, *, channels: Sequence[str], after: timedelta, most: int
) -> list[DeliveryRow]:
    """List messages due for longer than ``after`` whose channel nobody claims from."""
    asked = {"channels": list(channels), "after": after, "most": most}
    found = tx.execute(STRANDED, asked).scalars()
    query = sa.select(*_COLUMNS).where(outbox.c.id.in_(list(found))).order_by(outbox.c.seq)
    return [_delivery(row) for row in tx.execute(query).mappings()]


def _delivery(row: RowMapping) -> DeliveryRow:
    return shaped(DeliveryRow, row, state=DeliveryState(row["state"]))
