"""Store who belongs to a fleet incident: one for all adapters on a base model that drift together.

Members are versions; a member's own drift is not told while it belongs to the incident.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import AdapterId, EvaluationKind, IncidentId, Version, VersionId
from monitor.store.rows import named
from monitor.store.tables.incidents import fleet_members, incidents
from monitor.store.tables.registry import versions

_TELLING: Final = 0x666C6565  # "flee": the advisory locks of those who tell of a base
RECENTLY: Final = timedelta(hours=1)
"""Adapters not evaluated for this long are not waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A version in a fleet incident; ``left_at`` is None while it still belongs to it."""

    version_id: VersionId
    adapter_id: AdapterId
    adapter: str
    version: str
    joined_at: datetime
    left_at: datetime | None

    @property
    def label(self) -> str:
        """``support@v7``."""
        return f"{self.adapter}@{self.version}"


def base_of(version: Version) -> str:
    """Return the base model that a version was registered with, or an empty string."""
    return version.base_model or ""


def lock(tx: Connection, base: str) -> None:
    """Lock a base, so that one evaluation at a time changes its fleet incident.

    Take this lock before locking a version's incidents: under it, others' incidents may be locked.
    """
    key = sa.func.hashtext(base)
    tx.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.literal(_TELLING), key)))


def join(tx: Connection, incident_id: IncidentId, version_id: VersionId, *, at: datetime) -> bool:
    """Make a version a member; False if it already is one."""
    statement = (
        insert(fleet_members)
        .values(incident_id=incident_id, version_id=version_id, joined_at=at)
        .on_conflict_do_update(
            index_elements=["incident_id", "version_id"],
            set_={"joined_at": at, "left_at": None},
            where=fleet_members.c.left_at.is_not(None),
        )
        .returning(fleet_members.c.version_id)
    )
    return tx.execute(statement).first() is not None


def leave(tx: Connection, version_id: VersionId, *, at: datetime) -> None:
    """End a version's membership, whichever incident it is in."""
    tx.execute(
        fleet_members.update()
        .where(fleet_members.c.version_id == version_id, fleet_members.c.left_at.is_(None))
        .values(left_at=at)
    )


def membership(tx: Connection, version_id: VersionId) -> IncidentId | None:
    """Return the open fleet incident that a version belongs to."""
    query = (
        sa.select(fleet_members.c.incident_id)
        .join(incidents, incidents.c.id == fleet_members.c.incident_id)
        .where(
            fleet_members.c.version_id == version_id,
            fleet_members.c.left_at.is_(None),
            incidents.c.closed_at.is_(None),
        )
        .limit(1)
    )
    found = tx.execute(query).scalar_one_or_none()
    return None if found is None else IncidentId(found)


def members(tx: Connection, incident_id: IncidentId) -> list[Member]:
    """List a fleet incident's members, including past ones, in order of joining."""
    query = (
        named(
            fleet_members,
            fleet_members.c.version_id,
            versions.c.adapter_id,
            fleet_members.c.joined_at,
            fleet_members.c.left_at,
        )
        .where(fleet_members.c.incident_id == incident_id)
        .order_by(fleet_members.c.joined_at, fleet_members.c.version_id)
    )
    return [Member(**row) for row in tx.execute(query).mappings()]


def open_on(tx: Connection, base: str) -> IncidentId | None:
    """Return the open fleet incident of a base, of any kind."""
    query = (
        sa.select(incidents.c.id)
        .where(incidents.c.base_model == base, incidents.c.closed_at.is_(None))
        .limit(1)
    )
    found = tx.execute(query).scalar_one_or_none()
    return None if found is None else IncidentId(found)


def paged_already(tx: Connection, among: Collection[VersionId], *, kind: str) -> list[IncidentId]:
    """List open incidents of these versions that people were paged for."""
    query = sa.select(incidents.c.id).where(
        incidents.c.version_id.in_(among),
        incidents.c.kind == kind,
        incidents.c.closed_at.is_(None),
        incidents.c.severity == "page",
    )
    return [IncidentId(found) for found in tx.execute(query).scalars()]


def paged_parts(tx: Connection, incident_id: IncidentId) -> list[VersionId]:
    """List the versions whose own open page is part of a fleet incident."""
    query = sa.select(incidents.c.version_id).where(
        incidents.c.part_of == incident_id, incidents.c.closed_at.is_(None)
    )
    return [VersionId(found) for found in tx.execute(query).scalars()]


def link(tx: Connection, own: Collection[IncidentId], *, to: IncidentId) -> None:
    """Mark versions' own incidents as part of a fleet incident."""
    tx.execute(incidents.update().where(incidents.c.id.in_(own)).values(part_of=to))


_COUNTS: Final = sa.text(
    """
    SELECT
        (
            SELECT count(DISTINCT v.adapter_id)
            FROM verdicts v JOIN versions s ON s.id = v.version_id
            WHERE coalesce(s.base_model, '') = :base
              AND (v.updated_at > now() - 2 * CAST(:cycle AS interval) OR v.adapter_id = :own)
        ) AS adapters,
        (
            SELECT count(*) FROM (
                SELECT s.adapter_id
                FROM tasks t JOIN versions s ON s.id = t.version_id
                WHERE coalesce(s.base_model, '') = :base
                  AND t.kind = :kind AND s.adapter_id <> :own
                  AND t.last_done_at >= CAST(:turned AS timestamptz) - CAST(:recently AS interval)
                GROUP BY s.adapter_id
                HAVING max(t.last_done_at) < :turned
            ) AS others
        ) AS unseen
    """
)


def looked_at(
    tx: Connection,
    version: Version,
    *,
    cycle: timedelta,
    kind: EvaluationKind,
    turned: datetime,
) -> tuple[int, int]:
    """Count the adapters on a version's base, and the others not evaluated since it turned.

    The first counts those evaluated within two probe cycles; the second those that evaluations of
    ``kind`` visit regularly but have not visited since.
    """
    row = tx.execute(
        _COUNTS,
        {
            "base": base_of(version),
            "cycle": cycle,
            "own": version.adapter_id,
            "kind": kind.value,
            "turned": turned,
            "recently": RECENTLY,
        },
    ).one()
    return int(row.adapters), int(row.unseen)
