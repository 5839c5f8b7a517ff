"""Find the watched adapters and versions, over which the budget is divided.

An adapter is watched while one of its versions has a reference in force. Of its versions, those
count that have a reference and also an arm in the route, records in the last week, or a reference
younger than that: old versions take nothing from the one in charge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId, ReferenceState, Version, VersionId
from monitor.policy.budget import ShareStanding
from monitor.store import teams
from monitor.store.tables.evaluations import increments
from monitor.store.tables.references import references
from monitor.store.tables.registry import adapters, versions
from monitor.store.tables.traffic import routes

SILENT_AFTER: Final = timedelta(days=7)
"""A version without an arm and without records for this long is not watched."""

_READY: Final = references.c.state == ReferenceState.READY.value


def standing(tx: Connection, version: Version, *, now: datetime) -> ShareStanding:
    """Return a version's current place in the fleet."""
    return standings(tx, [version], now=now)[version.id]


def standings(
    tx: Connection, of: Collection[Version], *, now: datetime
) -> dict[VersionId, ShareStanding]:
    """Return versions' current places in the fleet, in three statements."""
    adapter_ids = {version.adapter_id for version in of}
    watched = _watched(tx, now=now, adapter_ids=adapter_ids)
    alive, by_tier = Counter(watched.values()), adapters_by_tier(tx)
    tiers = sa.select(adapters.c.id, adapters.c.tier).where(_among(adapters.c.id, adapter_ids))
    tier_of = {row.id: row.tier for row in tx.execute(tiers)}
    return {
        version.id: ShareStanding(
            adapter=version.adapter,
            tier=tier_of[version.adapter_id],
            adapters=by_tier,
            versions=alive[version.adapter_id],
            watched=version.id in watched,
        )
        for version in of
    }


def fleet(tx: Connection, *, now: datetime) -> dict[VersionId, ShareStanding]:
    """Return the places of all versions with a reference in force, in three statements."""
    watched = _watched(tx, now=now)
    by_tier = adapters_by_tier(tx)
    alive = Counter(watched.values())
    rows = tx.execute(
        sa.select(versions.c.id, versions.c.adapter_id, adapters.c.name, adapters.c.tier)
        .join(adapters, adapters.c.id == versions.c.adapter_id)
        .where(sa.exists().where(references.c.version_id == versions.c.id, _READY))
    )
    return {
        VersionId(row.id): ShareStanding(
            adapter=row.name,
            tier=row.tier,
            adapters=by_tier,
            versions=alive[AdapterId(row.adapter_id)],
            watched=row.id in watched,
        )
        for row in rows
    }


def adapters_by_tier(tx: Connection) -> dict[str, int]:
    """Count the watched adapters of each tier, those of every team."""
    query = (
        sa.select(adapters.c.tier, sa.func.count(sa.distinct(adapters.c.id)).label("n"))
        .join(versions, versions.c.adapter_id == adapters.c.id)
        .join(references, references.c.version_id == versions.c.id)
        .where(_READY)
        .group_by(adapters.c.tier)
    )
    with teams.whole(tx):
        return {row.tier: row.n for row in tx.execute(query)}


def _watched(
    tx: Connection, *, now: datetime, adapter_ids: Collection[AdapterId] | None = None
) -> dict[VersionId, AdapterId]:
    since = now - SILENT_AFTER
    arm = sa.func.jsonb_build_array(sa.func.jsonb_build_object("version", versions.c.name))
    routed = sa.exists().where(
        routes.c.adapter_id == versions.c.adapter_id, routes.c.arms.contains(arm)
    )
    spoke = sa.exists().where(increments.c.version_id == versions.c.id, increments.c.at > since)
    query = (
        sa.select(versions.c.id, versions.c.adapter_id)
        .join(references, references.c.version_id == versions.c.id)
        .where(_READY, sa.or_(references.c.ready_at > since, routed, spoke))
        .distinct()
    )
    if adapter_ids is not None:
        query = query.where(_among(versions.c.adapter_id, adapter_ids))
    return {VersionId(row.id): AdapterId(row.adapter_id) for row in tx.execute(query)}


def _among(column: sa.ColumnElement[Any], ids: Collection[int]) -> sa.ColumnElement[bool]:
    return column == sa.any_(sa.cast(list(ids), sa.ARRAY(sa.Integer)))
