"""Versions about whose traffic is to be decided: each the newest that was found of it.

An evaluation adds the row in the transaction that stores its verdict. Whoever decides holds it
by a lease and deletes it afterwards, so that a decision that was killed is made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import Version, VersionId
from monitor.store import wakeups
from monitor.store.tables.traffic import pending_decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDecision:
    """A version to decide about; ``evidence`` None: whether its traffic returns."""

    version_id: VersionId
    evidence: Mapping[str, Any] | None
    asked_at: datetime


def add(tx: Connection, version: Version, evidence: Mapping[str, object], *, now: datetime) -> None:
    """Have it decided whether the version's traffic moves away, by this evidence."""
    row = insert(pending_decisions).values(
        version_id=version.id,
        adapter_id=version.adapter_id,
        evidence=evidence,
        asked_at=now,
        waits_since=now,
    )
    newest = {name: row.excluded[name] for name in ("evidence", "asked_at")}
    tx.execute(row.on_conflict_do_update(index_elements=["version_id"], set_=newest))
    wakeups.notify(tx, wakeups.DECISIONS)


def add_returns(tx: Connection, of: Sequence[tuple[Version, datetime]]) -> None:
    """Have it decided whether versions' traffic returns, where some goes to a fallback arm.

    What was found before and has not been decided on is withdrawn: the newest finding counts.
    """
    rows = {
        "versions": [version.id for version, _ in of],
        "adapters": [version.adapter_id for version, _ in of],
        "times": [at for _, at in of],
    }
    found = set(tx.execute(_RETURNS, rows).scalars())
    if found:
        wakeups.notify(tx, wakeups.DECISIONS)
    others = [version.id for version, _ in of if version.id not in found]
    tx.execute(_WITHDRAW, {"versions": others})


_RETURNS: Final = sa.text(
    """
    INSERT INTO pending_decisions (version_id, adapter_id, evidence, asked_at, waits_since)
    SELECT w.version_id, w.adapter_id, NULL, w.at, w.at
    FROM unnest(CAST(:versions AS int[]), CAST(:adapters AS int[]), CAST(:times AS timestamptz[]))
        AS w (version_id, adapter_id, at)
    JOIN routes ON routes.adapter_id = w.adapter_id AND routes.arms @> '[{"arm": "fallback"}]'
    ON CONFLICT (version_id) DO UPDATE
        SET evidence = excluded.evidence, asked_at = excluded.asked_at
    RETURNING version_id
    """
)
_WITHDRAW: Final = sa.text("DELETE FROM pending_decisions WHERE version_id = ANY(:versions)")


def claim(tx: Connection, *, owner: str, lease: timedelta) -> PendingDecision | None:
    """Take the one that waits for the longest; None where none does."""
    row = tx.execute(_CLAIM, {"owner": owner, "lease": lease}).mappings().one_or_none()
    return None if row is None else PendingDecision(**row)


def finish(tx: Connection, pending: PendingDecision, *, owner: str) -> None:
    """Take it away, unless something newer was found meanwhile: then that waits."""
    mine = pending_decisions.c.version_id == pending.version_id
    same = pending_decisions.c.asked_at == pending.asked_at
    if tx.execute(pending_decisions.delete().where(mine, same)).rowcount == 0:
        held = pending_decisions.c.lease_owner == owner
        freed = {"lease_until": None, "waits_since": pending_decisions.c.asked_at}
        tx.execute(pending_decisions.update().where(mine, held).values(freed))


def next_due(tx: Connection) -> timedelta | None:
    """Return the time until a decision can be taken up; None where none waits."""
    return wakeups.first(tx, wakeups.freed(pending_decisions.c.lease_until))


def put_off(tx: Connection, pending: PendingDecision) -> None:
    """Decide again once the lease is over: it has been looked at, and does not wait unseen."""
    mine = pending_decisions.c.version_id == pending.version_id
    tx.execute(pending_decisions.update().where(mine).values(waits_since=sa.func.clock_timestamp()))


def release(tx: Connection, *, owner: str) -> None:
    """Let others decide at once about what this process had taken."""
    mine = pending_decisions.c.lease_owner == owner
    tx.execute(pending_decisions.update().where(mine).values(lease_until=None))
    wakeups.notify(tx, wakeups.DECISIONS)


def longest_seconds(tx: Connection) -> float:
    """For how long the version that waits longest for a decision has waited; 0.0: none does."""
    waited = sa.func.clock_timestamp() - sa.func.min(pending_decisions.c.waits_since)
    found = tx.execute(sa.select(sa.func.extract("epoch", waited))).scalar_one()
    return max(0.0, float(found or 0.0))


_CLAIM = sa.text(
    """
    UPDATE pending_decisions SET lease_until = now() + :lease, lease_owner = :owner
    WHERE version_id = (
        SELECT version_id FROM pending_decisions
        WHERE lease_until IS NULL OR lease_until < now()
        ORDER BY waits_since LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING version_id, evidence, asked_at
    """
)
