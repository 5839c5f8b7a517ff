"""Read from the outbox how the channels' receivers take messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.store.incidents.outbox import DeliveryState
from monitor.store.tables.incidents import outbox

DEGRADED_AFTER: Final = timedelta(minutes=10)
"""A channel whose messages failed for this long is shown as degraded."""


def oldest_seconds(tx: Connection) -> float:
    """Return the age of the oldest undelivered message; 0 if there is none."""
    age = sa.extract("epoch", sa.func.now() - sa.func.min(outbox.c.created_at))
    query = sa.select(age).where(outbox.c.state == DeliveryState.QUEUED)
    return float(tx.execute(query).scalar_one() or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHealth:
    """The health of a channel's receiver.

    waiting, oldest
        Messages that it has not taken yet; the age of the oldest, 0 s if there is none.
    failing
        How long a tried message has been waiting; 0 s if none failed.
    dead
        Dead letters, without tests of the channel.
    """

    waiting: int = 0
    oldest: timedelta = timedelta()
    failing: timedelta = timedelta()
    dead: int = 0

    @property
    def degraded(self) -> bool:
        """True if it has failed for ten minutes; messages are still sent and retried."""
        return self.failing >= DEGRADED_AFTER


HEALTH: Final = sa.text(
    """
    SELECT channel, count(*) AS waiting, now() - min(created_at) AS oldest,
           coalesce(now() - min(created_at) FILTER (WHERE last_error IS NOT NULL), '0') AS failing
    FROM outbox WHERE state = 'queued' GROUP BY channel
    """
)
DEAD: Final = sa.text(
    """
    SELECT channel, count(*) FROM outbox
    WHERE state = 'dead' AND NOT coalesce(CAST(alert ->> 'test' AS boolean), false)
    GROUP BY channel
    """
)


def health(tx: Connection) -> dict[str, ChannelHealth]:
    """Return the health of each channel with waiting or dead messages."""
    found = {
        row["channel"]: ChannelHealth(**{k: v for k, v in row.items() if k != "channel"})
        for row in tx.execute(HEALTH).mappings()
    }
    for name, dead in tx.execute(DEAD):
        found[name] = replace(found.get(name, ChannelHealth()), dead=dead)
    return found
