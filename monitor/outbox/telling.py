"""Moves messages from those that wait to those that are sent, as :mod:`alerts.telling` says.

Everything that happens is first held, for each channel that it concerns. What need not wait
moves on in the same transaction; the rest is looked at again and again by :class:`Teller`.
Silences and inhibition are asked each time, so what they hold back is told once they end.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from alerts import incident as machine
from alerts import telling
from alerts.message import Alert
from alerts.message import from_json as alert_from_json
from alerts.message import to_json as alert_to_json
from alerts.silences import Silence, silencing
from alerts.telling import AT_ONCE, Manner, Matter, Telling, Told
from alerts.types import Severity, Status
from monitor.domain import IncidentId, TransitionId
from monitor.outbox.channels import ConfiguredChannel
from monitor.store import outbox, silences
from monitor.store import telling as store
from monitor.store.database import Database
from monitor.store.telling import HeldRow, ToldRow

_LOG = structlog.get_logger(__name__)

LONGEST_PAUSE: Final = timedelta(seconds=15)
"""How often open incidents are looked at for repeats, at least, where nothing waits."""


def hold(
    tx: Connection,
    alert: Alert,
    *,
    channels: Iterable[str],
    incident_id: IncidentId,
    transition_id: TransitionId | None,
) -> None:
    """Let the message wait for these channels."""
    for channel in channels:
        store.hold(
            tx,
            channel=channel,
            alert=alert_to_json(alert),
            incident_id=incident_id,
            transition_id=transition_id,
        )


def tell_at_once(
    tx: Connection,
    incident_id: IncidentId,
    *,
    manners: Mapping[str, Manner],
    now: datetime,
) -> None:
    """Queue what waits of one incident for channels that need not wait for others.

    A channel without an entry in ``manners`` is told at once, too.
    """
    held = store.take(tx, incident_id)
    told = store.last(tx, incident_id)
    found = _matters(tx, held, told, manners=manners, now=now)
    for name, matters in found.items():
        manner = manners.get(name, AT_ONCE)
        _settle(tx, name, matters, AT_ONCE if manner.at_once else None, held=held, now=now)


def tell_due(tx: Connection, manners: Mapping[str, Manner], *, now: datetime) -> int:
    """Queue whatever is due; give the number of messages. One at a time, whoever asks."""
    if not store.alone(tx):
        return 0
    recent = max((one.interval for one in manners.values()), default=timedelta())
    held = store.take(tx)
    told = store.last(tx, recent=recent)
    found = _matters(tx, held, told, manners=manners, now=now)
    return sum(
        _settle(tx, name, matters, manners.get(name, AT_ONCE), held=held, now=now)
        for name, matters in found.items()
    )


class Teller:
    """Looks at what waits; :meth:`turn` is the work of a loop."""

    def __init__(self, database: Database, channels: Sequence[ConfiguredChannel]) -> None:
        self._database = database
        self._manners = {channel.name: channel.manner for channel in channels}
        repeats = [after for one in self._manners.values() for after in one.repeat.values()]
        self._pause = min([LONGEST_PAUSE, *(after / 4 for after in repeats)])
        self._looked = float("-inf")

    def turn(self) -> bool:
        """Queue what is due now; False, as there is nothing more to do at once."""
        rested = time.monotonic() - self._looked >= self._pause.total_seconds()
        if not rested and not self._database.run(store.any_held):
            return False
        self._looked = time.monotonic()
        self._database.run(self._look)
        return False

    def _look(self, tx: Connection) -> int:
        now: datetime = tx.execute(sa.select(sa.func.now())).scalar_one()
        return tell_due(tx, self._manners, now=now)


def _matters(
    tx: Connection,
    held: Sequence[HeldRow],
    told: Sequence[ToldRow],
    *,
    manners: Mapping[str, Manner],
    now: datetime,
) -> dict[str, list[Matter]]:
    """Put together what each channel has heard and has not, by channel."""
    muting = _Muting(
        silences=silences.holding(tx, now=now),
        without_records={
            who: Severity(severity) for who, severity in store.without_records(tx).items()
        },
        now=now,
    )
    rows: dict[tuple[str, IncidentId], list[_Readable]] = {}
    for one in _read(tx, held):
        rows.setdefault((one.row.channel, one.row.incident_id), []).append(one)
    known = {(last.channel, last.incident_id): last for last in told}
    found: dict[str, list[Matter]] = {}
    for name, incident_id in {**rows, **known}:
        matter = _matter(
            incident_id,
            rows.get((name, incident_id), []),
            known.get((name, incident_id)),
            manner=manners.get(name, AT_ONCE),
            muting=muting,
        )
        if matter is not None:
            found.setdefault(name, []).append(matter)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Muting:
    """What keeps messages back now."""

    silences: Sequence[Silence]
    without_records: Mapping[tuple[str, str], Severity]
    now: datetime

    def mutes(self, alert: Alert) -> bool:
        silenced = silencing(self.silences, alert, now=self.now) is not None
        return silenced or telling.inhibited(alert, self.without_records)


def _matter(
    incident_id: IncidentId,
    rows: Sequence[_Readable],
    last: ToldRow | None,
    *,
    manner: Manner,
    muting: _Muting,
) -> Matter | None:
    told = None if last is None else _told(last)
    held = tuple(row.alert for row in rows)
    newest = held[-1] if held else None if told is None else told.alert
    if newest is None:
        return None
    return Matter(
        incident=incident_id,
        group=(last and last.group_key) or telling.group_of(newest, manner),
        told=told,
        held=held,
        since=rows[0].row.at if rows else muting.now,
        muted=muting.mutes(newest),
        quiet=last is None or not last.is_open or _in_hand(last, muting.now),
    )


def alert_of(last: ToldRow) -> Alert | None:
    """Read the message that was told last; None: an older release wrote it otherwise."""
    try:
        return alert_from_json(last.alert)
    except ValueError:
        _LOG.warning("message_unreadable", incident=last.incident_id, channel=last.channel)
        return None


def _told(last: ToldRow) -> Told:
    """Read what was told last, or at least what it made people believe."""
    alert = alert_of(last)
    if alert is not None:
        return Told.by(alert, at=last.at)
    urgent = last.alert.get("severity") == Severity.PAGE
    return Told(
        firing=last.alert.get("status") != Status.RECOVERED,
        severity=Severity.PAGE if urgent else Severity.TICKET,
        at=last.at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Readable:
    """A message that waits, as the rules of telling read it."""

    row: HeldRow
    alert: Alert


def _read(tx: Connection, held: Sequence[HeldRow]) -> list[_Readable]:
    """Read what waits. What cannot be read waits no more: delivery says so, loudly."""
    found = []
    for row in held:
        try:
            found.append(_Readable(row=row, alert=alert_from_json(row.alert)))
        except ValueError:
            outbox.enqueue(
                tx,
                channel=row.channel,
                alert=row.alert,
                incident_id=row.incident_id,
                transition_id=row.transition_id,
            )
            store.forget(tx, [row.id])
    return found


def _in_hand(last: ToldRow, now: datetime) -> bool:
    ack = machine.from_json(last.state).ack
    return ack is not None and now < ack.until


def _settle(
    tx: Connection,
    channel: str,
    matters: Sequence[Matter],
    manner: Manner | None,
    *,
    held: Sequence[HeldRow],
    now: datetime,
) -> int:
    """Queue what is due of one channel, and drop what came to nothing; None: nothing is due."""
    mine = [row for row in held if row.channel == channel]
    tellings = [] if manner is None else telling.decide(matters, manner, now)
    for one in tellings:
        _queue(tx, channel, one, mine)
    moved = {matter.incident for one in tellings for matter, _ in one.news}
    gone = moved | {matter.incident for matter in matters if matter.cancelled}
    store.forget(tx, [row.id for row in mine if row.incident_id in gone])
    return len(tellings)


def _queue(tx: Connection, channel: str, one: Telling, held: Sequence[HeldRow]) -> None:
    caused = {row.incident_id: row.transition_id for row in held}
    batch = uuid4() if len(one.news) > 1 else None
    for matter, alert in one.news:
        incident_id = IncidentId(matter.incident)
        outbox.enqueue(
            tx,
            channel=channel,
            alert=alert_to_json(replace(alert, notification_reason=one.reason)),
            incident_id=incident_id,
            transition_id=caused.get(incident_id),
            group_key=matter.group,
            batch=batch,
        )
