"""Read the fleet for lists of adapters, in a fixed number of queries.

The cost is the same few statements for 3 adapters and for 500; every table read here holds one row
per adapter or version, except ``capture_counts``, of which two hours are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import distinct_on

from alerts.types import VerdictKind
from monitor.domain import Adapter, AdapterId, ArmKind, ReferenceState, Route, Version, VersionId
from monitor.store.evaluation import verdicts
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.registry import adapters, versions
from monitor.store.rows import shaped
from monitor.store.tables.records import capture_counts
from monitor.store.tables.references import references
from monitor.store.traffic import routes

WORST_FIRST: Final = (
    VerdictKind.CRITICAL,
    VerdictKind.DRIFTING,
    VerdictKind.ERROR,
    VerdictKind.BLIND,
    VerdictKind.INSUFFICIENT,
    VerdictKind.LEARNING,
    VerdictKind.STABLE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceGlance:
    """The state of a version's reference; ``state`` is None if it has none."""

    state: ReferenceState | None = None
    generation: int | None = None
    approved: bool = False
    progress: float | None = None
    n_training: int = 0
    n_baseline: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRow:
    """One adapter with its version in charge; ``judged`` is None before the first evaluation."""

    adapter: Adapter
    version: Version | None
    judged: VerdictRow | None
    reference: ReferenceGlance
    route: Route | None
    records_last_hour: int

    @property
    def verdict(self) -> VerdictKind:
        """``learning`` until the first evaluation."""
        return self.judged.verdict.kind if self.judged else VerdictKind.LEARNING


def fleet(tx: Connection, *, now: datetime) -> list[FleetRow]:
    """Read all adapters, worst first: by verdict, then drift score, then name."""
    charge = _in_charge(versions.fetch_all(tx), routes.all_routes(tx))
    judged = {row.version_id: row for row in verdicts.fleet(tx)}
    glances = _references(tx)
    counts = _last_hour(tx, now=now)
    rows = []
    for adapter in adapters.fetch_all(tx):
        version, route = charge.get(adapter.name, (None, None))
        rows.append(
            FleetRow(
                adapter=adapter,
                version=version,
                judged=judged.get(version.id) if version else None,
                reference=glances.get(version.id, _NONE) if version else _NONE,
                route=route,
                records_last_hour=counts.get(adapter.id, 0),
            )
        )
    return sorted(rows, key=_badness)


def adapter(tx: Connection, name: str, *, now: datetime) -> FleetRow | None:
    """Give one adapter without reading the others; None: there is none of this name."""
    found = adapters.fetch(tx, name)
    if found is None:
        return None
    version, route = _charge_of(tx, found)
    return FleetRow(
        adapter=found,
        version=version,
        judged=verdicts.current(tx, version_id=version.id) if version else None,
        reference=_references(tx, version.id).get(version.id, _NONE) if version else _NONE,
        route=route,
        records_last_hour=_last_hour(tx, now=now, adapter_id=found.id).get(found.id, 0),
    )


def in_charge(tx: Connection, adapter: str) -> Version | None:
    """Give an adapter's version in charge; None where none is registered."""
    found = adapters.fetch(tx, adapter)
    return _charge_of(tx, found)[0] if found else None


def serving(tx: Connection, adapter: str) -> list[Version]:
    """Give an adapter's versions that have traffic now, else the one in charge."""
    found = adapters.fetch(tx, adapter)
    if found is None:
        return []
    charge, route = _charge_of(tx, found)
    named = {arm.version for arm in route.arms if arm.weight > 0} if route else set()
    known = [one for one in versions.of_adapter(tx, found.id) if one.name in named]
    return known or [one for one in [charge] if one]


def _charge_of(tx: Connection, found: Adapter) -> tuple[Version | None, Route | None]:
    route = routes.get(tx, found.name)
    known = versions.of_adapter(tx, found.id)
    return _in_charge(known, [route] if route else []).get(found.name, (None, None))


def _badness(row: FleetRow) -> tuple[int, float, str]:
    score = row.judged.drift_score if row.judged else 0.0
    return WORST_FIRST.index(row.verdict), -score, row.adapter.name


_NONE: Final = ReferenceGlance()

Charge = Mapping[str, tuple[Version, Route | None]]


def _in_charge(known: list[Version], table: list[Route]) -> Charge:
    """Map adapters to the route's stable version, else the newest registered one."""
    stable = {
        (route.adapter, arm.version)
        for route in table
        for arm in route.arms
        if arm.arm is ArmKind.STABLE
    }
    by_adapter = {route.adapter: route for route in table}
    charge: dict[str, tuple[Version, Route | None]] = {}
    for version in known:  # oldest first: the newest is written last
        held = charge.get(version.adapter)
        if held and (held[0].adapter, held[0].name) in stable:
            continue
        charge[version.adapter] = (version, by_adapter.get(version.adapter))
    return charge


_newer: Final = references.alias("newer")
_REPLACED: Final = sa.exists().where(
    _newer.c.version_id == references.c.version_id,
    _newer.c.generation > references.c.generation,
    _newer.c.state == ReferenceState.BUILDING.value,
)

_GLANCE: Final = (
    sa.select(
        references.c.version_id,
        references.c.state,
        references.c.generation,
        # while a newer one is built, this approval no longer counts
        sa.and_(references.c.approved_by.is_not(None), ~_REPLACED).label("approved"),
        references.c.progress,
        references.c.n_training,
        references.c.n_baseline,
    )
    .ext(distinct_on(references.c.version_id))
    # the newest ready one is in force; before there is one, the newest shows the progress
    .order_by(
        references.c.version_id,
        (references.c.state == ReferenceState.READY.value).desc(),
        references.c.generation.desc(),
    )
)


def _references(
    tx: Connection, version_id: VersionId | None = None
) -> dict[VersionId, ReferenceGlance]:
    of_one = _GLANCE.where(references.c.version_id == version_id)
    rows = tx.execute(_GLANCE if version_id is None else of_one).mappings()
    return {
        VersionId(row["version_id"]): shaped(
            ReferenceGlance, row, state=ReferenceState(row["state"])
        )
        for row in rows
    }


def _last_hour(
    tx: Connection, *, now: datetime, adapter_id: AdapterId | None = None
) -> dict[AdapterId, int]:
    """Records accepted in the last 60 minutes, from hourly counts.

    The previous hour counts with the share of it within those 60 minutes.
    """
    hour = now.replace(minute=0, second=0, microsecond=0)
    share = 1.0 - (now - hour) / timedelta(hours=1)
    weight = sa.case((capture_counts.c.hour >= hour, 1.0), else_=share)
    total = sa.func.sum(capture_counts.c.count * weight)
    query = (
        sa.select(capture_counts.c.adapter_id, total)
        .where(
            capture_counts.c.hour >= hour - timedelta(hours=1),
            capture_counts.c.outcome == "accepted",
        )
        .group_by(capture_counts.c.adapter_id)
    )
    if adapter_id is not None:
        query = query.where(capture_counts.c.adapter_id == adapter_id)
    return {AdapterId(row[0]): round(row[1]) for row in tx.execute(query)}
