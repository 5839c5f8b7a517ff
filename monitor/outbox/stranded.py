"""Reroute messages whose channel the config no longer names.

If a channel is renamed or removed while messages wait for it, nobody would ever claim them, and a
page would be lost in silence. The other channels that match and have heard nothing are told as
usual; the message itself becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from alerts.message import Alert
from alerts.message import from_json as alert_from_json
from monitor.domain import IncidentId
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.telling import hold, tell_at_once
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.incidents import deliveries, incidents, outbox, telling
from monitor.store.incidents.deliveries import DeliveryRow

_LOG = structlog.get_logger(__name__)

NO_CHANNEL: Final = "the config names no such channel"
MOST_AT_ONCE: Final = 10
"""Each is its own transaction, and the claiming thread claims nothing meanwhile."""


def rescue(
    database: Database, channels: Sequence[ConfiguredChannel], *, after: timedelta
) -> list[str]:
    """Reroute messages due for longer than ``after`` whose channel is not among ``channels``.

    A daemon with another config would have taken them by then. Returns the channel names of the new
    dead letters, at most :data:`MOST_AT_ONCE`: that many mean that there may be more.
    """
    names = [channel.name for channel in channels]
    rows = database.run(
        lambda tx: deliveries.stranded(tx, channels=names, after=after, most=MOST_AT_ONCE)
    )
    return [row.channel for row in rows if _handed_on(database, row, channels)]


def _handed_on(database: Database, row: DeliveryRow, channels: Sequence[ConfiguredChannel]) -> bool:
    def work(tx: Connection) -> bool:
        if not _may_hand_on(tx, row) or not outbox.withdraw(tx, row.id, error=NO_CHANNEL):
            return False
        told = _tell_others(tx, row, channels)
        audit.append(
            tx,
            actor="driftline",
            act="delivery.dead",
            subject=str(row.id),
            details={"channel": row.channel, "error": NO_CHANNEL, "told": told},
        )
        return True

    done = database.run(work)
    if done:
        _LOG.error("delivery_stranded", id=str(row.id), channel=row.channel, reason=NO_CHANNEL)
    return done


def _may_hand_on(tx: Connection, row: DeliveryRow) -> bool:
    """True if the incident was locked as it stands, or is over for good."""
    if row.incident_id is None or telling.lasting(tx, [row.incident_id]):
        return True
    found = incidents.incident(tx, row.incident_id)
    return found is None or found.closed_at is not None


def _tell_others(
    tx: Connection, row: DeliveryRow, channels: Sequence[ConfiguredChannel]
) -> list[str]:
    alert = _readable(row)
    if alert is None or row.incident_id is None:
        return []
    names = _others(tx, row.incident_id, alert, channels)
    hold(tx, alert, channels=names, incident_id=row.incident_id, transition_id=row.transition_id)
    manners = {channel.name: channel.manner for channel in channels}
    now = tx.execute(sa.select(sa.func.now())).scalar_one()
    tell_at_once(tx, row.incident_id, manners=manners, now=now)
    return names


def _others(
    tx: Connection, incident_id: IncidentId, alert: Alert, channels: Sequence[ConfiguredChannel]
) -> list[str]:
    """Name the channels to tell: those that heard nothing, or of an end those that heard.

    A fleet incident names no owner to match by, so any channel may have been meant.
    """
    heard = outbox.channels_told(tx, incident_id)
    if not alert.firing:
        return [channel.name for channel in channels if channel.name in heard]
    if not telling.lasting(tx, [incident_id]):
        return []
    return [
        channel.name
        for channel in channels
        if channel.name not in heard
        and (alert.together is not None or channel.matcher.accepts(alert))
    ]


def _readable(row: DeliveryRow) -> Alert | None:
    try:
        return alert_from_json(row.alert)
    except ValueError:
        _LOG.warning("message_unreadable", id=str(row.id), channel=row.channel)
        return None
