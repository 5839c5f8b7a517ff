"""Store Evidently's reports: requests, leases, and for a day what was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal, NewType

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import Interval, VersionId
from monitor.store import wakeups
from monitor.store.rows import shaped
from monitor.store.tables.evaluations import reports as table

ReportId = NewType("ReportId", int)
Form = Literal["page", "snapshot"]

LEASE: Final = timedelta(minutes=2)
KEPT: Final = timedelta(days=1)
MOST: Final = 8
"""Reports kept of a version; an older one makes room for a newer one."""

_R: Final = table.c
_STATE: Final = (
    _R.id, _R.version_id, _R.start_at, _R.end_at, _R.requested_at, _R.progress,
    _R.finished_at, _R.error, _R.facts, (_R.lease_until > sa.func.now()).label("running"),
)  # fmt: skip


class ReportState(StrEnum):
    """How far a report is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """A report without its bodies; ``facts`` say what was compared, once it is done."""

    id: ReportId
    version_id: VersionId
    span: Interval
    state: ReportState
    progress: float
    requested_at: datetime
    finished_at: datetime | None
    error: str | None
    facts: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportClaim:
    """The right to write a report while its epoch stands."""

    id: ReportId
    version_id: VersionId
    span: Interval
    epoch: int


def ask(tx: Connection, version_id: VersionId, span: Interval) -> ReportId:
    """Request a report; one of the same records that is kept, or waits, is that report.

    One that failed is tried again.
    """
    values = {"version_id": version_id, "start_at": span.start, "end_at": span.end}
    retried = {
        name: sa.case((_R.error.is_(None), column), else_=fresh)
        for name, column, fresh in (
            ("requested_at", _R.requested_at, sa.func.now()),
            ("finished_at", _R.finished_at, None),
            ("progress", _R.progress, 0.0),
        )
    }
    made = insert(table).values(values)
    query = made.on_conflict_do_update(
        index_elements=list(values), set_={**retried, "error": None}
    ).returning(_R.id)
    number = ReportId(tx.execute(query).scalar_one())
    newest = (
        sa.select(_R.id)
        .where(_R.version_id == version_id)
        .order_by(_R.requested_at.desc(), _R.id.desc())
        .limit(MOST)
    )
    tx.execute(table.delete().where(_R.version_id == version_id, _R.id.not_in(newest)))
    wakeups.notify(tx, wakeups.REPORTS)
    return number


_CLAIM: Final = sa.text(
    """
    UPDATE reports SET lease_until = now() + :lease, epoch = epoch + 1, progress = 0
    WHERE id = (
        SELECT id FROM reports
        WHERE finished_at IS NULL AND (lease_until IS NULL OR lease_until < now())
        ORDER BY requested_at, id LIMIT 1
        FOR UPDATE SKIP LOCKED)
    RETURNING id, version_id, start_at, end_at, epoch
    """
)


def claim(tx: Connection) -> ReportClaim | None:
    """Claim the report that has waited longest."""
    row = tx.execute(_CLAIM, {"lease": LEASE}).mappings().one_or_none()
    return None if row is None else shaped(ReportClaim, row, span=_span(row))


def progress(tx: Connection, held: ReportClaim, *, share: float) -> bool:
    """Store the progress, in [0, 1], and renew the lease; False once it is lost."""
    return _write(tx, held, progress=share, lease_until=sa.func.now() + LEASE)


def finish(
    tx: Connection, held: ReportClaim, *, facts: Mapping[str, Any], page: bytes, snapshot: bytes
) -> bool:
    """Store what was drawn, gzip; False if another worker has taken the report over."""
    return _write(tx, held, facts=dict(facts), page=page, snapshot=snapshot, **_OVER)


def fail(tx: Connection, held: ReportClaim, *, error: str) -> bool:
    """Store why there is no report."""
    return _write(tx, held, error=error, **_OVER)


def release(tx: Connection, held: ReportClaim) -> bool:
    """Release an unfinished report, as a stopping service does."""
    return _write(tx, held, lease_until=None)


def fetch(tx: Connection, version_id: VersionId, number: int) -> ReportRow | None:
    """Return one report of a version."""
    query = sa.select(*_STATE).where(_R.id == number, _R.version_id == version_id)
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else _row(row)


def newest(tx: Connection, version_id: VersionId) -> list[ReportRow]:
    """Return the reports that are kept of a version, the newest first."""
    query = sa.select(*_STATE).where(_R.version_id == version_id)
    rows = tx.execute(query.order_by(_R.requested_at.desc(), _R.id.desc())).mappings()
    return [_row(row) for row in rows]


def body(tx: Connection, number: ReportId, form: Form) -> bytes | None:
    """Return the drawn page, or Evidently's snapshot, gzip; None while there is none."""
    return tx.execute(sa.select(table.c[form]).where(_R.id == number)).scalar_one_or_none()


def drop_older(tx: Connection, *, than: datetime) -> int:
    """Delete the reports that were requested before a time."""
    return tx.execute(table.delete().where(_R.requested_at < than)).rowcount


def _row(row: RowMapping) -> ReportRow:
    return shaped(ReportRow, row, span=_span(row), state=_state(row))


def _span(row: RowMapping) -> Interval:
    return Interval(start=row["start_at"], end=row["end_at"])


def _state(row: RowMapping) -> ReportState:
    if row["error"] is not None:
        return ReportState.FAILED
    if row["finished_at"] is not None:
        return ReportState.DONE
    return ReportState.RUNNING if row["running"] else ReportState.WAITING


_OVER: Final[dict[str, Any]] = {
    "lease_until": None,
    "progress": 1.0,
    "finished_at": sa.func.now(),
}


def _write(tx: Connection, held: ReportClaim, **values: Any) -> bool:
    statement = sa.update(table).where(_R.id == held.id, _R.epoch == held.epoch).values(**values)
    return tx.execute(statement).rowcount == 1
