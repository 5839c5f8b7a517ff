"""An open incident as it stands now, for its repeated messages.

The first message knows least: probes have not answered, no action was taken, no other adapter has
moved. A repeat says what is known by then, and lists and pages say the same.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

import alerts.types as words
from alerts.message import ActionLine, Alert, Done, ScoreLine, from_json, leading
from alerts.types import Blame
from alerts.words import summarise, summarise_fleet
from monitor.domain import IncidentId, Verdict, VerdictSeverity, Version, VersionId
from monitor.outbox.changes import changes_about
from monitor.outbox.inputs import onset_of
from monitor.outbox.lines import score_lines
from monitor.outbox.writing import said_of_the_cause
from monitor.store.evaluation import evaluations, verdicts
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.incidents import deliveries, fleet_incidents, incidents
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.people.words import by_a_person
from monitor.store.registry import adapters, versions
from monitor.store.traffic import actions, routes
from monitor.store.traffic.actions import (
    AUTOMATIC,
    OPEN,
    TAKEN,
    ActionKind,
    ActionRow,
    ActionState,
)
from monitor.store.traffic.routes import RouteRow

_LOG = structlog.get_logger(__name__)

RECENT_ACTIONS: Final = 20
ENDED: Final = frozenset({ActionState.BLOCKED, ActionState.EXPIRED})
"""Actions in these states were not carried out."""
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
            return _of_fleet(tx, told, row, now=now)
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


def deed(action: ActionRow) -> ActionLine:
    """Describe an action's result in a message, without times, since those are no news."""
    target = str((action.target or {}).get("version", "another version"))
    what, short = {
        ActionKind.FALLBACK: (f"100 % of traffic to {target}", f"to {target}"),
        ActionKind.TRIAL: (f"a trial share of traffic back to {action.version}", "back in part"),
        ActionKind.END_TRIAL: (f"the trial's traffic away from {action.version}", "away again"),
        ActionKind.RETURN: (f"100 % of traffic back to {action.version}", "back"),
    }[action.kind]
    by = "" if action.actor == AUTOMATIC else f" (approved by {action.actor})"
    match action.state:
        case ActionState.VERIFIED:
            text, short = f"moved {what}, confirmed by the router", f"traffic moved {short}"
        case ActionState.VERIFY_FAILED:
            text = f"asked the router to move {what}; it has not confirmed"
            short = "move unconfirmed"
        case ActionState.EXECUTING | ActionState.APPLIED:
            text, short = f"moving {what}", f"moving traffic {short}"
        case ActionState.RECOMMENDED | ActionState.AWAITING_APPROVAL:
            return ActionLine(done=Done.RECOMMENDED, kind=action.kind.value, text=f"move {what}")
        case ActionState.BLOCKED | ActionState.EXPIRED:
            return ActionLine(done=Done.BLOCKED, kind=action.kind.value, text=action.reason)
        case _:
            assert_never(action.state)
    return ActionLine(
        done=Done.TAKEN,
        kind=action.kind.value,
        text=f"{text}{by}",
        short=short,
        unconfirmed=action.state is ActionState.VERIFY_FAILED,
    )


def action_words(action: ActionRow) -> str:
    """Describe an action, its state and its reason."""
    by = "" if action.actor == "driftline" else f" by {action.actor}"
    what = f"{action.kind} of {action.adapter}@{action.version} is {action.state}"
    return f"{what}{by}: {action.reason}"


def route_words(changed: RouteRow) -> str:
    """Describe a route's arms, and who set it."""
    route = changed.route
    arms = ", ".join(
        f"{arm.version} {100 * arm.weight:.3g}%" for arm in route.arms if arm.weight > 0
    )
    return f"route generation {route.generation} ({arms}) by {changed.actor}: {route.reason}"


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
    told = _last_told(tx, row) if row else None
    alert = told or _untold(tx, version, judged, row, now=now)
    if alert.kind is words.Kind.DRIFT:
        since = row.opened_at if row else judged.verdict.since
        blame = blame_now(row, judged.verdict) if row else judged.verdict.blame
        alert = _brought_up(tx, alert, version, judged, (since, blame), margin=margin, now=now)
    return alert, row


def _urgency(row: IncidentRow) -> tuple[bool, bool, int]:
    return row.kind != words.Kind.DRIFT, row.severity is not VerdictSeverity.PAGE, row.id


def _last_told(tx: Connection, row: IncidentRow) -> Alert | None:
    sent = next(iter(deliveries.newest(tx, incident_id=row.id, limit=1)), None)
    try:
        return None if sent is None else from_json(sent.alert)
    except ValueError:  # an older release wrote it in another form
        return None


def _untold(
    tx: Connection, version: Version, judged: VerdictRow, row: IncidentRow | None, *, now: datetime
) -> Alert:
    """Write the message of a version that no channel has been told of."""
    verdict, adapter = judged.verdict, adapters.fetch_by_id(tx, version.adapter_id)
    severity = row.severity if row else verdict.severity
    kind = words.Kind(row.kind) if row else words.Kind.DRIFT
    return Alert(
        id="",
        number=row.number if row else 0,
        kind=kind,
        adapter=version.adapter,
        version=version.name,
        status=words.Status.STARTED,
        severity=words.Severity(severity.value),
        verdict=words.VerdictKind(verdict.kind.value),
        blame=words.Blame(verdict.blame.value),
        summary=row.summary if row else "",
        reason=verdict.reason if kind is words.Kind.DRIFT or row is None else row.summary,
        at=now,
        started_at=row.opened_at if row else verdict.since,
        owner=adapter.owner,
        tier=adapter.tier,
    )


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
    verdict, (since, blamed) = judged.verdict, known
    alert = replace(told, action=done(tx, version, since=since) or told.action)
    if verdict.severity is VerdictSeverity.NONE:
        return alert  # unknown is not healthy
    blame = words.Blame(blamed.value)
    cause = said_of_the_cause(replace(verdict, blame=Blame(blame.value)), now=now)
    alert = replace(
        alert,
        verdict=words.VerdictKind(verdict.kind.value),
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
    return replace(alert, summary=summary)


def _stored(tx: Connection, row: IncidentRow, alert: Alert) -> Alert:
    incidents.put_told(tx, row.id, blame=Blame(alert.blame.value), summary=alert.summary)
    return alert


def _lines(tx: Connection, judged: VerdictRow) -> tuple[ScoreLine, ...]:
    latest = evaluations.latest_scores_of(tx, adapter_id=judged.adapter_id)
    scores = {one.detector: one for one in latest if one.version_id == judged.version_id}
    crossings = judged.memory.crossings
    return score_lines(scores, judged.verdict.detectors, crossings)


def _of_fleet(tx: Connection, told: Alert, row: IncidentRow, *, now: datetime) -> Alert:
    """Add the members that joined since the message."""
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


def done(tx: Connection, version: Version, *, since: datetime) -> ActionLine | None:
    """Return what was done about a version's traffic since its incident opened.

    The newest action that was taken, awaits approval or was a person's own; else who has served its
    traffic since before; else what blocked an action.
    """
    ours = [
        one
        for one in actions.action_list(tx, adapter_id=version.adapter_id, limit=RECENT_ACTIONS)
        if one.version_id == version.id and one.created_at >= since
    ]
    taken = next((one for one in ours if one.state in TAKEN | OPEN), None)
    route = next(iter(routes.history(tx, version.adapter, limit=1)), None)
    if route is not None and by_a_person(route.actor):
        after = since if taken is None else taken.decided_at or taken.created_at
        if route.route.since >= after:
            return _set_by(route)
    if taken is not None:
        return deed(taken)
    if route is not None and _serves_nothing(version, route):
        return _away(route)
    ended = next((one for one in ours if one.state in ENDED), None)
    return None if ended is None else deed(ended)


def _serves_nothing(version: Version, route: RouteRow) -> bool:
    return all(arm.weight <= 0 for arm in route.route.arms if arm.version == version.name)


def _away(route: RouteRow) -> ActionLine:
    """Describe a route that gave the version no traffic already before the finding."""
    text = f"traffic already went to {_shares(route)} when this was found"
    return ActionLine(done=Done.TAKEN, kind="route", text=text, short=f"served by {_shares(route)}")


def _set_by(route: RouteRow) -> ActionLine:
    to = _shares(route)
    text = f"{route.actor} set the route to {to}: {route.route.reason}"
    return ActionLine(done=Done.TAKEN, kind="route", text=text, short=f"route set to {to}")


def _shares(route: RouteRow) -> str:
    arms = [arm for arm in route.route.arms if arm.weight > 0]
    if len(arms) == 1:
        return arms[0].version
    return ", ".join(f"{arm.version} {100 * arm.weight:.3g} %" for arm in arms)
