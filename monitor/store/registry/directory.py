"""Read all adapters, their versions and their routes' arms, in one query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId, ArmKind, VersionId, facts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmVersions:
    """An adapter's versions by name, and the version name of each arm of its route."""

    adapter_id: AdapterId
    facts: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, VersionId]
    arms: Mapping[ArmKind, str]


_QUERY = sa.text(
    "SELECT a.name, a.id, a.owner, a.tier, a.labels, r.arms,"
    " (SELECT coalesce(jsonb_object_agg(v.name, v.id), '{}') FROM versions v"
    "  WHERE v.adapter_id = a.id) AS versions"
    " FROM adapters a LEFT JOIN routes r ON r.adapter_id = a.id"
)


def read(connection: Connection) -> dict[str, ArmVersions]:
    """Return every registered adapter by name."""
    return {
        row.name: ArmVersions(
            adapter_id=AdapterId(row.id),
            facts=facts_of(row.name, owner=row.owner, tier=row.tier, labels=row.labels),
            versions={name: VersionId(number) for name, number in row.versions.items()},
            arms={ArmKind(arm["arm"]): arm["version"] for arm in row.arms or ()},
        )
        for row in connection.execute(_QUERY)
    }
