"""An incident of every kind, with the message that told of it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from alerts import incident as machine
from alerts.message import Alert, Onset, Together, to_json
from alerts.titles import summarised
from alerts.types import Blame, Kind, Reason, Status
from alerts.types import Severity as Urgency
from monitor.domain import IncidentId, Mark, VerdictSeverity, Version
from monitor.outbox.present import NEAR, of_incident
from monitor.store.incidents import fleet_incidents, incidents, outbox
from monitor.store.incidents.incidents import IncidentUpdate, StoredKey
from monitor.store.registry import versions
from monitor.store.tables import outbox as outbox_table
from monitor.store.traffic import canaries
from monitor.traffic.trial.news import canary_news
from monitor.traffic.trial.states import plan_from_json, state_from_json
from tests.alert_samples import BLIND, FULL, UNSEEN
from tests.uncompared import blind

BASE = "llama-3.1-8b"
MEMBERS = ("sales/eu", "search-rewrite", "onboarding")
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
    of_billing = replace(UNSEEN, mend="driftline reference learn billing v1")
    tried = _version(tx, "legal-summaries", "v2")
    return {
        "drift": _told_again(tx),
        "blind": _of_version(tx, unseen, replace(BLIND, unseen=of_billing), now=now),
        "canary": _of_version(tx, tried, _rolled_back(tx, tried), now=now),
        "fleet": _of_the_fleet(tx, now=now),
        "resolved": _resolved(tx, _version(tx, "catalogue"), now=now),
    }


def _rolled_back(tx: Connection, version: Version) -> Alert:
    [row] = [one for one in canaries.canary_list(tx) if one.version_id == version.id]
    state, plan = state_from_json(row.state), plan_from_json(row.plan)
    news = canary_news(state, plan, trial=row.version, control=row.control)
    return replace(CANARY, reason=news.text, action=news.action)


def _version(tx: Connection, adapter: str, name: str = "v1") -> Version:
    found = versions.fetch(tx, adapter=adapter, name=name)
    assert found is not None
    return found


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
    its_own = replace(alert, adapter=version.adapter, version=version.name)
    return _opened(tx, key, summarised(its_own), now=now)


def _of_the_fleet(tx: Connection, *, now: datetime) -> IncidentId:
    together = Together(base=BASE, members=tuple(f"{one}@v1" for one in MEMBERS), of=9)
    alert = replace(
        FULL,
        adapter="",
        version="",
        blame=Blame.BASE,
        summary=f"3 of 9 adapters on {BASE} changed together",
        together=together,
    )
    made = _opened(tx, StoredKey.on(BASE, Kind.DRIFT.value), alert, now=now)
    for name in MEMBERS:
        fleet_incidents.join(tx, made, _version(tx, name).id, at=now)
    return made


def _resolved(tx: Connection, version: Version, *, now: datetime) -> IncidentId:
    key = StoredKey.of(version, Kind.DRIFT.value)
    opened = now - timedelta(hours=6)
    made = _of_version(tx, version, FULL, now=opened)
    [stored] = incidents.incident_list(tx, adapter_id=version.adapter_id)
    alert = replace(FULL, summary=stored.summary)
    incidents.put(tx, key, _update(alert, at=stored.opened_at, closed_at=now - timedelta(hours=5)))
    incidents.mark(tx, made, Mark.FALSE_PAGE, by="ann", because="a load test of ours", at=now)
    return made


def _opened(tx: Connection, key: StoredKey, alert: Alert, *, now: datetime) -> IncidentId:
    made = IncidentId(incidents.put(tx, key, _update(alert, at=now - timedelta(minutes=20))))
    _send(tx, made, alert, now=now - timedelta(minutes=20))
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


def _send(tx: Connection, incident: IncidentId, alert: Alert, *, now: datetime) -> None:
    onset = alert.onset and Onset(
        earliest=now - timedelta(minutes=70), latest=now - timedelta(minutes=30)
    )
    _deliver(tx, incident, replace(alert, at=now, started_at=now, onset=onset, changes=()), now=now)


def _deliver(tx: Connection, incident: IncidentId, alert: Alert, *, now: datetime) -> None:
    message = outbox.enqueue(
        tx, channel="oncall-pagerduty", alert=to_json(alert), incident_id=incident
    )
    tx.execute(
        outbox_table.update()
        .where(outbox_table.c.id == message)
        .values(state="delivered", attempts=1, created_at=now, delivered_at=now)
    )
