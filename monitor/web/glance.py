"""The data of the pages, read in one transaction each and shaped for the templates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.domain import Interval, Reference, Route, Version
from monitor.reference.coverage import CoveredHours, read_seen
from monitor.reference.milestone import Milestone, next_milestone
from monitor.store.evaluation import evaluations, probing, selftests
from monitor.store.evaluation.evaluations import ScoreRow
from monitor.store.evaluation.probing import ProbeRow
from monitor.store.evaluation.selftests import SelfTestRow
from monitor.store.evaluation.verdicts import TransitionRow, VerdictRow, current, history
from monitor.store.incidents import deliveries, fleet_incidents, incidents, receivers
from monitor.store.incidents.deliveries import DeliveryRow
from monitor.store.incidents.fleet_incidents import Member
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.people import changes
from monitor.store.people.changes import StoredChange
from monitor.store.references import references
from monitor.store.registry import inspections, versions
from monitor.store.registry.inspections import InspectionRow
from monitor.store.traffic import canaries, fleet
from monitor.store.traffic.canaries import CanaryRow
from monitor.store.traffic.fleet import FleetRow
from monitor.traffic.killswitch import KillSwitch, SwitchReading
from monitor.views.coverage import CoverageBody, SamplingBody
from monitor.views.reading import coverage
from monitor.web.fleet_filter import FleetChoices, FleetFilter, choices_of
from monitor.web.parts import WebParts
from monitor.web.traffic import RouteGlance, route_of

RECENT_INCIDENTS = 10
RECENT_DELIVERIES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Notices about the whole service, shown above every page."""

    kill_switch: SwitchReading
    undelivered_for: timedelta
    dead: int
    degraded: Sequence[str]
    """Channels that have accepted no message for ten minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetIncident:
    """An incident of all adapters on a base model, and its members."""

    row: IncidentRow
    members: Sequence[Member]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetGlance:
    """The fleet, worst first."""

    rows: Sequence[FleetRow]
    """The rows of the page shown."""
    of: int
    """Number of adapters that match the filter."""
    wanted: FleetFilter
    choices: FleetChoices
    counts: Mapping[str, int]
    """Number of adapters by verdict, over the whole fleet."""
    open_incidents: Mapping[str, IncidentRow]
    fleet_incidents: Sequence[FleetIncident]
    canaries: Mapping[str, CanaryRow]
    """The canaries under way, by adapter."""
    covered: Mapping[str, CoverageBody | None]
    """By adapter, the detector with the lowest compared share."""
    notices: Notices


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterGlance:
    """One adapter, seen through one of its versions."""

    row: FleetRow
    version: Version | None
    in_charge: bool
    versions: Sequence[Version]
    judged: VerdictRow | None
    scores: Sequence[ScoreRow]
    coverage: Sequence[CoverageBody]
    """Coverage of the newest windows, by which ``blind`` is judged; the least covered first."""
    least_covered: CoverageBody | None
    coverage_last_day: Sequence[CoverageBody]
    mend: str | None
    """The command that ends blindness; None: the adapter is not blind."""
    sampling: SamplingBody
    weights: InspectionRow | None
    probe: ProbeRow | None
    selftest: SelfTestRow | None
    reference: Reference | None
    building: Reference | None
    seen: CoveredHours | None
    """Hours and weekdays of the reference in force; None: not known."""
    milestone: Milestone | None
    """The milestone that the reference needs before it can be approved."""
    traffic: RouteGlance
    transitions: Sequence[TransitionRow]
    changes: Sequence[StoredChange]
    under_way: StoredChange | None
    """The engine or base change for which probing waits."""
    incidents: Sequence[IncidentRow]
    deliveries: Sequence[DeliveryRow]
    notices: Notices

    @property
    def route(self) -> Route | None:
        return self.row.route

    @property
    def onset(self) -> Interval | None:
        return self.judged.verdict.onset if self.judged else None


def read_fleet(
    tx: Connection, kill_switch: KillSwitch, wanted: FleetFilter, *, now: datetime
) -> FleetGlance:
    """Read the first page: counts of all adapters, and a page of those that match."""
    everyone = fleet.fleet(tx, now=now)
    found = [row for row in everyone if wanted.accepts(row)]
    rows = wanted.shown(found)
    opened = incidents.incident_list(tx, open_only=True, limit=1000)
    return FleetGlance(
        rows=rows,
        of=len(found),
        wanted=wanted,
        choices=choices_of(everyone),
        counts=Counter(row.verdict.value for row in everyone),
        open_incidents={row.adapter: row for row in reversed(opened) if row.adapter is not None},
        fleet_incidents=[
            FleetIncident(row=row, members=fleet_incidents.members(tx, row.id))
            for row in opened
            if row.base_model is not None
        ],
        canaries={
            row.adapter: row for row in canaries.canary_list(tx, active_only=True, limit=1000)
        },
        covered={row.adapter.name: coverage.least_covered(row.judged) for row in rows},
        notices=_notices(tx, kill_switch),
    )


def read_adapter(
    tx: Connection,
    name: str,
    parts: WebParts,
    *,
    version: str | None,
    since: datetime,
    now: datetime,
) -> AdapterGlance | None:
    """Read an adapter's page; None when there is no such adapter or version."""
    row = fleet.adapter(tx, name, now=now)
    if row is None:
        return None
    known = versions.of_adapter(tx, row.adapter.id)
    shown = next((v for v in known if v.name == version), None) if version else row.version
    if version and shown is None:
        return None
    glance = _glance(tx, row, parts, known=known, shown=shown, since=since, now=now)
    if shown is None:
        return glance
    return replace(
        glance,
        seen=read_seen(tx, glance.reference.id) if glance.reference else None,
        milestone=next_milestone(tx, shown, rules=parts.learning, now=now),
    )


def _glance(
    tx: Connection,
    row: FleetRow,
    parts: WebParts,
    *,
    known: Sequence[Version],
    shown: Version | None,
    since: datetime,
    now: datetime,
) -> AdapterGlance:
    told = incidents.incident_list(tx, adapter_id=row.adapter.id, limit=RECENT_INCIDENTS)
    latest = evaluations.latest_scores_of(tx, adapter_id=row.adapter.id)
    past = references.of_version(tx, shown.id) if shown else []
    judged = current(tx, version_id=shown.id) if shown else None
    return AdapterGlance(
        row=row,
        version=shown,
        in_charge=shown == row.version,
        versions=list(reversed(known)),
        judged=judged,
        coverage=coverage.newest(judged),
        least_covered=coverage.least_covered(judged),
        coverage_last_day=coverage.last_day(tx, shown, now=now),
        mend=coverage.mending(judged, shown, parts.outlook.settings.policy),
        sampling=coverage.sampling(tx, row.adapter.id, now=now),
        scores=sorted(
            (score for score in latest if shown and score.version_id == shown.id), key=_evident
        ),
        weights=inspections.fetch(tx, shown.id) if shown else None,
        probe=next(iter(probing.probe_rows(tx, version_id=shown.id)), None) if shown else None,
        selftest=selftests.fetch(tx, shown.id) if shown else None,
        reference=references.current(tx, shown.id) if shown else None,
        building=past[0] if past and past[0].state != "ready" else None,
        seen=None,
        milestone=None,
        traffic=route_of(tx, row, parts, now=now),
        transitions=history(tx, adapter_id=row.adapter.id, since=since, limit=50),
        changes=changes.change_list(tx, adapter=row.adapter.name, since=since, limit=50),
        under_way=changes.open_change(tx, row.adapter.name, at=now),
        incidents=told,
        deliveries=_deliveries(tx, told),
        notices=_notices(tx, parts.kill_switch),
    )


def _evident(score: ScoreRow) -> tuple[float, str]:
    return -max(score.evidence_page, score.evidence_notice), score.detector


def _deliveries(tx: Connection, told: Sequence[IncidentRow]) -> list[DeliveryRow]:
    found = [
        delivery
        for incident in told[:3]
        for delivery in deliveries.newest(tx, incident_id=incident.id, limit=RECENT_DELIVERIES)
    ]
    return sorted(found, key=lambda delivery: delivery.seq, reverse=True)[:RECENT_DELIVERIES]


def _notices(tx: Connection, kill_switch: KillSwitch) -> Notices:
    channels = receivers.health(tx)
    return Notices(
        kill_switch=kill_switch.read(tx),
        undelivered_for=max((one.oldest for one in channels.values()), default=timedelta()),
        dead=sum(one.dead for one in channels.values()),
        degraded=sorted(name for name, one in channels.items() if one.degraded),
    )
