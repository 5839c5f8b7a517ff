"""Adapters as people see them: the fleet, and one of them without reading the others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from alerts.types import Blame, VerdictKind
from monitor.domain import VerdictSeverity
from monitor.policy import PolicySettings
from monitor.policy.memory import identity_of
from monitor.reference.milestone import MilestoneRules
from monitor.store.evaluation import evaluations, probing
from monitor.store.people import changes
from monitor.store.registry import inspections, versions
from monitor.store.traffic import fleet
from monitor.store.traffic.fleet import FleetRow
from monitor.views.adapter import AdapterDetail, AdapterSummary, ProbeBody
from monitor.views.reading import change, coverage, reference, route, score, version
from monitor.views.reference import MilestoneBody, ReferenceSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetWanted:
    """The adapters asked for; what is None or empty leaves none out.

    ``text`` is a part of a name. ``covered_below`` is a share, 0 to 1: some detector compared
    fewer of the requests it could, or nothing was compared yet.
    """

    text: str = ""
    verdicts: Collection[VerdictKind] = ()
    owner: str | None = None
    tier: str | None = None
    base: str | None = None
    covered_below: float | None = None

    def accepts(self, row: FleetRow) -> bool:
        """Whether an adapter is asked for."""
        base = row.version.base_model if row.version else None
        return (
            self.text.casefold() in row.adapter.name.casefold()
            and (not self.verdicts or row.verdict in self.verdicts)
            and self.owner in {None, row.adapter.owner}
            and self.tier in {None, row.adapter.tier}
            and self.base in {None, base}
            and (self.covered_below is None or share_compared(row) < self.covered_below)
        )


def share_compared(row: FleetRow) -> float:
    """Give the share of requests that the least covered detector compared; 0 before any was."""
    least = coverage.least_covered(row.judged)
    return (least.of_expected or 0.0) if least else 0.0


def read_fleet(
    tx: Connection, wanted: FleetWanted, *, now: datetime, limit: int
) -> list[AdapterSummary]:
    """Read the adapters that are asked for, worst first."""
    found = [row for row in fleet.fleet(tx, now=now) if wanted.accepts(row)]
    return [summary(row) for row in found[:limit]]


def read(
    tx: Connection, name: str, *, rules: MilestoneRules, policy: PolicySettings, now: datetime
) -> AdapterDetail | None:
    """Read one adapter; None where there is none of this name."""
    row = fleet.adapter(tx, name, now=now)
    if row is None:
        return None
    charge = row.version
    latest = evaluations.latest_scores_of(tx, adapter_id=row.adapter.id)
    inspected = inspections.of_adapter(tx, row.adapter.id)
    under_way = changes.open_change(tx, name, at=now)
    probed = probing.probe_rows(tx, version_id=charge.id) if charge else ()
    learning = reference.milestone(tx, charge, rules=rules, now=now) if charge else None
    return AdapterDetail.of(
        summary(row),
        reference=_reference(row, learning=learning),
        change_under_way=under_way and change.change(under_way),
        probe=ProbeBody.of(probed[0]) if probed else None,
        coverage=coverage.newest(row.judged),
        coverage_last_day=coverage.last_day(tx, charge, now=now),
        mend=coverage.mending(row.judged, charge, policy),
        sampling=coverage.sampling(tx, row.adapter.id, now=now),
        versions=[
            version.version(found, inspected.get(found.id))
            for found in versions.of_adapter(tx, row.adapter.id)
        ],
        scores=[
            score.score(one)
            for one in sorted(latest, key=lambda one: one.detector)
            if charge and one.version_id == charge.id
        ],
    )


def summary(row: FleetRow) -> AdapterSummary:
    """Write one row of the fleet."""
    verdict = row.judged.verdict if row.judged else None
    identity = identity_of(row.judged.stored) if row.judged else None
    return AdapterSummary.of(
        row.adapter,
        adapter=row.adapter.name,
        version=row.version.name if row.version else None,
        verdict=row.verdict,
        severity=verdict.severity if verdict else VerdictSeverity.NONE,
        drift_score=round(row.judged.drift_score, 1) if row.judged else 0.0,
        blame=verdict.blame if verdict else Blame.UNKNOWN,
        reason=verdict.reason if verdict else _not_judged(row),
        since=verdict.since if verdict else None,
        applied=identity.state if identity else None,
        reference=_reference(row),
        route=row.route and route.route(row.route),
        evaluated_at=row.judged.updated_at if row.judged else None,
        records_last_hour=row.records_last_hour,
        least_covered=coverage.least_covered(row.judged),
    )


def _not_judged(row: FleetRow) -> str:
    return "not evaluated yet" if row.version else "no version is registered"


def _reference(row: FleetRow, learning: MilestoneBody | None = None) -> ReferenceSummary:
    glance = row.reference
    return ReferenceSummary.of(glance, provisional=not glance.approved, learning=learning)
