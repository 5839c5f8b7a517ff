"""Store canaries, and the versions that only a person may let try again.

States, plans and guardrails are bodies here: their words are those of
:mod:`monitor.traffic.trial`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NewType

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from monitor.domain import AdapterId, Mode, Version, VersionId
from monitor.store import wakeups
from monitor.store.errors import Conflict, NotFound
from monitor.store.registry.adapters import hold
from monitor.store.rows import named, shaped, stored
from monitor.store.tables.registry import versions
from monitor.store.tables.traffic import canaries

CanaryId = NewType("CanaryId", int)


class OneAtATime(Conflict):
    """The adapter already has an active canary; ``active`` is its id."""

    def __init__(self, adapter: str, active: CanaryId) -> None:
        super().__init__(f"canary {active} of {adapter} is still under way")
        self.active = active


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryRow:
    """A stored canary; ``epoch`` fences concurrent looks."""

    id: CanaryId
    adapter_id: AdapterId
    adapter: str
    version_id: VersionId
    version: str
    control_id: VersionId
    control: str
    plan: Mapping[str, Any]
    state: Mapping[str, Any]
    phase: str
    latched: bool
    guards: Sequence[Mapping[str, Any]]
    unchecked: Sequence[str]
    carried: Mapping[str, Any]
    mode: Mode | None
    generation: int | None
    measured_until: datetime | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    next_look_at: datetime | None
    epoch: int

    @property
    def label(self) -> str:
        """``support@v8``."""
        return f"{self.adapter}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryProgress:
    """The fields of a row that a step of the machine changes.

    ``ended`` closes the canary; ``next_look_at`` is None once nobody needs to be told any more.
    """

    state: Mapping[str, Any]
    phase: str
    latched: bool
    ended: bool
    carried: Mapping[str, Any]
    generation: int | None
    measured_until: datetime | None
    next_look_at: datetime | None


def add(
    tx: Connection,
    version: Version,
    *,
    control: Version,
    plan: Mapping[str, object],
    state: Mapping[str, object],
    guards: Sequence[Mapping[str, object]],
    unchecked: Sequence[str],
    mode: Mode | None,
    by: str,
    now: datetime,
) -> CanaryRow:
    """Create a canary.

    Raises
    ------
    OneAtATime
        The adapter has another canary that has not ended.
    """
    hold(tx, version.adapter_id)
    standing = active(tx, version.adapter_id)
    if standing is not None:
        raise OneAtATime(version.adapter, standing.id)
    statement = (
        canaries.insert()
        .values(
            adapter_id=version.adapter_id,
            version_id=version.id,
            control_id=control.id,
            plan=dict(plan),
            state=dict(state),
            phase=state["phase"],
            guards=[dict(guard) for guard in guards],
            unchecked=list(unchecked),
            mode=mode,
            created_by=by,
            created_at=now,
            updated_at=now,
            next_look_at=now,
        )
        .returning(canaries.c.id)
    )
    made = CanaryId(tx.execute(statement).scalar_one())
    wakeups.notify(tx, wakeups.CANARIES)
    return fetch(tx, made)


def fetch(tx: Connection, canary_id: CanaryId, *, lock: bool = False) -> CanaryRow:
    """Return a canary that must exist; raises ``NotFound``."""
    query = _select().where(canaries.c.id == canary_id)
    if lock:
        query = query.with_for_update(of=canaries)
    row = tx.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no canary {canary_id}")
    return _row(row)


def active(tx: Connection, adapter_id: AdapterId) -> CanaryRow | None:
    """Return the adapter's canary that has not ended, if any."""
    query = _select().where(canaries.c.adapter_id == adapter_id, canaries.c.ended_at.is_(None))
    row = tx.execute(query).mappings().one_or_none()
    return _row(row) if row else None


def canary_list(
    tx: Connection,
    *,
    adapter_id: AdapterId | None = None,
    active_only: bool = False,
    before_id: int | None = None,
    limit: int = 100,
) -> list[CanaryRow]:
    """List canaries, newest first; ``before_id`` ended the previous page."""
    query = _select().order_by(canaries.c.id.desc()).limit(limit)
    if adapter_id is not None:
        query = query.where(canaries.c.adapter_id == adapter_id)
    if active_only:
        query = query.where(canaries.c.ended_at.is_(None))
    if before_id is not None:
        query = query.where(canaries.c.id < before_id)
    return [_row(row) for row in tx.execute(query).mappings()]


def latched(tx: Connection, adapter_id: AdapterId) -> dict[str, CanaryId]:
    """Return rolled-back versions that nobody has released, with their canaries."""
    query = (
        sa.select(versions.c.name, canaries.c.id)
        .join(versions, versions.c.id == canaries.c.version_id)
        .where(canaries.c.adapter_id == adapter_id, canaries.c.latched)
        .order_by(canaries.c.id)
    )
    return {name: CanaryId(canary_id) for name, canary_id in tx.execute(query)}


_CLAIM: Final = sa.text(
    """
    UPDATE canaries SET lease_until = now() + :lease, lease_owner = :owner, epoch = epoch + 1
    WHERE id IN (
        SELECT id FROM canaries
        WHERE next_look_at <= coalesce(:now, now())
          AND (lease_until IS NULL OR lease_until < now())
          AND phase = ANY(:phases)
        ORDER BY next_look_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, coalesce(:now, now()) AS at
    """
).bindparams(sa.bindparam("now", type_=sa.DateTime(timezone=True)))


def claim(
    tx: Connection,
    *,
    owner: str,
    lease: timedelta,
    phases: Collection[str],
    now: datetime | None = None,
) -> tuple[CanaryRow, datetime] | None:
    """Claim the canary in these phases that has been due longest, with the time of the look.

    The database's clock says what is due, unless a test sets ``now``.
    """
    wanted = {"owner": owner, "lease": lease, "phases": list(phases), "now": now}
    taken = tx.execute(_CLAIM, wanted).one_or_none()
    return None if taken is None else (fetch(tx, CanaryId(taken.id)), taken.at)


def next_due(tx: Connection, *, phases: Collection[str]) -> timedelta | None:
    """Return the time until a canary in these phases can be claimed; None where none waits."""
    c = canaries.c
    claimable = sa.func.greatest(c.next_look_at, c.lease_until)
    return wakeups.first(tx, claimable, c.next_look_at.is_not(None), c.phase.in_(list(phases)))


def unread(tx: Connection) -> list[CanaryRow]:
    """List active canaries whose route has not been read back from the router yet."""
    state = canaries.c.state
    owed = [state[name].astext.is_not(None) for name in ("unread_since", "unverified")]
    under_way = canaries.c.phase.in_(("promoting", "rolling_back"))
    query = _select().where(canaries.c.ended_at.is_(None), sa.or_(under_way, *owed))
    return [_row(row) for row in tx.execute(query.order_by(canaries.c.id)).mappings()]


def held(tx: Connection, canary: CanaryRow) -> CanaryRow | None:
    """Lock a canary if it is as it was when it was read; None where somebody was faster."""
    query = _select().where(canaries.c.id == canary.id, canaries.c.epoch == canary.epoch)
    row = tx.execute(query.with_for_update(of=canaries)).mappings().one_or_none()
    return _row(row) if row else None


def release(tx: Connection, canary: CanaryRow, *, next_look_at: datetime | None) -> None:
    """Release a claimed canary unchanged."""
    tx.execute(
        canaries.update()
        .where(canaries.c.id == canary.id, canaries.c.epoch == canary.epoch)
        .values(lease_until=None, next_look_at=next_look_at)
    )
    wakeups.notify(tx, wakeups.CANARIES)


def save(tx: Connection, canary: CanaryRow, progress: CanaryProgress, *, now: datetime) -> None:
    """Write a step's changes; others who looked at the row meanwhile find another epoch.

    The caller holds the row (:func:`fetch` with ``lock``, or :func:`held`).
    """
    tx.execute(
        canaries.update()
        .where(canaries.c.id == canary.id)
        .values(
            ended_at=now if progress.ended else None,
            updated_at=now,
            lease_until=None,
            epoch=canaries.c.epoch + 1,
            **stored(
                canaries, progress, state=dict(progress.state), carried=dict(progress.carried)
            ),
        )
    )
    wakeups.notify(tx, wakeups.CANARIES)


def registered_since(tx: Connection, canary: CanaryRow) -> list[str]:
    """List the adapter's versions registered since an active canary began, oldest first."""
    if canary.ended_at is not None:
        return []
    query = (
        sa.select(versions.c.name)
        .where(
            versions.c.adapter_id == canary.adapter_id,
            versions.c.id != canary.version_id,
            versions.c.registered_at > canary.created_at,
        )
        .order_by(versions.c.id)
    )
    return list(tx.execute(query).scalars())


def newer(tx: Connection, canary: CanaryRow) -> bool:
    """True if the adapter has had another canary since."""
    query = sa.select(canaries.c.id).where(
        canaries.c.adapter_id == canary.adapter_id, canaries.c.id > canary.id
    )
    return tx.execute(query.limit(1)).first() is not None


def look_again(tx: Connection, adapter_id: AdapterId, *, at: datetime) -> None:
    """Schedule another look at the adapter's latched canaries, so that people are told."""
    tx.execute(
        canaries.update()
        .where(canaries.c.adapter_id == adapter_id, canaries.c.latched)
        .values(next_look_at=at)
    )
    wakeups.notify(tx, wakeups.CANARIES)


_CONTROL: Final = versions.alias("control")


def _select() -> sa.Select[Any]:
    stored = (canaries.c[name] for name in CanaryRow.__slots__ if name in canaries.c)
    query = named(canaries, *stored, _CONTROL.c.name.label("control"))
    return query.join(_CONTROL, _CONTROL.c.id == canaries.c.control_id)


def _row(row: RowMapping) -> CanaryRow:
    return shaped(CanaryRow, row, mode=row["mode"] and Mode(row["mode"]))
