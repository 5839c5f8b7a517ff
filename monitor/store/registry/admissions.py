"""Store admissions: what was asked and found, and which versions get no traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import insert

from detectors.checks import CheckVerdict
from monitor.domain import AdapterId, Version, VersionId
from monitor.store import wakeups
from monitor.store.errors import Conflict
from monitor.store.rows import shaped
from monitor.store.tables.probes import admissions
from monitor.store.tables.registry import adapters, changes, versions
from monitor.store.tables.traffic import flags

LEASE: Final = timedelta(minutes=15)
"""Longer than any one set of texts takes; it is renewed between them."""
REQUIRED: Final = "admission_required"

_A: Final = admissions.c


class AdmissionState(StrEnum):
    """The state of an admission."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRow:
    """An admission; ``verdict`` and ``report`` are None unless it is done."""

    id: int
    version_id: VersionId
    state: AdmissionState
    requested_by: str
    requested_at: datetime
    finished_at: datetime | None
    verdict: CheckVerdict | None
    report: Mapping[str, Any] | None
    error: str | None

    @property
    def admitted(self) -> bool:
        """True if its checks let the version answer people."""
        return self.verdict in {CheckVerdict.PASS, CheckVerdict.WARN}


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseChange:
    """A declared change of the base model: admissions asked for before its end count no more.

    ``over_at`` is now while it goes on.
    """

    over_at: datetime
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionClaim:
    """The right to write an admission while its epoch stands."""

    id: int
    version_id: VersionId
    epoch: int
    requested_by: str
    request: Mapping[str, Any]


def ask(tx: Connection, version: Version, *, by: str, request: Mapping[str, Any]) -> None:
    """Request an admission.

    Raises
    ------
    Conflict
        One of this version is under way.
    """
    # one at a time, else two could both find none under way
    tx.execute(sa.select(versions.c.id).where(versions.c.id == version.id).with_for_update())
    under_way = sa.select(_A.id).where(_A.version_id == version.id, _A.finished_at.is_(None))
    if tx.execute(under_way).first() is not None:
        raise Conflict(f"an admission of {version.label} is under way")
    made = {"version_id": version.id, "requested_by": by, "request": dict(request)}
    tx.execute(admissions.insert().values(**made))
    wakeups.notify(tx, wakeups.ADMISSIONS)


def claim(tx: Connection) -> AdmissionClaim | None:
    """Claim the oldest admission that nobody works on."""
    free = _A.lease_until.is_(None) | (_A.lease_until < sa.func.now())
    oldest = (
        sa.select(_A.id)
        .where(_A.finished_at.is_(None), free)
        .order_by(_A.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        admissions.update()
        .where(_A.id == oldest)
        .values(lease_until=sa.func.now() + LEASE, epoch=_A.epoch + 1)
        .returning(_A.id, _A.version_id, _A.epoch, _A.requested_by, _A.request)
    )
    row = tx.execute(statement).mappings().one_or_none()
    return None if row is None else shaped(AdmissionClaim, row, request=row["request"] or {})


def next_due(tx: Connection) -> timedelta | None:
    """Return the time until one can be claimed; None while none waits."""
    return wakeups.first(tx, wakeups.freed(_A.lease_until), _A.finished_at.is_(None))


def renew(tx: Connection, held: AdmissionClaim) -> bool:
    """Renew the lease; False once it is lost."""
    return _write(tx, held, lease_until=sa.func.now() + LEASE)


def finish(
    tx: Connection, held: AdmissionClaim, *, verdict: CheckVerdict, report: Mapping[str, Any]
) -> bool:
    """Store what was found and forget what was asked; False if another worker has taken it over."""
    return _write(tx, held, verdict=verdict.value, report=dict(report), **_OVER)


def fail(tx: Connection, held: AdmissionClaim, *, error: str) -> bool:
    """Store why it could not be checked: the version stays as it was."""
    return _write(tx, held, error=error, **_OVER)


def newest(tx: Connection, version_id: VersionId, *, done: bool = False) -> AdmissionRow | None:
    """Return the newest admission of a version; ``done``: the newest with a verdict."""
    running = (_A.lease_until > sa.func.now()).label("running")
    query = sa.select(admissions, running).where(_A.version_id == version_id)
    if done:
        query = query.where(_A.verdict.is_not(None))
    row = tx.execute(query.order_by(_A.id.desc()).limit(1)).mappings().one_or_none()
    return None if row is None else _row(row)


def required(tx: Connection) -> bool:
    """True if only admitted versions may get traffic."""
    found = tx.execute(sa.select(flags.c.value).where(flags.c.name == REQUIRED)).scalar()
    return isinstance(found, dict) and found.get("on") is True


def require(tx: Connection, *, on: bool) -> None:
    """Write the config's rule down, where every process that moves traffic finds it."""
    made = insert(flags).values(name=REQUIRED, value={"on": on}, actor="config")
    changed = {"value": made.excluded.value, "at": sa.func.now()}
    other = flags.c.value != made.excluded.value
    tx.execute(made.on_conflict_do_update(index_elements=["name"], set_=changed, where=other))


def barred(tx: Connection, adapter_id: AdapterId) -> dict[str, str]:
    """Return why an adapter's versions may get no traffic, by name.

    The newest admission with a verdict counts, if the base has not changed since. Empty where
    admission is not required.
    """
    if not required(tx):
        return {}
    last = (
        sa.select(sa.func.max(_A.id))
        .where(_A.version_id == versions.c.id, _A.verdict.is_not(None))
        .correlate(versions)
        .scalar_subquery()
    )
    query = (
        sa.select(versions.c.name, _A.verdict, _A.requested_at)
        .outerjoin_from(versions, admissions, _A.id == last)
        .where(versions.c.adapter_id == adapter_id)
    )
    changed = base_change(tx, adapter_id)
    found = {name: _barred(said, at, changed) for name, said, at in tx.execute(query)}
    return {name: why for name, why in found.items() if why is not None}


def _barred(verdict: str | None, at: datetime | None, changed: BaseChange | None) -> str | None:
    if verdict is None or at is None:
        return "is not admitted yet"
    if verdict == CheckVerdict.REFUSE:
        return "was refused at its admission"
    if changed is not None and at < changed.over_at:
        return f"was admitted before its base changed ({changed.title})"
    return None


def base_change(tx: Connection, adapter_id: AdapterId) -> BaseChange | None:
    """Return the newest declared change of an adapter's base model; None: there was none."""
    name = sa.select(adapters.c.name).where(adapters.c.id == adapter_id).scalar_subquery()
    over = sa.func.coalesce(changes.c.ended_at, sa.func.now())
    query = (
        sa.select(over.label("over_at"), changes.c.title)
        .where(
            changes.c.kind == "base",
            changes.c.adapters.is_(None) | (name == sa.any_(changes.c.adapters)),
            changes.c.begun_at <= sa.func.now(),
        )
        .order_by(over.desc())
        .limit(1)
    )
    row = tx.execute(query).one_or_none()
    return None if row is None else BaseChange(over_at=row.over_at, title=row.title)


_OVER: Final = {
    "request": sa.null(),
    "lease_until": None,
    "finished_at": sa.func.now(),
}


def _write(tx: Connection, held: AdmissionClaim, **values: Any) -> bool:
    statement = admissions.update().where(_A.id == held.id, _A.epoch == held.epoch)
    return tx.execute(statement.values(**values)).rowcount == 1


def _row(row: RowMapping) -> AdmissionRow:
    verdict = CheckVerdict(row["verdict"]) if row["verdict"] else None
    return shaped(AdmissionRow, row, state=_state(row), verdict=verdict)


def _state(row: RowMapping) -> AdmissionState:
    if row["error"] is not None:
        return AdmissionState.FAILED
    if row["finished_at"] is not None:
        return AdmissionState.DONE
    return AdmissionState.RUNNING if row["running"] else AdmissionState.WAITING
