"""Somebody takes an incident in hand: no repeats until then, or until it worsens."""

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
from monitor.store import (
    audit,
    fleet_incidents,
    incidents,
    outbox,
    telling,
    versions,
)
from monitor.store.incidents import IncidentRow

_LATER: Final = Manner(wait=timedelta(seconds=1))
"""Any manner that waits."""


class NotOpen(Exception):  # noqa: N818 - what is asked for cannot be done to it
    """The incident is over, so nobody can take it in hand."""


def acknowledge(
    tx: Connection,
    incident_id: IncidentId,
    *,
    by: str,
    lasts: timedelta,
    now: datetime,
    hearers: Hearers,
) -> None:
    """Write down who has an incident in hand, and tell receivers that want to know.

    Raises
    ------
    LookupError
        There is no such incident.
    NotOpen
        It is over.
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
    """Tell those whose people believe that it is open; whoever was not told has nothing to take.

    Where its beginning still waits for others, that goes first: it would call people later,
    as if nobody had it.
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
    """Read the newest state of the incident's key, and hold it."""
    if row.version_id is not None:
        version = versions.fetch_by_id(tx, row.version_id)
        return machine.from_json(incidents.lock_states(tx, version)[row.kind])
    base = row.base_model or ""
    fleet_incidents.lock(tx, base)
    newest = fleet_incidents.newest(tx, base, kind=row.kind)
    return machine.from_json(newest.state) if newest else machine.IncidentState()
