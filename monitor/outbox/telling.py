"""Move messages from waiting to queued, by the rules of :mod:`alerts.telling`.

Every message is first held, once per channel. If it need not wait, it moves on in the same
transaction; :class:`OutboxLoop` checks the rest again and again. Each check reads silences and
inhibitions, so the messages they hold back are told once they end.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final
from uuid import uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from alerts import telling
from alerts.differing import updated
from alerts.message import Alert
from alerts.message import from_json as alert_from_json
from alerts.message import to_json as alert_to_json
from alerts.telling import AT_ONCE, Manner, Telling, acknowledged
from alerts.types import Reason, Severity
from monitor.domain import IncidentId, TransitionId
from monitor.outbox.calling import read_calls
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.matters import Muting, Readable, matters_of, read_muting
from monitor.outbox.present import NEAR, present
from monitor.store import clock
from monitor.store.database import Database
from monitor.store.incidents import incidents, outbox
from monitor.store.incidents import telling as store
from monitor.store.incidents.telling import HeldRow, ToldRow

_LOG = structlog.get_logger(__name__)

LONGEST_PAUSE: Final = timedelta(seconds=15)
"""The longest pause between looks for due repeats while nothing waits."""


class TellingFailed(Exception):  # noqa: N818 - named as the outcome it reports
    """The messages of some channels could not be worked out; the others were queued."""


def hold(
    tx: Connection,
    alert: Alert,
    *,
    channels: Iterable[str],
    incident_id: IncidentId,
    transition_id: TransitionId | None,
) -> None:
    """Hold the message for these channels."""
    for channel in channels:
        store.hold(
            tx,
            channel=channel,
            alert=alert_to_json(alert),
            incident_id=incident_id,
            transition_id=transition_id,
        )


def tell_at_once(
    tx: Connection, incident_id: IncidentId, *, manners: Mapping[str, Manner], now: datetime
) -> None:
    """Queue an incident's held messages for channels that need not wait.

    A channel without an entry in ``manners`` is also told at once. For channels that wait, only
    messages that have become pointless are dropped.
    """
    held = store.take(tx, incident_id)
    muting = read_muting(tx, now=now)
    for name, (rows, told) in _by_channel(held, store.last(tx, incident_id)).items():
        its = manners.get(name, AT_ONCE)
        now_then = replace(AT_ONCE, acknowledges=its.acknowledges)
        _settle(tx, rows, told, manner=now_then, muting=muting, only_drop=not its.at_once)


def tell_each(
    tx: Connection, manners: Mapping[str, Manner], *, now: datetime, margin: timedelta = NEAR
) -> tuple[int, list[str]]:
    """Queue every message that is due; return their number and the channels that failed.

    Only one caller at a time does the work. ``margin`` is how far from the onset a declared change
    is still listed in a repeat. A channel whose messages cannot be worked out holds back no other
    channel.
    """
    if not store.alone(tx):
        return 0, []
    recent = max((one.interval for one in manners.values()), default=timedelta())
    held = store.take(tx)
    muting = read_muting(tx, now=now)
    last = _by_the_clock(tx, store.last(tx, recent=recent), now=now)
    later = {name for name, one in manners.items() if one.unacknowledged_for}
    calls = read_calls(tx, held, later=later, muting=muting)
    queued = 0
    failed: list[str] = []
    channels = _by_channel(held, last)
    for name in sorted(channels, key=later.__contains__):
        manner = manners.get(name, AT_ONCE)
        rows, told = channels[name]
        try:
            with tx.begin_nested():
                queued += _settle(
                    tx,
                    rows,
                    told,
                    manner=manner,
                    muting=muting,
                    called=calls.since(rows, failed=failed),
                    margin=margin,
                )
        except sa.exc.DBAPIError:
            raise
        except Exception:  # noqa: BLE001 (one channel of many)
            _LOG.exception("telling_failed", channel=name)
            failed.append(name)
    return queued, failed


class OutboxLoop:
    """The job that queues held messages; a loop calls :meth:`turn`."""

    def __init__(
        self,
        database: Database,
        channels: Sequence[ConfiguredChannel],
        *,
        change_margin: timedelta = NEAR,
    ) -> None:
        self._database = database
        self._margin = change_margin
        self._manners = {channel.name: channel.manner for channel in channels}
        repeats = [after for one in self._manners.values() for after in one.repeat.values()]
        self._pause = min([LONGEST_PAUSE, *(after / 4 for after in repeats)])
        self._looked = float("-inf")

    def turn(self) -> bool:
        """Queue what is due now; return False, since nothing more is due at once.

        Raises TellingFailed after the other channels were told.
        """
        rested = time.monotonic() - self._looked >= self._pause.total_seconds()
        if not rested and not self._database.run(store.any_held):
            return False
        self._looked = time.monotonic()
        _, failed = self._database.run(self._look)
        if failed:
            raise TellingFailed(", ".join(failed))
        return False

    def next_due(self) -> timedelta | None:
        """Return the time until a message may be due; None if none is held, and none repeats."""
        if self._database.run(store.any_held):
            return timedelta()
        return self._pause if self._database.run(store.any_open) else None

    def _look(self, tx: Connection) -> tuple[int, list[str]]:
        now: datetime = tx.execute(sa.select(sa.func.now())).scalar_one()
        return tell_each(tx, self._manners, now=now, margin=self._margin)


def _by_the_clock(tx: Connection, told: Sequence[ToldRow], *, now: datetime) -> list[ToldRow]:
    """Correct times written by a clock that ran ahead, so that they hold nothing back."""
    known = clock.read(tx)
    return [replace(one, at=clock.sure(known, one.at, now=now)) for one in told]


def _by_channel(
    held: Sequence[HeldRow], told: Sequence[ToldRow]
) -> dict[str, tuple[list[HeldRow], list[ToldRow]]]:
    found: dict[str, tuple[list[HeldRow], list[ToldRow]]] = {}
    for row in held:
        found.setdefault(row.channel, ([], []))[0].append(row)
    for last in told:
        found.setdefault(last.channel, ([], []))[1].append(last)
    return found


def _settle(
    tx: Connection,
    held: Sequence[HeldRow],
    told: Sequence[ToldRow],
    *,
    manner: Manner,
    muting: Muting,
    called: Mapping[IncidentId, datetime] = MappingProxyType({}),
    only_drop: bool = False,
    margin: timedelta = NEAR,
) -> int:
    """Queue one channel's due messages, and drop those that have become pointless."""
    matters = matters_of(_read(tx, held), told, manner=manner, muting=muting, called=called)
    decided = [] if only_drop else telling.decide(matters, manner, muting.now)
    lasting = (_still_so(tx, one, now=muting.now, margin=margin) for one in decided)
    tellings = [one for one in lasting if one is not None]
    for one in tellings:
        channel = (held[0] if held else told[0]).channel
        _queue(tx, channel, one, held)
        if manner.acknowledges and one.reason is not Reason.REPEAT:
            _say_who_has_them(tx, channel, one, now=muting.now)
    moved = {matter.incident for one in tellings for matter, _ in one.news}
    gone = moved | {matter.incident for matter in matters if matter.cancelled}
    store.forget(tx, [row.id for row in held if row.incident_id in gone])
    return len(tellings)


def _still_so(tx: Connection, one: Telling, *, now: datetime, margin: timedelta) -> Telling | None:
    """Drop from a repeat the incidents that are locked by a writer or have ended.

    The others are brought up to date. Held messages are locked; told ones are not, and a repeat
    sent after the end would stay open at the receiver for ever.
    """
    if one.reason is not Reason.REPEAT:
        return one
    ids = [IncidentId(matter.incident) for matter, _ in one.news]
    lasting = store.lasting(tx, ids)
    kept = tuple(
        (matter, _by_now(tx, alert, IncidentId(matter.incident), margin=margin, now=now))
        for matter, alert in one.news
        if matter.incident in lasting
    )
    return replace(one, news=kept) if kept else None


def _by_now(
    tx: Connection, told: Alert, incident_id: IncidentId, *, margin: timedelta, now: datetime
) -> Alert:
    """Bring the message up to date, marked with what changed since it was told."""
    known = present(tx, told, incident_id, margin=margin, now=now)
    return updated(told, known, status=told.status) or known


def _read(tx: Connection, held: Sequence[HeldRow]) -> list[Readable]:
    """Decode held messages. An unreadable one is queued, and its delivery fails loudly."""
    found = []
    for row in held:
        try:
            found.append(Readable(row=row, alert=alert_from_json(row.alert)))
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


def _apart(tx: Connection, channel: str, one: Telling) -> frozenset[IncidentId]:
    """Find incidents whose earlier, undelivered messages would delay a page sent with them."""
    ids = [IncidentId(matter.incident) for matter, _ in one.news]
    behind = outbox.undelivered(tx, channel=channel, incident_ids=ids)
    waits = any(
        alert.firing and alert.severity is Severity.PAGE and matter.incident not in behind
        for matter, alert in one.news
    )
    return behind if waits else frozenset()


def _queue(tx: Connection, channel: str, one: Telling, held: Sequence[HeldRow]) -> None:
    caused = {row.incident_id: row.transition_id for row in held}
    apart = _apart(tx, channel, one)
    batch = uuid4() if len(one.news) - len(apart) > 1 else None
    for matter, alert in one.news:
        incident_id = IncidentId(matter.incident)
        outbox.enqueue(
            tx,
            channel=channel,
            alert=alert_to_json(replace(alert, notification_reason=one.reason_of(matter, alert))),
            incident_id=incident_id,
            transition_id=caused.get(incident_id),
            group_key=matter.group,
            batch=None if incident_id in apart else batch,
        )


def _say_who_has_them(tx: Connection, channel: str, one: Telling, *, now: datetime) -> None:
    """After a first message that waited, tell who acknowledged it, so that it calls nobody."""
    for matter, alert in one.news:
        row = incidents.incident(tx, IncidentId(matter.incident)) if alert.firing else None
        until = row.acknowledged_until if row and row.closed_at is None else None
        if row is not None and until is not None and now < until:
            outbox.enqueue(
                tx,
                channel=channel,
                alert=alert_to_json(acknowledged(alert, by=row.acknowledged_by or "", at=now)),
                incident_id=row.id,
                group_key=matter.group,
            )
