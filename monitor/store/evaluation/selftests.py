"""Store self-tests: requests, leases, and the last report of each version."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import ReferenceId, VersionId
from monitor.store import wakeups
from monitor.store.rows import shaped
from monitor.store.tables.probes import selftests
from monitor.store.tables.references import references

LEASE: Final = timedelta(minutes=2)
SETTLED: Final = timedelta(hours=1)
"""A reference must be this old for a scheduled test: by then its traffic is known."""

_S: Final = selftests.c


class SelfTestState(StrEnum):
    """The state of a version's self-test."""

    NEVER = "never"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestRow:
    """A version's self-test; ``report`` is the last successful one, of ``generation``."""

    state: SelfTestState = SelfTestState.NEVER
    progress: float = 0.0
    requested_at: datetime | None = None
    finished_at: datetime | None = None
    generation: int | None = None
    report: Mapping[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestClaim:
    """The right to write a version's self-test while its epoch stands."""

    version_id: VersionId
    epoch: int
    now: datetime


def ask(tx: Connection, version_id: VersionId) -> None:
    """Request a self-test, unless one is already waiting."""
    made = insert(selftests).values(version_id=version_id, requested_at=sa.func.now())
    waiting = sa.func.coalesce(_S.requested_at, made.excluded.requested_at)
    tx.execute(
        made.on_conflict_do_update(index_elements=["version_id"], set_={"requested_at": waiting})
    )
    wakeups.notify(tx, wakeups.SELFTESTS)


_CLAIM: Final = sa.text(
    """
    UPDATE selftests SET lease_until = now() + :lease, epoch = epoch + 1, progress = 0
    WHERE version_id = (
        SELECT s.version_id FROM selftests s
        CROSS JOIN LATERAL (SELECT max(ready_at) AS ready_at FROM "references"
            WHERE version_id = s.version_id AND state = 'ready') r
        WHERE (s.lease_until IS NULL OR s.lease_until < now())
          AND (s.requested_at IS NOT NULL
            OR (s.version_id = ANY(:scheduled) AND r.ready_at < now() - :settled
              AND (s.finished_at IS NULL OR s.finished_at < r.ready_at
                OR s.finished_at < now() - CAST(:every AS interval))))
        ORDER BY s.requested_at, s.finished_at NULLS FIRST LIMIT 1
        FOR UPDATE OF s SKIP LOCKED)
    RETURNING version_id, epoch, now() AS now
    """
)


def claim(
    tx: Connection, *, scheduled: Collection[VersionId], every: timedelta
) -> SelfTestClaim | None:
    """Claim the next self-test: requested ones first, then due scheduled ones."""
    if scheduled:
        rows = [{"version_id": version_id} for version_id in scheduled]
        tx.execute(insert(selftests).on_conflict_do_nothing(), rows)
    bound = {
        "lease": LEASE,
        "scheduled": list(scheduled),
        "settled": SETTLED,
        "every": every,
    }
    row = tx.execute(_CLAIM, bound).one_or_none()
    if row is None:
        return None
    return SelfTestClaim(version_id=VersionId(row.version_id), epoch=row.epoch, now=row.now)


def progress(tx: Connection, held: SelfTestClaim, *, share: float) -> bool:
    """Store the progress, in [0, 1], and renew the lease; False once it is lost."""
    return _write(tx, held, progress=share, lease_until=sa.func.now() + LEASE)


def finish(
    tx: Connection, held: SelfTestClaim, *, reference_id: ReferenceId, report: Mapping[str, Any]
) -> bool:
    """Store a report; False if another worker has taken the self-test over."""
    return _write(
        tx, held, reference_id=reference_id, report=dict(report), error=None, **_over(held)
    )


def fail(tx: Connection, held: SelfTestClaim, *, error: str) -> bool:
    """Store why there is no new report; the last one stays."""
    return _write(tx, held, error=error, **_over(held))


def release(tx: Connection, held: SelfTestClaim) -> bool:
    """Release an unfinished self-test, as a stopping service does."""
    return _write(tx, held, lease_until=None)


def fetch(tx: Connection, version_id: VersionId) -> SelfTestRow:
    """Return the state of a version's self-test."""
    running = _S.lease_until > sa.func.now()
    query = (
        sa.select(selftests, references.c.generation, running.label("running"))
        .outerjoin(references, references.c.id == _S.reference_id)
        .where(_S.version_id == version_id)
    )
    row = tx.execute(query).mappings().one_or_none()
    return SelfTestRow() if row is None else shaped(SelfTestRow, row, state=_state(row))


def _state(row: RowMapping) -> SelfTestState:
    if row["running"]:
        return SelfTestState.RUNNING
    if row["requested_at"] is not None:
        return SelfTestState.WAITING
    if row["error"] is not None:
        return SelfTestState.FAILED
    return SelfTestState.NEVER if row["finished_at"] is None else SelfTestState.DONE


def _over(held: SelfTestClaim) -> dict[str, Any]:
    """Return the values that end a claim; a request made meanwhile stays."""
    later = sa.case((_S.requested_at > held.now, _S.requested_at))
    return {
        "lease_until": None,
        "progress": 1.0,
        "finished_at": sa.func.now(),
        "requested_at": later,
    }


def _write(tx: Connection, held: SelfTestClaim, **values: Any) -> bool:
    statement = (
        sa.update(selftests)
        .where(_S.version_id == held.version_id, _S.epoch == held.epoch)
        .values(**values)
    )
    return tx.execute(statement).rowcount == 1
