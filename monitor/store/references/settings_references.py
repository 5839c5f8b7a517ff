"""Store references for settings that a version's main reference lacks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import ReferenceId, VersionId
from monitor.store.rows import shaped
from monitor.store.tables.references import references, settings_calibrations, settings_references

_S = settings_references.c


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsReference:
    """A reference for the settings ``strata``, valid while ``reference_id`` is in force."""

    id: int
    reference_id: ReferenceId
    strata: tuple[str, ...]
    n_baseline: int
    span_days: float
    created_at: datetime


def beside(connection: Connection, reference_id: ReferenceId) -> list[SettingsReference]:
    """Read those beside a reference; for settings learned twice, the later one."""
    return beside_all(connection, [reference_id])[reference_id]


def beside_all(
    connection: Connection, reference_ids: Collection[ReferenceId]
) -> dict[ReferenceId, list[SettingsReference]]:
    """Read those beside each of some references."""
    wanted = sa.any_(sa.cast(list(reference_ids), sa.ARRAY(sa.BigInteger)))
    query = sa.select(settings_references).where(_S.reference_id == wanted).order_by(_S.id)
    found: dict[ReferenceId, dict[tuple[str, ...], SettingsReference]] = {
        reference_id: {} for reference_id in reference_ids
    }
    for row in connection.execute(query).mappings():
        strata = tuple(row["strata"])
        found[row["reference_id"]][strata] = shaped(SettingsReference, row, strata=strata)
    return {reference_id: list(of.values()) for reference_id, of in found.items()}


def shorter(connection: Connection, *, days: float) -> set[VersionId]:
    """Return the versions with such a reference of fewer days beside their newest one."""
    r = references.c
    newest = sa.select(sa.func.max(r.id)).where(r.state == "ready").group_by(r.version_id)
    query = sa.select(_S.version_id).where(_S.span_days < days, _S.reference_id.in_(newest))
    return set(map(VersionId, connection.execute(query.distinct()).scalars()))


def bodies(connection: Connection, settings_id: int) -> dict[str, bytes]:
    """Read every detector's calibration."""
    c = settings_calibrations.c
    query = sa.select(c.detector, c.body).where(c.settings_id == settings_id)
    return {row.detector: row.body for row in connection.execute(query)}


def insert(
    connection: Connection,
    *,
    version_id: VersionId,
    reference_id: ReferenceId,
    strata: Sequence[str],
    n_baseline: int,
    span_days: float,
    calibrations: Mapping[str, bytes],
) -> int:
    """Store one beside a reference, in force from the next window on."""
    made = settings_references.insert().returning(_S.id)
    values = {
        "version_id": version_id,
        "reference_id": reference_id,
        "strata": list(strata),
        "n_baseline": n_baseline,
        "span_days": span_days,
    }
    settings_id = int(connection.execute(made.values(values)).scalar_one())
    rows = [
        {"settings_id": settings_id, "detector": detector, "body": body}
        for detector, body in calibrations.items()
    ]
    connection.execute(settings_calibrations.insert(), rows)
    return settings_id
