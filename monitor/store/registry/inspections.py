"""Store the inspection of each version's weight files: one row a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import AdapterId, Version, VersionId, WeightsState
from monitor.store.registry import versions as registry
from monitor.store.rows import named
from monitor.store.tables.probes import weight_inspections
from monitor.store.tables.registry import adapters, versions

RETRY: Final = timedelta(hours=1)
"""How soon an unreadable folder is read again: its disk may be mounted by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionRow:
    """The inspection of a version's weights; ``summary`` is empty if they were not read."""

    version_id: VersionId
    adapter: str
    version: str
    at: datetime
    state: WeightsState
    weights: str | None
    reason: str
    summary: Mapping[str, Any]


_REPLACEABLE: Final = (weight_inspections.c.state == WeightsState.UNREADABLE.value) | (
    weight_inspections.c.report.has_key("modules")
    & ~weight_inspections.c.report.has_key("identity")
)
"""Not readable, or read by a release whose hash left the config out: it is read again."""


def waiting(tx: Connection, *, readable: Sequence[str]) -> Version | None:
    """Return the oldest version whose weights were not inspected.

    ``readable`` are beginnings of the addresses that are read here.
    """
    query = (
        sa.select(versions.c.id)
        .outerjoin(weight_inspections, weight_inspections.c.version_id == versions.c.id)
        .where(
            sa.or_(*(versions.c.uri.startswith(one, autoescape=True) for one in readable)),
            weight_inspections.c.version_id.is_(None)
            | (_REPLACEABLE & (weight_inspections.c.at < sa.func.now() - RETRY)),
        )
        .order_by(weight_inspections.c.at.asc().nulls_first(), versions.c.id)
        .limit(1)
    )
    found = tx.execute(query).scalar_one_or_none()
    return None if found is None else registry.fetch_by_id(tx, VersionId(found))


def put(
    tx: Connection,
    *,
    version_id: VersionId,
    state: WeightsState,
    reason: str,
    weights: str | None = None,
    found: Mapping[str, Any] | None = None,
) -> bool:
    """Store an inspection, with its full report in ``found``; True if it is new.

    The first to have read the files wins, so two daemons that inspect the same version leave one
    row. Only ``unreadable`` and results of an earlier release are replaced.
    """
    # one at a time, else two daemons could both find it new
    tx.execute(sa.select(versions.c.id).where(versions.c.id == version_id).with_for_update())
    before = fetch(tx, version_id)
    was_read = before is not None and before.state is not WeightsState.UNREADABLE
    if was_read and state is WeightsState.UNREADABLE:
        seen = weight_inspections.update().values(
            at=sa.func.now()
        )  # seen again, but not read again
        tx.execute(seen.where(weight_inspections.c.version_id == version_id))
        return False
    values = {
        "state": state.value,
        "reason": reason,
        "weights": weights,
        "report": dict(found or {}),
        "at": sa.func.now(),
    }
    done = tx.execute(
        insert(weight_inspections)
        .values(version_id=version_id, **values)
        .on_conflict_do_update(
            index_elements=["version_id"],
            set_=values,
            where=_REPLACEABLE,
        )
        .returning(weight_inspections.c.version_id)
    )
    return done.first() is not None and (before is None or before.state is not state)


def fetch(tx: Connection, version_id: VersionId) -> InspectionRow | None:
    """Return the inspection of one version, if any."""
    row = tx.execute(_select().where(versions.c.id == version_id)).mappings().one_or_none()
    return _row(row) if row else None


def report(tx: Connection, version_id: VersionId) -> Mapping[str, Any]:
    """Return the full report on one version; empty if its files were not read."""
    query = sa.select(weight_inspections.c.report).where(
        weight_inspections.c.version_id == version_id
    )
    found: Mapping[str, Any] | None = tx.execute(query).scalar_one_or_none()
    return found or {}


def of_adapter(tx: Connection, adapter_id: AdapterId) -> dict[VersionId, InspectionRow]:
    """Return the inspections of an adapter's versions."""
    rows = tx.execute(_select().where(versions.c.adapter_id == adapter_id)).mappings()
    return {found.version_id: found for found in map(_row, rows)}


def states(tx: Connection) -> list[tuple[str, str, WeightsState]]:
    """Return (adapter, version, state) of every inspected version."""
    query = (
        sa.select(adapters.c.name, versions.c.name, weight_inspections.c.state)
        .join_from(weight_inspections, versions)
        .join(adapters, adapters.c.id == versions.c.adapter_id)
        .order_by(adapters.c.name, versions.c.id)
    )
    return [
        (adapter, version, WeightsState(state)) for adapter, version, state in tx.execute(query)
    ]


def _select() -> sa.Select[Any]:
    c = weight_inspections.c
    summary = c.report["summary"].label("summary")
    return named(weight_inspections, c.version_id, c.at, c.state, c.weights, c.reason, summary)


def _row(row: RowMapping) -> InspectionRow:
    state, reason = WeightsState(row["state"]), row["reason"] or ""
    summary = row["summary"] or {}
    return InspectionRow(**{**row, "state": state, "reason": reason, "summary": summary})
