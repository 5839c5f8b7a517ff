"""Versions as people see them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from alerts.types import VerdictKind
from monitor.domain import VerdictSeverity, Version
from monitor.evaluate.settings import EvaluateSettings
from monitor.incident.signals import Signal, newest_signals
from monitor.store.evaluation import evaluations, verdicts
from monitor.store.references import references
from monitor.store.registry import inspections, versions
from monitor.store.registry.inspections import InspectionRow
from monitor.store.traffic.fleet import FleetRow
from monitor.views.reference import ReferenceSummary
from monitor.views.version import VersionBody, VersionStanding, WeightsBody, WeightsSummary

MOST_BESIDE: Final = 8


def read(tx: Connection, found: Version) -> VersionBody:
    """Read what is known of a registered version."""
    return version(found, inspections.fetch(tx, found.id))


def version(found: Version, inspected: InspectionRow | None) -> VersionBody:
    """Write a version, with what its files say where they were looked at."""
    weights = inspected and WeightsSummary.of(inspected, sha256=inspected.weights)
    return VersionBody.of(found, version=found.name, weights=weights)


def beside(tx: Connection, of: FleetRow, *, settings: EvaluateSettings) -> list[VersionStanding]:
    """Read the newest versions of an adapter beside each other, the newest first."""
    known = list(reversed(versions.of_adapter(tx, of.adapter.id)))[:MOST_BESIDE]
    judged = {one.version_id: one for one in verdicts.of_adapter(tx, adapter_id=of.adapter.id)}
    scores = evaluations.latest_scores_of(tx, adapter_id=of.adapter.id)
    inspected = inspections.of_adapter(tx, of.adapter.id)
    arms = of.route.arms if of.route else ()
    found = []
    for one in known:
        verdict = judged[one.id].verdict if one.id in judged else None
        mine = [score for score in scores if score.version_id == one.id]
        found.append(
            VersionStanding.of(
                version(one, inspected.get(one.id)),
                in_charge=one == of.version,
                share=sum(arm.weight for arm in arms if arm.version == one.name),
                verdict=verdict.kind if verdict else VerdictKind.LEARNING,
                severity=verdict.severity if verdict else VerdictSeverity.NONE,
                since=verdict.since if verdict else None,
                reference=_reference(tx, one),
                numbers={
                    signal.words: _number(signal)
                    for signal in newest_signals(mine, settings=settings)
                },
            )
        )
    return found


def _number(signal: Signal) -> str:
    number = signal.shown(signal.effect[-1])
    return f"{number}, {signal.news}" if signal.outside and signal.news else number


def _reference(tx: Connection, of: Version) -> ReferenceSummary:
    found = references.current(tx, of.id)
    if found is None:
        found = next(iter(references.of_version(tx, of.id)), None)
    if found is None:
        return ReferenceSummary(
            state=None, generation=None, provisional=True, progress=None, n_training=0, n_baseline=0
        )
    return ReferenceSummary.of(found, learning=None)


def weights(tx: Connection, of: Version) -> WeightsBody | None:
    """Read the whole inspection of a version's files; None where they were not looked at."""
    row = inspections.fetch(tx, of.id)
    if row is None:
        return None
    return WeightsBody.of(
        row,
        sha256=row.weights,
        adapter=of.adapter,
        version=of.name,
        report=inspections.report(tx, of.id),
    )
