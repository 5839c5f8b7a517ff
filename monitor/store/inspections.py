"""What was found in the files of each version's weights: one row a version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import AdapterId, Version, VersionId, WeightsState
from monitor.store import versions as registry
from monitor.store.tables import adapters, versions, weight_inspections

RETRY: Final = timedelta(hours=1)
"""A folder that could not be read is looked for again: its disk may be mounted by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionRow:
    """What is known of a version's weights; ``summary`` is empty where they were not read."""

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
"""Nothing was read, or by a release whose hash left the config out: it is read again."""


def waiting(tx: Connection) -> Version | None:
    """Give the oldest version whose weights lie in a local folder and were not looked at."""
    query = (
        sa.select(versions.c.id)
        .outerjoin(weight_inspections, weight_inspections.c.version_id == versions.c.id)
        .where(
            versions.c.uri.startswith("/") | versions.c.uri.startswith("file:"),
            weight_inspections.c.version_id.is_(None)
            | (_REPLACEABLE & (weight_inspections.c.at < sa.func.now() - RETRY)),
        )
        .order_by(versions.c.id)
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
    """Keep what was found, ``found`` in full; True where it is news.

    The first to have read the files wins, so two daemons that inspect the same version
    leave one row. Only ``unreadable`` is replaced, and what an earlier release has read.
    """
    # one after the other, or two daemons could both find that it was news
    tx.execute(sa.select(versions.c.id).where(versions.c.id == version_id).with_for_update())
    before = fetch(tx, version_id)
    was_read = before is not None and before.state is not WeightsState.UNREADABLE
    if was_read and state is WeightsState.UNREADABLE:
        seen = weight_inspections.update().values(at=sa.func.now())  # looked for, not found again
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
    """Give what was found of one version, if it was looked at."""
    row = tx.execute(_select().where(versions.c.id == version_id)).mappings().one_or_none()
    return _row(row) if row else None


def report(tx: Connection, version_id: VersionId) -> Mapping[str, Any]:
    """Give everything that was found of one version; empty where its files were not read."""
    query = sa.select(weight_inspections.c.report).where(
        weight_inspections.c.version_id == version_id
    )
    found: Mapping[str, Any] | None = tx.execute(query).scalar_one_or_none()
    return found or {}


def of_adapter(tx: Connection, adapter_id: AdapterId) -> dict[VersionId, InspectionRow]:
    """Give what was found of each version of an adapter that was looked at."""
    rows = tx.execute(_select().where(versions.c.adapter_id == adapter_id)).mappings()
    return {found.version_id: found for found in map(_row, rows)}


def states(tx: Connection) -> list[tuple[str, str, WeightsState]]:
    """Give (adapter, version, state) of every version that was looked at."""
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
    return (
        sa.select(
            *(weight_inspections.c[name] for name in ("version_id", "at", "state", "weights")),
            weight_inspections.c.reason,
            weight_inspections.c.report["summary"].label("summary"),
            versions.c.name.label("version"),
            adapters.c.name.label("adapter"),
        )
        .join_from(weight_inspections, versions)
        .join(adapters, adapters.c.id == versions.c.adapter_id)
    )


def _row(row: RowMapping) -> InspectionRow:
    state, reason = WeightsState(row["state"]), row["reason"] or ""
    summary = row["summary"] or {}
    return InspectionRow(**{**row, "state": state, "reason": reason, "summary": summary})
