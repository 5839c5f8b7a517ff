"""An open incident as it stands now, for its repeated messages.

The first message knows least: probes have not answered, no action was taken, no other adapter has
moved. A repeat says what is known by then, and lists and pages say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

import alerts.types as words
from alerts.message import Alert, ScoreLine, from_json
from alerts.titles import summarised
from alerts.types import Blame
from monitor.domain import IncidentId, Verdict, VerdictSeverity, Version, VersionId
from monitor.outbox.changes import changes_about
from monitor.outbox.deeds import done
from monitor.outbox.inputs import onset_of
from monitor.outbox.lines import score_lines
from monitor.outbox.untold import untold, untold_of_fleet
from monitor.outbox.writing import said_of_the_cause
from monitor.store.evaluation import evaluations, verdicts
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.incidents import deliveries, fleet_incidents, incidents
from monitor.store.incidents.deliveries import DeliveryRow
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.registry import versions

_LOG = structlog.get_logger(__name__)

NEAR: Final = timedelta(minutes=15)
"""The default for how far from the onset a declared change is still listed."""


def present(
    tx: Connection, told: Alert, incident_id: IncidentId, *, margin: timedelta, now: datetime
) -> Alert:
    """Bring an open incident's last message up to date, and store what is new.

    ``margin`` is how far from the onset a declared change is still listed. Only drift is updated;
    other kinds do not change while they last. A message that cannot be brought up to date is told
    as it was: one incident must not hold back a channel's messages.
    """
    row = incidents.incident(tx, incident_id)
    if row is None or row.kind != words.Kind.DRIFT:
        return told
    try:
        if row.version_id is None:
            return _of_fleet(tx, told, row)
        return _own(tx, told, row, row.version_id, margin=margin, now=now)
    except sa.exc.DBAPIError:
        raise
    except Exception:  # noqa: BLE001 (one incident of many: another release wrote its memory)
        _LOG.exception("incident_unreadable", incident=incident_id)
        return told


def blame_now(row: IncidentRow, verdict: Verdict | None) -> Blame:
    """Return the current blame, which the first message may not have known yet.

    ``verdict`` is the version's verdict in force. An incident that is over keeps the blame that was
    told.
    """
    if row.closed_at is not None or verdict is None or verdict.blame is Blame.UNKNOWN:
        return row.blame
    return verdict.blame


def newest(
    tx: Connection, version: Version, *, margin: timedelta, now: datetime
) -> tuple[Alert, IncidentRow | None] | None:
    """Return the message that would be written of a version now, and its open incident.

    None: nothing is wrong that people would be told of. Pages show it, so that they say the same
    as messages. Drift goes before other kinds, and a page before a ticket.
    """
    opened = [
        row
        for row in incidents.incident_list(tx, adapter_id=version.adapter_id, open_only=True)
        if row.version_id == version.id
    ]
    row = min(opened, key=_urgency, default=None)
    judged = verdicts.current(tx, version_id=version.id)
    if judged is None or (row is None and judged.verdict.severity is VerdictSeverity.NONE):
        return None
    told = last_told(deliveries.newest(tx, incident_id=row.id, limit=1)) if row else None
    alert = told or untold(tx, version, judged.verdict, row, now=now)
    return _up_to_date(tx, alert, version, judged, row, margin=margin, now=now), row


def of_incident(
    tx: Connection,
    row: IncidentRow,
    sent: Sequence[DeliveryRow],
    *,
    margin: timedelta,
    now: datetime,
) -> Alert:
    """Return an incident's last message while it was open, else the one it would have now.

    ``sent`` holds its messages, newest first.
    """
    told = last_told(sent)
    if told is not None:
        return told
    if row.version_id is None:
        return untold_of_fleet(tx, row, now=now)
    version = versions.fetch_by_id(tx, row.version_id)
    judged = verdicts.current(tx, version_id=version.id)
    if judged is None:
        unknown = Verdict(kind=words.VerdictKind.LEARNING, reason="", since=row.opened_at)
        return untold(tx, version, unknown, row, now=now)
    alert = untold(tx, version, judged.verdict, row, now=now)
    if row.closed_at is not None:
        return alert
    return _up_to_date(tx, alert, version, judged, row, margin=margin, now=now)


def last_told(sent: Sequence[DeliveryRow]) -> Alert | None:
    """Return the last message about an incident while it was open; None if there is none."""
    for one in sent:
        try:
            told = from_json(one.alert)
        except ValueError:  # an older release wrote it in another form
            continue
        if told.firing:
            return told
    return None


def _urgency(row: IncidentRow) -> tuple[bool, bool, int]:
    return row.kind != words.Kind.DRIFT, row.severity is not VerdictSeverity.PAGE, row.id


def _up_to_date(
    tx: Connection,
    alert: Alert,
    version: Version,
    judged: VerdictRow,
    row: IncidentRow | None,
    *,
    margin: timedelta,
    now: datetime,
) -> Alert:
    """Bring a drift's message up to date; the other kinds do not change while they last."""
    if alert.kind is not words.Kind.DRIFT:
        return alert
    since = row.opened_at if row else judged.verdict.since
    blame = blame_now(row, judged.verdict) if row else judged.verdict.blame
    return _brought_up(tx, alert, version, judged, (since, blame), margin=margin, now=now)


def _own(
    tx: Connection,
    told: Alert,
    row: IncidentRow,
    version_id: VersionId,
    *,
    margin: timedelta,
    now: datetime,
) -> Alert:
    version, judged = (
        versions.fetch_by_id(tx, version_id),
        verdicts.current(tx, version_id=version_id),
    )
    if judged is None or judged.verdict.severity is VerdictSeverity.NONE:
        # unknown is not healthy
        return replace(told, action=done(tx, version, since=row.opened_at) or told.action)
    known = row.opened_at, blame_now(row, judged.verdict)
    alert = _brought_up(tx, told, version, judged, known, margin=margin, now=now)
    return _stored(tx, row, alert)


def _brought_up(
    tx: Connection,
    told: Alert,
    version: Version,
    judged: VerdictRow,
    known: tuple[datetime, Blame],
    *,
    margin: timedelta,
    now: datetime,
) -> Alert:
    """Bring a drift's message up to date; ``known`` is its beginning and its blame."""
    verdict, (since, blame) = judged.verdict, known
    alert = replace(told, action=done(tx, version, since=since) or told.action)
    if verdict.severity is VerdictSeverity.NONE:
        return alert  # unknown is not healthy
    cause = said_of_the_cause(replace(verdict, blame=blame), now=now)
    alert = replace(
        alert,
        verdict=verdict.kind,
        blame=blame,
        cause=cause,
        reason=verdict.reason,
        onset=onset_of(verdict) or told.onset,
    )
    alert = replace(alert, scores=_lines(tx, judged) or told.scores)
    if verdict.onset is not None:
        declared = changes_about(tx, told.adapter, interval=verdict.onset, margin=margin, now=now)
        alert = replace(alert, changes=declared)
    return summarised(alert)


def _stored(tx: Connection, row: IncidentRow, alert: Alert) -> Alert:
    incidents.put_told(tx, row.id, blame=alert.blame, summary=alert.summary)
    return alert


def _lines(tx: Connection, judged: VerdictRow) -> tuple[ScoreLine, ...]:
    latest = evaluations.latest_scores_of(tx, adapter_id=judged.adapter_id)
    scores = {one.detector: one for one in latest if one.version_id == judged.version_id}
    return score_lines(scores, judged.verdict.detectors, judged.memory.crossings)


def _of_fleet(tx: Connection, told: Alert, row: IncidentRow) -> Alert:
    """Add the members that joined since the message."""
    if told.together is None:
        return told
    known = [one for one in fleet_incidents.members(tx, row.id) if one.left_at is None]
    members = tuple(dict.fromkeys(one.label for one in known))
    together = replace(told.together, members=members or told.together.members)
    return _stored(tx, row, summarised(replace(told, together=together)))
