"""``/adapters`` and ``/adapters/{a}/versions/{v}``: the fleet, and what is registered."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from sqlalchemy import Connection

from monitor.api import answers, coverage, lookup
from monitor.api.access import Operator, Reader
from monitor.api.bodies import AdapterRequest, VersionRequest
from monitor.api.paging import LARGEST_LIMIT, Limit
from monitor.api.parts import ApiParts, Parts
from monitor.api.paths import AdapterName, VersionName
from monitor.api.problems import Problem
from monitor.api.shapes import (
    AdapterDetail,
    AdapterSummary,
    Page,
    ReferenceSummary,
    VersionBody,
    WeightsBody,
)
from monitor.domain import Blame, Severity, Version
from monitor.reference.milestone import next_milestone
from monitor.store import (
    adapters,
    audit,
    changes,
    evaluations,
    fleet,
    inspections,
    probing,
    versions,
)
from monitor.store.errors import Conflict
from monitor.store.fleet import FleetRow
from monitor.traffic import table

router: Final = APIRouter(prefix="/adapters", tags=["registry"])


@router.get("")
def get_fleet(_key: Reader, parts: Parts, limit: Limit = LARGEST_LIMIT) -> Page[AdapterSummary]:
    """List every adapter with its verdict, drift score and route, worst first."""
    rows = parts.database.run(lambda tx: fleet.fleet(tx, now=parts.clock()))
    return Page(items=[summary(row) for row in rows[:limit]])


@router.get("/{adapter}")
def get_adapter(_key: Reader, parts: Parts, adapter: AdapterName) -> AdapterDetail:
    """Show one adapter with the latest score of each detector of the version in charge."""
    return parts.database.run(lambda tx: _detail(tx, adapter, parts))


@router.put("/{adapter}")
def put_adapter(
    key: Operator, parts: Parts, adapter: AdapterName, body: AdapterRequest
) -> AdapterDetail:
    """Create an adapter, or replace what is said of it."""

    def put(tx: Connection) -> AdapterDetail:
        adapters.put(
            tx,
            name=adapter,
            owner=body.owner,
            tier=body.tier,
            labels=body.labels,
            runbook=body.runbook,
            mode=body.mode,
        )
        audit.append(
            tx,
            actor=key.name,
            act="adapter.put",
            subject=adapter,
            details=body.model_dump(mode="json"),
        )
        return _detail(tx, adapter, parts)

    return parts.database.run(put)


@router.get("/{adapter}/versions/{version}")
def get_version(
    _key: Reader, parts: Parts, adapter: AdapterName, version: VersionName
) -> VersionBody:
    """Show what is registered of a version, and the state of its weights."""
    return parts.database.run(lambda tx: _version(tx, lookup.version(tx, adapter, version)))


@router.get("/{adapter}/versions/{version}/weights")
def get_weights(
    _key: Reader, parts: Parts, adapter: AdapterName, version: VersionName
) -> WeightsBody:
    """Show what was found in the files of a version, module by module.

    A worker looks at them within seconds of the registration, where `uri` is the path or
    the `file:` address of a folder that it can read.
    """

    def read(tx: Connection) -> WeightsBody:
        found = inspections.fetch(tx, lookup.version(tx, adapter, version).id)
        if found is None:
            detail = "The weights of this version were not looked at."
            raise Problem(404, detail, kind="not-inspected")
        report = inspections.report(tx, found.version_id)
        short = dict(answers.weights(found))
        return WeightsBody(**short, adapter=adapter, version=version, report=report)

    return parts.database.run(read)


@router.put("/{adapter}/versions/{version}")
def put_version(
    key: Operator, parts: Parts, adapter: AdapterName, version: VersionName, body: VersionRequest
) -> VersionBody:
    """Register a version; its adapter is created, and all traffic routed to it, if it is the first.

    A registered version is immutable: other weights are another version. What was left out
    may be filled in by a later PUT.
    """

    def put(tx: Connection) -> VersionBody:
        owner = adapters.fetch(tx, adapter) or adapters.put(tx, name=adapter)
        found = versions.put(
            tx,
            adapter=owner,
            name=version,
            model=body.model or f"{adapter}@{version}",
            parent=body.parent,
            uri=body.uri,
            sha256=body.sha256,
            base_model=body.base_model,
            metadata=body.metadata(),
        )
        table.start(tx, found, actor=key.name, now=parts.clock())
        audit.append(tx, actor=key.name, act="version.put", subject=found.label)
        return _version(tx, found)

    try:
        return parts.database.run(put)
    except Conflict as error:
        raise Problem(409, str(error), kind="version-differs") from error


def _version(tx: Connection, found: Version) -> VersionBody:
    return answers.version(found, inspections.fetch(tx, found.id))


def _detail(tx: Connection, name: str, parts: ApiParts) -> AdapterDetail:
    adapter = lookup.adapter(tx, name)
    row = next(row for row in fleet.fleet(tx, now=parts.clock()) if row.adapter.id == adapter.id)
    under_way = changes.open_change(tx, name, at=parts.clock())
    latest = evaluations.latest_scores_of(tx, adapter_id=adapter.id)
    inspected = inspections.of_adapter(tx, adapter.id)
    probed = probing.probe_rows(tx, version_id=row.version.id) if row.version else ()
    shown = dict(summary(row))
    return AdapterDetail(
        **shown | {"reference": _with_milestone(tx, row, shown["reference"], parts)},
        change_under_way=under_way and answers.change(under_way),
        probe=answers.probe(probed[0]) if probed else None,
        coverage=coverage.newest(row.judged),
        coverage_last_day=coverage.last_day(tx, row.version, now=parts.clock()),
        mend=coverage.mending(row.judged, row.version, parts.outlook.settings.policy),
        sampling=coverage.sampling(tx, adapter.id, now=parts.clock()),
        versions=[
            answers.version(found, inspected.get(found.id))
            for found in versions.of_adapter(tx, adapter.id)
        ],
        scores=[
            answers.score(score)
            for score in sorted(latest, key=lambda score: score.detector)
            if row.version and score.version_id == row.version.id
        ],
    )


def summary(row: FleetRow) -> AdapterSummary:
    """Write one row of the fleet."""
    verdict = row.judged.verdict if row.judged else None
    return AdapterSummary(
        adapter=row.adapter.name,
        version=row.version.name if row.version else None,
        verdict=row.verdict,
        severity=verdict.severity if verdict else Severity.NONE,
        drift_score=round(row.judged.drift_score, 1) if row.judged else 0.0,
        blame=verdict.blame if verdict else Blame.UNKNOWN,
        reason=verdict.reason if verdict else _not_judged(row),
        since=verdict.since if verdict else None,
        owner=row.adapter.owner,
        tier=row.adapter.tier,
        labels=row.adapter.labels,
        runbook=row.adapter.runbook,
        mode=row.adapter.mode,
        reference=_reference(row),
        route=answers.route(row.route) if row.route else None,
        evaluated_at=row.judged.updated_at if row.judged else None,
        records_last_hour=row.records_last_hour,
        least_covered=coverage.least_covered(row.judged),
    )


def _not_judged(row: FleetRow) -> str:
    return "not evaluated yet" if row.version else "no version is registered"


def _with_milestone(
    tx: Connection, row: FleetRow, shown: ReferenceSummary, parts: ApiParts
) -> ReferenceSummary:
    if row.version is None:
        return shown
    found = next_milestone(tx, row.version, rules=parts.learning, now=parts.clock())
    return shown.model_copy(update={"learning": found and answers.milestone(found)})


def _reference(row: FleetRow) -> ReferenceSummary:
    glance = row.reference
    return ReferenceSummary(
        state=glance.state,
        generation=glance.generation,
        provisional=not glance.approved,
        progress=glance.progress,
        n_training=glance.n_training,
        n_baseline=glance.n_baseline,
    )
