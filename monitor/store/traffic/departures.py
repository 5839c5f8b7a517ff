"""Find versions without traffic: since when, and from which generation of the route.

A version departs with the first generation that has no arm for it, whatever an arm's weight: a
version whose traffic the breaker took away stays the stable arm. Versions that were never in a
route, and adapters without a route, never depart.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import VersionId
from monitor.store.tables.incidents import fleet_members, incidents

STRAGGLERS: Final = timedelta(days=1)
"""A departed version with records younger than this still answers somebody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """The version has been in no arm since ``at``, by the route's ``generation``."""

    at: datetime
    generation: int


_DEPARTED: Final = sa.text(
    """
    SELECT v.id, left_by.since AS at, left_by.generation
    FROM versions v
    JOIN LATERAL (
        SELECT h.generation FROM route_history h
        WHERE h.adapter_id = v.adapter_id
          AND h.arms @> jsonb_build_array(jsonb_build_object('version', v.name))
        ORDER BY h.generation DESC LIMIT 1
    ) newest ON true
    JOIN LATERAL (
        SELECT h.generation, h.since FROM route_history h
        WHERE h.adapter_id = v.adapter_id AND h.generation > newest.generation
        ORDER BY h.generation LIMIT 1
    ) left_by ON true
    WHERE v.id = ANY(:versions)
      AND left_by.since <= CAST(:now AS timestamptz) - CAST(:after AS interval)
      AND NOT EXISTS (
        SELECT FROM canaries c
        WHERE c.adapter_id = v.adapter_id AND c.ended_at IS NULL
          AND v.id IN (c.version_id, c.control_id)
      )
      AND NOT EXISTS (
        SELECT FROM records r
        WHERE r.adapter_id = v.adapter_id AND r.version_id = v.id
          AND r.at > left_by.since + CAST(:after AS interval)
          AND r.at > CAST(:now AS timestamptz) - CAST(:stragglers AS interval)
      )
    """
)


def departed(
    tx: Connection, versions: Collection[VersionId], *, now: datetime, after: timedelta
) -> dict[VersionId, Departure]:
    """Return those of some versions that departed at least ``after`` ago.

    Leaves out versions in an active canary, and versions that still get traffic: those with records
    in the last day that are more than ``after`` past the departure.
    """
    if not versions:
        return {}
    asked = {"versions": list(versions), "now": now, "after": after, "stragglers": STRAGGLERS}
    return {
        VersionId(row.id): Departure(at=row.at, generation=row.generation)
        for row in tx.execute(_DEPARTED, asked)
    }


def told_of(tx: Connection, kinds: Collection[str]) -> frozenset[VersionId]:
    """Name the versions with an open incident of these kinds, their own or their base's."""
    own = sa.select(incidents.c.version_id).where(
        incidents.c.closed_at.is_(None),
        incidents.c.version_id.is_not(None),
        incidents.c.kind.in_(kinds),
    )
    shared = sa.select(fleet_members.c.version_id).where(fleet_members.c.left_at.is_(None))
    return frozenset(VersionId(found) for found in tx.scalars(own.union(shared)))
