"""The outbox: messages to deliver, written in the transaction that decided them.

A row is ``queued`` until a receiver has taken it (``delivered``) or it is given up (``dead``). A
claim is a lease: it pushes ``next_at`` to the end of the lease, so the row of a worker that dies
becomes due by itself. ``attempts`` counts claims and fences them: a worker that claimed attempt 3
cannot postpone a row that is at attempt 4. :mod:`monitor.store.incidents.deliveries` reads the rows
for people.

All times are the database's, so differing clocks of daemons change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from monitor.domain import IncidentId, TransitionId
from monitor.store import wakeups
from monitor.store.rows import shaped
from monitor.store.tables.incidents import held, outbox


class DeliveryState(StrEnum):
    """The state of a message's delivery."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A message that one worker may send until its lease ends.

    ``id`` is the message id that receivers see, the same for every attempt. ``age`` is the time
    since it was written. ``beside`` are the other alerts sent with it.
    """

    id: UUID
    channel: str
    incident_id: IncidentId | None
    attempts: int
    age: timedelta
    alert: Mapping[str, object]
    beside: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LastTold:
    """The last message about an incident that a channel's receiver took."""

    id: UUID
    alert: Mapping[str, object]
    is_open: bool
    """True if the incident is open now, whatever the message says."""


def enqueue(
    tx: Connection,
    *,
    channel: str,
    alert: Mapping[str, object],
    incident_id: IncidentId | None = None,
    transition_id: TransitionId | None = None,
    group_key: str | None = None,
    batch: UUID | None = None,
) -> UUID:
    """Queue one message for one channel; it is sent if the transaction commits.

    Messages of one ``batch``, written in one transaction, are sent as one under its id.
    """
    message = uuid4()
    tx.execute(
        outbox.insert().values(
            id=message,
            channel=channel,
            incident_id=incident_id,
            transition_id=transition_id,
            alert=dict(alert),
            group_key=group_key,
            batch=batch,
        )
    )
    wakeups.notify(tx, wakeups.OUTBOX)
    return message


def next_due(tx: Connection) -> timedelta | None:
    """Return the time until a message can be claimed; None where none waits."""
    return wakeups.first(tx, outbox.c.next_at, outbox.c.state == DeliveryState.QUEUED)


def mark_late(tx: Connection, incident_id: IncidentId) -> frozenset[str]:
    """Mark the incident's undelivered messages as late; return their channels."""
    late = (
        outbox.update()
        .where(outbox.c.incident_id == incident_id, outbox.c.state == DeliveryState.QUEUED)
        .values(alert=sa.func.jsonb_set(outbox.c.alert, sa.text("'{late}'"), sa.text("'true'")))
        .returning(outbox.c.channel)
    )
    return frozenset(tx.execute(late).scalars())


def undelivered(
    tx: Connection, *, channel: str, incident_ids: Sequence[IncidentId]
) -> frozenset[IncidentId]:
    """Return the incidents of which this channel still has an undelivered message."""
    query = sa.select(outbox.c.incident_id).where(
        outbox.c.state == DeliveryState.QUEUED,
        outbox.c.channel == channel,
        outbox.c.incident_id.in_(incident_ids),
    )
    return frozenset(IncidentId(one) for one in tx.execute(query).scalars())


def channels_told(tx: Connection, incident_id: IncidentId) -> frozenset[str]:
    """Return the channels that got, or will get, any message about this incident."""
    # one statement, because messages move from one table to the other
    query = sa.union(
        sa.select(outbox.c.channel).where(outbox.c.incident_id == incident_id),
        sa.select(held.c.channel).where(held.c.incident_id == incident_id),
    )
    return frozenset(tx.execute(query).scalars())


CLAIM: Final = sa.text(
    """
    WITH due AS (
        SELECT o.id, o.batch
        FROM outbox o
        WHERE o.state = 'queued'
          AND o.next_at <= now()
          AND o.channel = ANY(:channels)
          AND NOT EXISTS (
              SELECT FROM outbox older
              WHERE older.state = 'queued'
                AND older.channel = o.channel
                AND older.incident_id = o.incident_id
                AND older.seq < o.seq
          )
          AND (o.batch IS NULL OR NOT EXISTS (
              SELECT FROM outbox mate
              WHERE mate.batch = o.batch
                AND mate.state = 'queued'
                AND (mate.seq < o.seq OR EXISTS (
                    SELECT FROM outbox older
                    WHERE older.state = 'queued'
                      AND older.channel = mate.channel
                      AND older.incident_id = mate.incident_id
                      AND older.seq < mate.seq
                ))
          ))
        ORDER BY o.next_at
        LIMIT :limit
        FOR UPDATE OF o SKIP LOCKED
    ), whole AS (
        SELECT id FROM due
        UNION
        SELECT mate.id FROM outbox mate JOIN due ON mate.batch = due.batch
        WHERE mate.state = 'queued'
    )
    UPDATE outbox
    SET attempts = attempts + 1,
        lease_until = now() + :lease,
        next_at = now() + :lease
    FROM whole
    WHERE outbox.id = whole.id
    RETURNING outbox.id, channel, incident_id, attempts, now() - created_at AS age, alert,
        batch, seq
    """
)


def claim(
    tx: Connection, *, channels: Sequence[str], limit: int, lease: timedelta
) -> list[Claimed]:
    """Lease due messages: of each (channel, incident) only the oldest undelivered one.

    Two workers may call this at once and never get the same row. An incident's messages stay in
    order, because the next one is not offered before the first is delivered or dead. A batch is
    claimed as a whole, through its first row.
    """
    bound = {"channels": list(channels), "limit": limit, "lease": lease}
    rows = sorted(tx.execute(CLAIM, bound).mappings(), key=lambda row: int(row["seq"]))
    messages: dict[UUID, list[RowMapping]] = {}
    for row in rows:
        messages.setdefault(row["batch"] or row["id"], []).append(row)
    return [_claimed(message, found) for message, found in messages.items()]


def _claimed(message: UUID, rows: Sequence[RowMapping]) -> Claimed:
    first, *others = rows
    return shaped(
        Claimed,
        first,
        id=message,
        attempts=max(row["attempts"] for row in rows),
        age=max(row["age"] for row in rows),
        beside=tuple(row["alert"] for row in others),
    )


TAKEN: Final = sa.text(
    """
    UPDATE outbox
    SET state = 'delivered', delivered_at = now(), lease_until = NULL, last_error = NULL
    WHERE (id = ANY(:messages) OR batch = ANY(:messages)) AND state <> 'delivered'
    """
)


def mark_delivered(tx: Connection, *messages: UUID) -> bool:
    """Mark messages as delivered: a fact, even if the lease was lost."""
    return tx.execute(TAKEN, {"messages": list(messages)}).rowcount > 0


def postpone(tx: Connection, claimed: Claimed, *, delay: timedelta, error: str) -> bool:
    """Schedule a retry after ``delay``; False if another worker has claimed it since."""
    later = _mine(claimed).values(next_at=sa.func.now() + delay, lease_until=None, last_error=error)
    return tx.execute(later).rowcount > 0


def bury(tx: Connection, claimed: Claimed, *, error: str) -> bool:
    """Make the message a dead letter, until somebody replays it."""
    dead = _mine(claimed).values(state=DeliveryState.DEAD, lease_until=None, last_error=error)
    return tx.execute(dead).rowcount > 0


def split(tx: Connection, claimed: Claimed, *, error: str) -> bool:
    """Split a refused batch: each message gets its own id and all attempts."""
    apart = _mine(claimed).values(
        batch=None, attempts=0, next_at=sa.func.now(), lease_until=None, last_error=error
    )
    return tx.execute(apart).rowcount > 0


def withdraw(tx: Connection, message: UUID, *, error: str) -> bool:
    """Give up on a queued message, even while it is sent; keep its receiver's last answer."""
    dead = (
        outbox.update()
        .where(outbox.c.id == message, outbox.c.state == DeliveryState.QUEUED)
        .values(
            state=DeliveryState.DEAD,
            lease_until=None,
            last_error=sa.func.coalesce(outbox.c.last_error, error),
        )
    )
    return tx.execute(dead).rowcount == 1


def release(tx: Connection, claimed: Claimed) -> bool:
    """Release an unfinished claim at once; the attempt stays counted."""
    back = _mine(claimed).values(next_at=sa.func.now(), lease_until=None)
    wakeups.notify(tx, wakeups.OUTBOX)
    return tx.execute(back).rowcount > 0


def give_back(tx: Connection, claimed: Claimed) -> bool:
    """Release an unused claim: the message is due as if nobody had claimed it."""
    back = _mine(claimed).values(
        next_at=sa.func.now(), lease_until=None, attempts=outbox.c.attempts - 1
    )
    wakeups.notify(tx, wakeups.OUTBOX)
    return tx.execute(back).rowcount > 0


STANDING: Final = sa.text(
    """
    SELECT DISTINCT ON (o.incident_id) o.id, o.alert, i.closed_at IS NULL AS is_open
    FROM incidents i
    JOIN outbox o ON o.incident_id = i.id
    WHERE (i.closed_at IS NULL OR i.closed_at >= now() - :ended_within)
      AND o.channel = :channel
      AND o.state = 'delivered'
    ORDER BY o.incident_id, o.seq DESC
    """
)


def standing(tx: Connection, *, channel: str, ended_within: timedelta) -> list[LastTold]:
    """Return the last delivered message of each open or recently ended incident."""
    bound = {"channel": channel, "ended_within": ended_within}
    return [LastTold(**row) for row in tx.execute(STANDING, bound).mappings()]


def sent_as(message: UUID) -> sa.ColumnElement[bool]:
    """Match the rows that are sent as one message: a batch, or a single row."""
    return (outbox.c.id == message) | (outbox.c.batch == message)


def _mine(claimed: Claimed) -> sa.Update:
    return outbox.update().where(
        sent_as(claimed.id),
        outbox.c.state == DeliveryState.QUEUED,
        outbox.c.attempts == claimed.attempts,
    )
