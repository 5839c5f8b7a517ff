"""Versions as people see them."""

from __future__ import annotations

from sqlalchemy import Connection

from monitor.domain import Version
from monitor.store.registry import inspections
from monitor.store.registry.inspections import InspectionRow
from monitor.views.version import VersionBody, WeightsBody, WeightsSummary


def read(tx: Connection, found: Version) -> VersionBody:
    """Read what is known of a registered version."""
    return version(found, inspections.fetch(tx, found.id))


def version(found: Version, inspected: InspectionRow | None) -> VersionBody:
    """Write a version, with what its files say where they were looked at."""
    weights = inspected and WeightsSummary.of(inspected, sha256=inspected.weights)
    return VersionBody.of(found, version=found.name, weights=weights)


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
