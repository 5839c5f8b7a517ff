"""An open incident as it stands now, for whoever is told of it again.

What is told first knows the least: probes have not answered, nothing was done yet, others
have not moved. A repeat says what is known by then, and lists and pages say the same.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

import alerts.types as words
from alerts.message import ActionLine, Alert, Done, ScoreLine, leading
from alerts.words import summarise, summarise_fleet
from monitor.domain import Blame, IncidentId, Severity, Verdict, VersionId
from monitor.outbox.changes import changes_about
from monitor.outbox.inputs import onset_of
from monitor.outbox.lines import score_lines
from monitor.outbox.writing import said_of_the_cause
from monitor.policy import Memory
from monitor.store import actions, evaluations, fleet_incidents, incidents, routes, verdicts
from monitor.store.actions import OPEN, TAKEN, ActionRow
from monitor.store.incidents import IncidentRow
from monitor.store.routes import RouteRow
from monitor.store.verdicts import VerdictRow

_LOG = structlog.get_logger(__name__)

RECENT_ACTIONS: Final = 20
NEAR: Final = timedelta(minutes=15)
"""A declared change is listed with an onset that it is no further from, unless said otherwise."""


def present(
    tx: Connection, told: Alert, incident_id: IncidentId, *, margin: timedelta, now: datetime
) -> Alert:
    """Give what was told of an open incident with what is known by now, and store what is new.

    ``margin`` is how far from the onset a declared change is still listed.
    Only of drift; what else there is to tell does not change while it lasts. What cannot be
    read is told as it was: one incident keeps no channel's messages back.
    """
    row = incidents.incident(tx, incident_id)
    if row is None or row.kind != words.Kind.DRIFT:
        return told
    try:
        if row.version_id is None:
            return _of_fleet(tx, told, row, now=now)
        return _own(tx, told, row, row.version_id, margin=margin, now=now)
    except sa.exc.DBAPIError:
        raise
    except Exception:  # noqa: BLE001 (one incident of many: another release wrote its memory)
        _LOG.exception("incident_unreadable", incident=incident_id)
        return told


def blame_now(row: IncidentRow, verdict: Verdict | None) -> Blame:
    """Say where the change sits as far as is known; what was told may have known less.

    ``verdict`` is its version's in force; of an incident that is over what was told stands.
    """
    if row.closed_at is not None or verdict is None or verdict.blame is Blame.UNKNOWN:
        return row.blame
    return verdict.blame


def action_words(action: ActionRow) -> str:
    """Say what became of an action, and why."""
    by = "" if action.actor == "driftline" else f" by {action.actor}"
    what = f"{action.kind} of {action.adapter}@{action.version} is {action.state}"
    return f"{what}{by}: {action.reason}"


def route_words(changed: RouteRow) -> str:
    """Say who answers by a route, and who set it."""
    route = changed.route
    arms = ", ".join(
        f"{arm.version} {100 * arm.weight:.3g}%" for arm in route.arms if arm.weight > 0
    )
    return f"route generation {route.generation} ({arms}) by {changed.actor}: {route.reason}"


def _own(
    tx: Connection,
    told: Alert,
    row: IncidentRow,
    version_id: VersionId,
    *,
    margin: timedelta,
    now: datetime,
) -> Alert:
    alert = replace(told, action=done(tx, row) or told.action)
    judged = verdicts.current(tx, version_id=version_id)
    if judged is None or judged.verdict.severity is Severity.NONE:
        return alert  # not known any more is not found to be well
    verdict = judged.verdict
    blame = words.Blame(blame_now(row, verdict).value)
    cause = said_of_the_cause(replace(verdict, blame=Blame(blame.value)), now=now)
    alert = replace(
        alert,
        verdict=words.Verdict(verdict.kind.value),
        blame=blame,
        cause=cause,
        reason=verdict.reason,
        onset=onset_of(verdict) or told.onset,
    )
    alert = replace(alert, scores=_lines(tx, judged) or told.scores)
    if verdict.onset is not None:
        declared = changes_about(tx, told.adapter, interval=verdict.onset, margin=margin, now=now)
        alert = replace(alert, changes=declared)
    summary = summarise(
        f"{told.adapter}@{told.version}",
        kind=told.kind,
        status=told.status,
        severity=told.severity,
        now=now,
        lead=leading(alert.scores),
        onset=alert.onset,
        cause=cause,
    )
    return _stored(tx, row, replace(alert, summary=summary))


def _stored(tx: Connection, row: IncidentRow, alert: Alert) -> Alert:
    incidents.put_told(tx, row.id, blame=Blame(alert.blame.value), summary=alert.summary)
    return alert


def _lines(tx: Connection, judged: VerdictRow) -> tuple[ScoreLine, ...]:
    latest = evaluations.latest_scores_of(tx, adapter_id=judged.adapter_id)
    scores = {one.detector: one for one in latest if one.version_id == judged.version_id}
    crossings = Memory.from_json(judged.memory).crossings if judged.memory else ()
    return score_lines(scores, judged.verdict.detectors, crossings)


def _of_fleet(tx: Connection, told: Alert, row: IncidentRow, *, now: datetime) -> Alert:
    """Name those that have joined since it was told."""
    if told.together is None:
        return told
    known = [one for one in fleet_incidents.members(tx, row.id) if one.left_at is None]
    members = tuple(dict.fromkeys(one.label for one in known))
    together = replace(told.together, members=members or told.together.members)
    summary = summarise_fleet(
        together,
        status=told.status,
        severity=told.severity,
        now=now,
        lead=leading(told.scores),
        onset=told.onset,
    )
    return _stored(tx, row, replace(told, together=together, summary=summary))


def done(tx: Connection, row: IncidentRow) -> ActionLine | None:
    """Say what was last done about its traffic, or waits for a person; else who set a route."""
    found = actions.action_list(tx, adapter_id=row.adapter_id, limit=RECENT_ACTIONS)
    for one in found:
        ours = one.version_id == row.version_id and one.created_at >= row.opened_at
        if ours and one.state in TAKEN | OPEN:
            taken = Done.TAKEN if one.state in TAKEN else Done.RECOMMENDED
            return ActionLine(done=taken, kind=one.kind.value, text=action_words(one))
    for changed in routes.history(tx, row.adapter or "", limit=1):
        if changed.route.since >= row.opened_at:
            return ActionLine(done=Done.TAKEN, kind="route", text=route_words(changed))
    return None
