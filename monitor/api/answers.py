"""From what the store gives to what the API answers."""

from __future__ import annotations

import math
from typing import Any

from monitor.api import coverage
from monitor.api.shapes import (
    ArmBody,
    BehindBody,
    ChangeBody,
    EvaluationBody,
    MilestoneBody,
    ProbeBody,
    ReferenceBody,
    RouteBody,
    RouteChange,
    RouteDetail,
    ScoreBody,
    SeenBody,
    VersionBody,
    WeightsSummary,
    WindowBody,
)
from monitor.domain import (
    UNMEASURED,
    Blame,
    Interval,
    Reference,
    Route,
    VerdictKind,
    Version,
)
from monitor.policy.coverage import from_json
from monitor.reference.coverage import Seen
from monitor.reference.milestone import Milestone
from monitor.store.changes import Change
from monitor.store.evaluations import EvaluationRow, ScoreRow
from monitor.store.inspections import InspectionRow
from monitor.store.probing import ProbeRow
from monitor.store.routes import RouteRow


def number(value: float) -> float | None:
    """JSON's number, or None for what JSON cannot say."""
    return value if math.isfinite(value) else None


def window(interval: Interval) -> WindowBody:
    """A window."""
    return WindowBody(start=interval.start, end=interval.end)


def score(row: ScoreRow) -> ScoreBody:
    """A score; ``evidence`` is the page process, the notice process is in ``details``."""
    covered = row.details.get("coverage")
    return ScoreBody(
        adapter=row.adapter,
        version=row.version,
        detector=row.detector,
        window=window(row.window),
        value=number(row.value),
        evidence=number(row.evidence_page),
        effect=number(row.effect),
        interval=(number(row.effect_low), number(row.effect_high)),
        n_reference=row.n_reference,
        n_window=row.n_window,
        minimum_detectable=number(row.minimum_detectable),
        verdict=UNMEASURED if row.verdict == UNMEASURED else VerdictKind(row.verdict),
        blame=Blame(row.blame),
        reason=row.reason,
        details={
            **{name: value for name, value in row.details.items() if name != "coverage"},
            "evidence_notice": number(row.evidence_notice),
            "winner": row.winner,
        },
        coverage=covered and coverage.body(from_json(covered), since={}),
    )


def route(found: Route) -> RouteBody:
    """A route."""
    return RouteBody(**_route(found))


def route_change(found: RouteRow) -> RouteChange:
    """A generation of a route."""
    return RouteChange(**_route(found.route), by=found.actor)


def route_detail(found: RouteRow) -> RouteDetail:
    """The route in force."""
    behind = found.behind
    return RouteDetail(
        **_route(found.route),
        epoch=found.route.epoch,
        by=found.actor,
        hold_until=found.hold_until,
        behind=behind and BehindBody(since=behind.since, why=behind.why),
    )


def _route(found: Route) -> dict[str, Any]:
    return {
        "adapter": found.adapter,
        "generation": found.generation,
        "arms": [
            ArmBody(arm=arm.arm, version=arm.version, model=arm.model, weight=arm.weight)
            for arm in found.arms
        ],
        "reason": found.reason,
        "since": found.since,
        "valid_until": found.valid_until,
        "on_expiry": found.on_expiry,
    }


def version(found: Version, inspected: InspectionRow | None = None) -> VersionBody:
    """A registered version, with what its files say where they were looked at."""
    return VersionBody(
        adapter=found.adapter,
        version=found.name,
        model=found.model,
        parent=found.parent,
        uri=found.uri,
        sha256=found.sha256,
        base_model=found.base_model,
        metadata=found.metadata,
        registered_at=found.registered_at,
        weights=weights(inspected) if inspected else None,
    )


def weights(row: InspectionRow) -> WeightsSummary:
    """An inspection in short."""
    return WeightsSummary(
        state=row.state, reason=row.reason, at=row.at, sha256=row.weights, summary=row.summary
    )


def probe(row: ProbeRow) -> ProbeBody:
    """How a probe fares."""
    return ProbeBody(answered_at=row.answered_at, stopped=row.stopped)


def change(found: Change) -> ChangeBody:
    """A declared change."""
    fields = {name: getattr(found, name) for name in ChangeBody.model_fields if name != "change"}
    return ChangeBody(change=found.id, **fields)


def reference(found: Reference, *, of: Version) -> ReferenceBody:
    """One generation of a version's reference."""
    return ReferenceBody(
        adapter=of.adapter,
        version=of.name,
        generation=found.generation,
        state=found.state,
        provisional=found.provisional,
        approved_by=found.approved_by,
        cause=found.cause,
        n_training=found.n_training,
        n_baseline=found.n_baseline,
        left_out=found.left_out,
        span_days=found.span_days,
        encoder=found.encoder,
        strata=found.strata,
        progress=found.progress,
        error=found.error,
        created_at=found.created_at,
        ready_at=found.ready_at,
    )


def seen(found: Seen) -> SeenBody:
    """Which hours and weekdays a reference has seen."""
    return SeenBody(hours=found.hours, weekdays=found.weekdays, text=found.text)


def milestone(found: Milestone) -> MilestoneBody:
    """What a version's reference waits for."""
    return MilestoneBody(**{name: getattr(found, name) for name in MilestoneBody.model_fields})


def evaluation(row: EvaluationRow, scores: list[ScoreRow]) -> EvaluationBody:
    """An evaluation with the scores it wrote."""
    return EvaluationBody(
        evaluation=row.id,
        adapter=row.adapter,
        version=row.version,
        kind=row.kind,
        state=row.state,
        window=window(row.window),
        verdict=None if row.verdict is None else VerdictKind(row.verdict),
        reason=row.reason,
        n_records=row.n_records,
        n_late=row.n_late,
        started_at=row.started_at,
        finished_at=row.finished_at,
        coverage=coverage.bodies(row.coverage),
        scores=[score(item) for item in scores],
    )
