"""Acknowledge an incident: its repeats stop until the time ends or the incident worsens."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from alerts import incident as machine
from alerts.message import to_json as alert_to_json
from alerts.telling import Manner, acknowledged
from monitor.domain import IncidentId
from monitor.outbox.marking import Hearers
from monitor.outbox.matters import alert_of
from monitor.outbox.telling import tell_at_once
from monitor.store import audit
from monitor.store.incidents import fleet_incidents, incidents, outbox, telling
from monitor.store.incidents.incidents import IncidentRow, StoredKey
from monitor.store.registry import versions

_LATER: Final = Manner(wait=timedelta(seconds=1))
"""Any manner with a wait."""


class NotOpen(Exception):  # noqa: N818 - what is asked for cannot be done to it
    """The incident is over, so nobody can acknowledge it."""


def acknowledge(
    tx: Connection,
    incident_id: IncidentId,
    *,
    by: str,
    lasts: timedelta,
    now: datetime,
    hearers: Hearers,
) -> None:
    """Store who acknowledged an incident, and tell the channels that announce acknowledgements.

    Raises
    ------
    LookupError
        There is no such incident.
    NotOpen
        The incident is over.
    """
    row = incidents.incident(tx, incident_id)
    if row is None:
        raise LookupError(f"There is no incident {incident_id}.")
    state = _held_state(tx, row)
    after, _ = machine.step(state, machine.Acknowledged(by=by, lasts=lasts), now)
    if row.closed_at is not None or after.ack is None:
        raise NotOpen(f"Incident {row.id} is not open.")
    incidents.put_state_of(tx, row.id, phase=after.phase.value, state=machine.to_json(after))
    audit.append(tx, actor=by, act="incident.ack", subject=f"incident {row.id}")
    _tell(tx, row.id, by=by, now=now, channels=hearers.acknowledging)


def _tell(
    tx: Connection, incident_id: IncidentId, *, by: str, now: datetime, channels: Collection[str]
) -> None:
    """Tell the channels whose receivers believe that the incident is open.

    If the incident's first message still waits, send that message first: sent later, it would
    call people as if nobody had acknowledged the incident.
    """
    waiting = {row.channel for row in telling.take(tx, incident_id)}
    others = dict.fromkeys(waiting.difference(channels), _LATER)
    tell_at_once(tx, incident_id, manners=others, now=now)
    for one in telling.last(tx, incident_id):
        told = alert_of(one) if one.channel in channels else None
        if told is not None and told.firing:
            outbox.enqueue(
                tx,
                channel=one.channel,
                alert=alert_to_json(acknowledged(told, by=by, at=now)),
                incident_id=incident_id,
                group_key=one.group_key,
            )


def _held_state(tx: Connection, row: IncidentRow) -> machine.IncidentState:
    """Lock and read the newest state of the incident's key."""
    if row.version_id is not None:
        version = versions.fetch_by_id(tx, row.version_id)
        return machine.from_json(incidents.lock_states(tx, version)[row.kind])
    base = row.base_model or ""
    fleet_incidents.lock(tx, base)
    newest = incidents.newest(tx, StoredKey.on(base, row.kind))
    return machine.from_json(newest.state) if newest else machine.IncidentState()
