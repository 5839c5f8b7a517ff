"""Versions about whose traffic is to be decided: each the newest that was found of it.

An evaluation adds the row in the transaction that stores its verdict. Whoever decides holds it
by a lease and deletes it afterwards, so that a decision that was killed is made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import JSONB, insert

from monitor.domain import Version, VersionId
from monitor.store import wakeups
from monitor.store.tables import pending_decisions, routes


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDecision:
    """A version to decide about; ``evidence`` None: whether its traffic returns."""

    version_id: VersionId
    evidence: Mapping[str, Any] | None
    asked_at: datetime


def add(tx: Connection, version: Version, evidence: Mapping[str, object], *, now: datetime) -> None:
    """Have it decided whether the version's traffic moves away, by this evidence."""
    row = insert(pending_decisions).values(
        version_id=version.id, adapter_id=version.adapter_id, evidence=evidence, asked_at=now
    )
    _put(tx, row)


def add_return(tx: Connection, version: Version, *, now: datetime) -> None:
    """Have it decided whether traffic returns, where some of it goes to a fallback arm."""
    found = sa.select(
        sa.literal(version.id),
        routes.c.adapter_id,
        sa.null().cast(JSONB),
        sa.literal(now, sa.DateTime(timezone=True)),
    ).where(
        routes.c.adapter_id == version.adapter_id,
        routes.c.arms.contains([{"arm": "fallback"}]),
    )
    columns = ["version_id", "adapter_id", "evidence", "asked_at"]
    _put(tx, insert(pending_decisions).from_select(columns, found))


def claim(tx: Connection, *, lease: timedelta) -> PendingDecision | None:
    """Take the one that waits for the longest; None where none does."""
    row = tx.execute(_CLAIM, {"lease": lease}).mappings().one_or_none()
    return None if row is None else PendingDecision(**row)


def finish(tx: Connection, pending: PendingDecision) -> None:
    """Take it away, unless something newer was found meanwhile: then that waits."""
    mine = pending_decisions.c.version_id == pending.version_id
    same = pending_decisions.c.asked_at == pending.asked_at
    if tx.execute(pending_decisions.delete().where(mine, same)).rowcount == 0:
        tx.execute(pending_decisions.update().where(mine).values(lease_until=None))


def _put(tx: Connection, row: Any) -> None:
    newest = {name: row.excluded[name] for name in ("evidence", "asked_at")}
    kept = row.on_conflict_do_update(index_elements=["version_id"], set_=newest)
    if tx.execute(kept).rowcount:
        wakeups.notify(tx, wakeups.DECISIONS)


_CLAIM = sa.text(
    """
    UPDATE pending_decisions SET lease_until = now() + :lease
    WHERE version_id = (
        SELECT version_id FROM pending_decisions
        WHERE lease_until IS NULL OR lease_until < now()
        ORDER BY asked_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING version_id, evidence, asked_at
    """
)
