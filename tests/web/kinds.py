"""An incident of every kind, with the message that told of it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from alerts import incident as machine
from alerts.message import Alert, Onset, Together, to_json
from alerts.titles import summarised
from alerts.types import Blame, Kind, Reason, Status, VerdictKind
from alerts.types import Severity as Urgency
from alerts.words import unseen_words
from detectors.types import Process
from monitor.domain import IncidentId, Interval, Mark, VerdictSeverity, Version
from monitor.outbox.present import NEAR, of_incident
from monitor.store.incidents import fleet_incidents, incidents, outbox
from monitor.store.incidents.incidents import IncidentUpdate, StoredKey
from monitor.store.registry import versions
from monitor.store.tables.evaluations import latest_scores, scores
from monitor.store.tables.incidents import outbox as outbox_table
from monitor.store.traffic import canaries
from monitor.traffic.trial.news import canary_news
from monitor.traffic.trial.states import state_from_json
from tests import worlds
from tests.alert_samples import BLIND, FULL, UNSEEN
from tests.found import found
from tests.uncompared import blind

BASE = "llama-3.1-8b"
MEMBERS = {
    "sales/eu": VerdictKind.CRITICAL,
    "search-rewrite": VerdictKind.DRIFTING,
    "onboarding": VerdictKind.DRIFTING,
}
"""Adapters whose answers became less certain together."""
CANARY = replace(
    FULL,
    kind=Kind.CANARY,
    severity=Urgency.TICKET,
    blame=Blame.UNKNOWN,
    onset=None,
    scores=(),
    unlike=None,
    new=None,
    changes=(),
    examples=(),
)


def seed(tx: Connection, *, now: datetime) -> Mapping[str, IncidentId]:
    """Add to a fleet of :mod:`tests.web.moves` and :mod:`tests.web.trials`; give the ids."""
    unseen = _version(tx, "billing")
    blind(tx, unseen, now=now, since=now - timedelta(hours=30))
    of_billing = replace(
        UNSEEN, since=now - timedelta(hours=30), mend="driftline reference learn billing v1"
    )
    told = replace(BLIND, unseen=of_billing, reason=unseen_words(of_billing, now=now))
    tried = _version(tx, "legal-summaries", "v2")
    return {
        "drift": _told_again(tx),
        "blind": _of_version(tx, unseen, told, now=now),
        "canary": _of_version(tx, tried, _rolled_back(tx, tried), now=now),
        "fleet": _of_the_fleet(tx, now=now),
        "resolved": _resolved(tx, _version(tx, "catalogue"), now=now),
    }


def _rolled_back(tx: Connection, version: Version) -> Alert:
    [row] = [one for one in canaries.canary_list(tx) if one.version_id == version.id]
    state = state_from_json(row.state)
    news = canary_news(state, trial=row.version, control=row.control)
    return replace(CANARY, reason=news.text, action=news.action)


def _version(tx: Connection, adapter: str, name: str = "v1") -> Version:
    known = versions.fetch(tx, adapter=adapter, name=name)
    assert known is not None
    return known


def _told_again(tx: Connection) -> IncidentId:
    """Tell of the move of ``support``, with what its requests have in common."""
    [paged] = [one for one in incidents.incident_list(tx) if one.adapter == "support"]
    moved = paged.opened_at + timedelta(minutes=5)
    known = of_incident(tx, paged, (), margin=NEAR, now=moved)
    alert = replace(
        known,
        status=Status.UPDATED,
        notification_reason=Reason.UPDATED,
        at=moved,
        per_second=12.0,
        tier="gold",
        unlike=FULL.unlike,
        new=FULL.new,
    )
    alert = summarised(alert)
    incidents.put_told(tx, paged.id, blame=alert.blame, summary=alert.summary)
    _deliver(tx, paged.id, alert, now=moved)
    return paged.id


def _of_version(tx: Connection, version: Version, alert: Alert, *, now: datetime) -> IncidentId:
    key = StoredKey.of(version, alert.kind.value)
    its_own = replace(
        alert, adapter=version.adapter, version=version.name, owner="growth", tier="standard",
        per_second=1.2,
    )  # fmt: skip
    return _opened(tx, key, its_own, at=now - timedelta(minutes=20))


def _of_the_fleet(tx: Connection, *, now: datetime) -> IncidentId:
    together = Together(base=BASE, members=tuple(f"{one}@v1" for one in MEMBERS), of=9)
    alert = replace(
        FULL,
        adapter="",
        version="",
        blame=Blame.BASE,
        unlike=None,
        new=None,
        action=None,
        together=together,
    )
    opened = now - timedelta(minutes=55)
    made = _opened(tx, StoredKey.on(BASE, Kind.DRIFT.value), alert, at=opened)
    for name, kind in MEMBERS.items():
        version = _version(tx, name)
        fleet_incidents.join(tx, made, version.id, at=opened)
        _less_certain(tx, version, kind, since=opened, now=now)
    return made


def _less_certain(
    tx: Connection, version: Version, kind: VerdictKind, *, since: datetime, now: datetime
) -> None:
    """Let its answers have become less certain, and no probe have come since."""
    for table in (scores, latest_scores):
        tx.execute(table.delete().where(table.c.version_id == version.id))
    onset = _onset(since)
    worlds.put_scores(
        tx, version, now=now, start=now - timedelta(hours=3), onset=onset.start, strength=0.45,
        only="logit_ks",
    )  # fmt: skip
    for table in (scores, latest_scores):
        probed = sa.and_(table.c.version_id == version.id, table.c.detector == "perplexity")
        tx.execute(table.delete().where(probed))
    process = Process.PAGE if kind is VerdictKind.CRITICAL else Process.NOTICE
    reason = found(
        "logit_ks", "mean_nll:up", evidence=1.6, n=412, effect=(0.38, 0.31), process=process
    )
    verdict = worlds.a_verdict(
        kind, since, reason=reason, blame=Blame.BASE, detectors=("logit_ks",), onset=onset
    )
    worlds.put_verdict(tx, version, verdict, drift=60.0)
    worlds.put_change(tx, version, before=VerdictKind.STABLE, after=verdict, at=since)


def _resolved(tx: Connection, version: Version, *, now: datetime) -> IncidentId:
    key = StoredKey.of(version, Kind.DRIFT.value)
    opened = now - timedelta(hours=6)
    made = _of_version(tx, version, replace(FULL, action=None), now=opened)
    [stored] = incidents.incident_list(tx, adapter_id=version.adapter_id)
    alert = replace(FULL, summary=stored.summary)
    incidents.put(tx, key, _update(alert, at=stored.opened_at, closed_at=now - timedelta(hours=5)))
    incidents.mark(tx, made, Mark.FALSE_PAGE, by="ann", because="a load test of ours", at=now)
    return made


def _onset(opened: datetime) -> Interval:
    return Interval(start=opened - timedelta(minutes=25), end=opened - timedelta(minutes=5))


def _opened(tx: Connection, key: StoredKey, alert: Alert, *, at: datetime) -> IncidentId:
    began = _onset(at)
    onset = alert.onset and Onset(earliest=began.start, latest=began.end)
    told = summarised(replace(alert, at=at, started_at=at, onset=onset, changes=()))
    made = IncidentId(incidents.put(tx, key, _update(told, at=at)))
    _deliver(tx, made, told, now=at)
    return made


def _update(alert: Alert, *, at: datetime, closed_at: datetime | None = None) -> IncidentUpdate:
    phase = machine.IncidentPhase.OK if closed_at else machine.IncidentPhase.FIRING
    state = machine.IncidentState(phase=phase, number=1, told=alert.severity, since=at)
    return IncidentUpdate(
        number=1,
        phase=phase.value,
        state=machine.to_json(state),
        severity=VerdictSeverity(alert.severity.value),
        blame=alert.blame,
        summary=alert.summary,
        opened_at=at,
        closed_at=closed_at,
    )


def _deliver(tx: Connection, incident: IncidentId, alert: Alert, *, now: datetime) -> None:
    message = outbox.enqueue(
        tx, channel="oncall-pagerduty", alert=to_json(alert), incident_id=incident
    )
    tx.execute(
        outbox_table.update()
        .where(outbox_table.c.id == message)
        .values(state="delivered", attempts=1, created_at=now, delivered_at=now)
    )
