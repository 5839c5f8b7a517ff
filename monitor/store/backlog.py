"""Check that the due work is being done."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

_UNTOUCHED: Final = sa.text(
    """
    SELECT coalesce(extract(epoch FROM now() - min(o.next_at)), 0)
    FROM outbox o
    WHERE o.state = 'queued'
      AND o.next_at <= now()
      AND (CAST(:channels AS text[]) IS NULL OR o.channel = ANY(:channels))
      AND NOT EXISTS (
          SELECT FROM outbox older
          WHERE older.state = 'queued' AND older.channel = o.channel
            AND older.incident_id = o.incident_id AND older.seq < o.seq
      )
    """
)


def untouched_seconds(tx: Connection, *, channels: Collection[str] | None = None) -> float:
    """Return how long the longest-due message has gone unclaimed; 0 if there is none.

    ``channels`` are the configured ones: a message for a channel removed from the config waits for
    a person to replay or leave it. None counts all. A message that a receiver refuses becomes due
    in the future again, and one behind an older message of its incident is not due: so a receiver
    that is down does not show here, but deliverers that are down do.
    """
    return float(tx.execute(_UNTOUCHED, {"channels": _list(channels)}).scalar_one())


_GO_ON: Final = sa.text(
    """
    SELECT NOT EXISTS (SELECT FROM tasks WHERE kind = 'hard')
        OR EXISTS (
            SELECT FROM tasks
            WHERE kind = 'hard' AND failures = 0 AND next_due_at > now() - :within
        )
    """
)


def evaluations_go_on(tx: Connection, *, within: timedelta) -> bool:
    """True if at least one version's minute checks run on time, or if no version has any.

    A finished check schedules its next one ahead; if none finishes, all fall behind.
    """
    return bool(tx.execute(_GO_ON, {"within": within}).scalar_one())


def _list(channels: Collection[str] | None) -> list[str] | None:
    return None if channels is None else sorted(channels)
