"""The message of an incident that no channel was told of, from what is stored of it.

Pages, the API and the command line show it, so that an incident reads the same with and without
channels.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

import alerts.types as words
from alerts.message import Alert, Together
from alerts.titles import summarised
from monitor.domain import Verdict, Version
from monitor.store.incidents import fleet_incidents
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.registry import adapters
from monitor.store.traffic import canaries
from monitor.traffic.trial.news import CanaryNews, canary_news
from monitor.traffic.trial.states import state_from_json


def untold(
    tx: Connection, version: Version, verdict: Verdict, row: IncidentRow | None, *, now: datetime
) -> Alert:
    """Write the message about a version; ``row`` None: its verdict has opened no incident."""
    adapter = adapters.fetch_by_id(tx, version.adapter_id)
    kind = words.Kind(row.kind) if row else words.Kind.DRIFT
    trial = _canary(tx, version, row) if row and kind is words.Kind.CANARY else None
    standing = row or verdict
    alert = Alert(
        id="",
        number=row.number if row else 0,
        kind=kind,
        adapter=version.adapter,
        version=version.name,
        status=words.Status.STARTED,
        severity=words.Severity(standing.severity.value),
        verdict=verdict.kind,
        blame=standing.blame,
        summary="",
        reason=trial.text if trial else _reason(version, verdict, row),
        at=now,
        started_at=row.opened_at if row else verdict.since,
        action=trial.action if trial else None,
        owner=adapter.owner,
        tier=adapter.tier,
    )
    return summarised(alert)


def untold_of_fleet(tx: Connection, row: IncidentRow, *, now: datetime) -> Alert:
    """Write the message about the adapters on a base model."""
    members = fleet_incidents.members(tx, row.id)
    known = [one.label for one in members if one.left_at is None or row.closed_at is not None]
    alert = Alert(
        id="",
        number=row.number,
        kind=words.Kind.DRIFT,
        adapter="",
        version="",
        status=words.Status.STARTED,
        severity=words.Severity(row.severity.value),
        verdict=words.VerdictKind.DRIFTING,
        blame=words.Blame.BASE,
        summary="",
        reason="",
        at=now,
        started_at=row.opened_at,
        together=Together(base=row.base_model or "", members=(*dict.fromkeys(known),), of=0),
    )
    return summarised(alert)


def _reason(version: Version, verdict: Verdict, row: IncidentRow | None) -> str:
    if row is None or row.kind == words.Kind.DRIFT:
        return "" if row and row.closed_at else verdict.reason
    return row.summary.removeprefix(f"{version.label}: ")


def _canary(tx: Connection, version: Version, row: IncidentRow) -> CanaryNews | None:
    """Describe the canary that the incident is about: the last that had begun by then."""
    for one in canaries.canary_list(tx, adapter_id=version.adapter_id):
        if one.version_id == version.id and one.created_at <= row.opened_at:
            state = state_from_json(one.state)
            return canary_news(state, trial=one.version, control=one.control)
    return None
