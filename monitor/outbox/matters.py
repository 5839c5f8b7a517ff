"""Read from the store what each channel was told of each incident, and what still waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection

from alerts import incident as machine
from alerts import telling
from alerts.message import Alert
from alerts.message import from_json as alert_from_json
from alerts.silences import Silence, silencing
from alerts.telling import Manner, Matter, Told
from alerts.types import Severity, Status
from monitor.domain import IncidentId
from monitor.store.incidents import silences
from monitor.store.incidents import telling as store
from monitor.store.incidents.telling import HeldRow, ToldRow

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """A waiting message, decoded."""

    row: HeldRow
    alert: Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Muting:
    """The silences and inhibitions in force now."""

    silences: Sequence[Silence]
    without_records: Mapping[tuple[str, str], Severity]
    now: datetime

    def mutes(self, alert: Alert) -> bool:
        """True if the alert is silenced or inhibited now."""
        silenced = silencing(self.silences, alert, now=self.now) is not None
        return silenced or telling.inhibited(alert, self.without_records)


def read_muting(tx: Connection, *, now: datetime) -> Muting:
    """Read the silences in force, and the adapters without records."""
    severities = store.without_records(tx)
    return Muting(
        silences=silences.holding(tx, now=now),
        without_records={who: Severity(severity) for who, severity in severities.items()},
        now=now,
    )


def matters_of(
    held: Sequence[Readable],
    told: Sequence[ToldRow],
    *,
    manner: Manner,
    muting: Muting,
    called: Mapping[IncidentId, datetime],
) -> list[Matter]:
    """Combine the messages that wait for one channel with the last one it was told.

    ``called`` is :attr:`alerts.telling.Matter.called`, where it matters.
    """
    rows: dict[IncidentId, list[Readable]] = {}
    for one in held:
        rows.setdefault(one.row.incident_id, []).append(one)
    known = {last.incident_id: last for last in told}
    found = (
        _matter(
            incident_id,
            rows.get(incident_id, []),
            known.get(incident_id),
            manner=manner,
            muting=muting,
            called=called.get(incident_id),
        )
        for incident_id in {**rows, **known}
    )
    return [matter for matter in found if matter is not None]


def alert_of(last: ToldRow) -> Alert | None:
    """Decode the last message told; None if an older release wrote it in another form."""
    try:
        return alert_from_json(last.alert)
    except ValueError:
        _LOG.warning("message_unreadable", incident=last.incident_id, channel=last.channel)
        return None


def _matter(
    incident_id: IncidentId,
    rows: Sequence[Readable],
    last: ToldRow | None,
    *,
    manner: Manner,
    muting: Muting,
    called: datetime | None,
) -> Matter | None:
    told = None if last is None else _told(last)
    held = tuple(row.alert for row in rows)
    newest = held[-1] if held else None if told is None else told.alert
    if newest is None:
        return None
    since = rows[0].row.at if rows else muting.now
    return Matter(
        incident=incident_id,
        group=(last and last.group_key) or telling.group_of(newest, manner),
        told=told,
        held=held,
        since=since,
        called=called or since,
        muted=muting.mutes(newest),
        quiet=_quiet(last or rows[0].row, muting.now),
    )


def _told(last: ToldRow) -> Told:
    """Decode the last message told, or at least whether it was firing and urgent."""
    alert = alert_of(last)
    if alert is not None:
        return Told.by(alert, at=last.at, taken=last.taken)
    urgent = last.alert.get("severity") == Severity.PAGE
    return Told(
        firing=last.alert.get("status") != Status.RECOVERED,
        severity=Severity.PAGE if urgent else Severity.TICKET,
        at=last.at,
    )


def _quiet(known: ToldRow | HeldRow, now: datetime) -> bool:
    """True if the incident is over or acknowledged; an unreadable state holds up no channel."""
    if not known.is_open:
        return True
    try:
        ack = machine.from_json(known.state).ack
    except ValueError:
        _LOG.warning("incident_unreadable", incident=known.incident_id)
        return False
    return ack is not None and now < ack.until
