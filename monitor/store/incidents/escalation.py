"""Messages that a channel has not taken go to its fallback as well, each once."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.store import wakeups
from monitor.store.incidents.outbox import DeliveryState, sent_as
from monitor.store.tables.incidents import outbox


def escalate(tx: Connection, message: UUID, *, fallback: str) -> bool:
    """Queue a copy for the fallback channel, once; False when it already has the message.

    The copy's id follows from the original's, so that repeating this changes nothing.
    """
    return _copy(tx, sent_as(message), fallback=fallback) > 0


def escalate_overdue(tx: Connection, *, channel: str, fallback: str, after: timedelta) -> int:
    """Do the same for everything that ``channel`` has not taken within ``after``.

    It also reaches messages that wait behind an older one of their incident and were never
    tried: their fallback must hear of a recovery even so.
    """
    overdue = sa.and_(
        outbox.c.channel == channel,
        outbox.c.state == DeliveryState.QUEUED,
        outbox.c.created_at <= sa.func.now() - after,
    )
    return _copy(tx, overdue, fallback=fallback)


def _copy(tx: Connection, originals: sa.ColumnElement[bool], *, fallback: str) -> int:
    """Copy messages to ``fallback`` unless it got the same news by its own matcher."""
    own = outbox.alias("own")
    has_it = sa.exists().where(
        own.c.channel == fallback,
        own.c.incident_id == outbox.c.incident_id,
        own.c.transition_id == outbox.c.transition_id,
    )
    named = sa.cast(outbox.c.id, sa.Text) + ":" + fallback
    copies = (
        sa.select(
            sa.cast(sa.func.md5(named), sa.UUID),
            sa.literal(fallback),
            outbox.c.incident_id,
            outbox.c.transition_id,
            outbox.c.alert,
            outbox.c.group_key,
            sa.cast(sa.func.md5(sa.cast(outbox.c.batch, sa.Text) + ":" + fallback), sa.UUID),
        )
        .where(originals, ~has_it)
        .order_by(outbox.c.seq)
    )
    columns = ["id", "channel", "incident_id", "transition_id", "alert", "group_key", "batch"]
    inserted = insert(outbox).from_select(columns, copies).on_conflict_do_nothing()
    made = len(tx.execute(inserted.returning(outbox.c.id)).all())
    if made:
        wakeups.notify(tx, wakeups.OUTBOX)
    return made
