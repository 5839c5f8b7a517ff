"""Store declared changes: what people say they changed, where and when.

A change is open until it has ended; an instantaneous one ends when it begins. It concerns the
adapters that it names, or the whole fleet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from monitor.domain import ChangeId, ChangeKind, Interval
from monitor.store.rows import shaped, stored
from monitor.store.tables.registry import adapters, changes, versions

UNDER_THE_MODEL: Final = frozenset({ChangeKind.ENGINE, ChangeKind.BASE})
"""Kinds that change the perplexity of every adapter on the engine or base."""
FORGOTTEN_AFTER: Final = timedelta(hours=24)
"""An open change older than this was forgotten: it no longer holds anything up."""
MOST_LISTED: Final = 20
"""More changes than this beside one incident explain nothing."""
GIVEN_ID: Final = "id"
"""The detail that holds the sender's own id of a change."""

_DECLARING: Final = 0x6368616E  # "chan": the advisory lock of those who give an id


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A change as somebody declares it; ``ended_at`` is None while it goes on.

    adapters
        Names; None means the whole fleet.
    given_id
        The sender's own id, so that declaring it twice stores it once.
    """

    kind: ChangeKind
    title: str
    adapters: tuple[str, ...] | None
    begun_at: datetime
    ended_at: datetime | None
    author: str
    details: Mapping[str, str | float] = field(default_factory=dict)
    given_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChange:
    """A stored change."""

    id: ChangeId
    kind: ChangeKind
    title: str
    adapters: tuple[str, ...] | None
    begun_at: datetime
    ended_at: datetime | None
    author: str
    details: Mapping[str, str | float]
    created_at: datetime


def add(tx: Connection, declared: Declaration) -> StoredChange:
    """Store a change."""
    details = dict(declared.details)
    if declared.given_id is not None:
        details[GIVEN_ID] = declared.given_id
    names = None if declared.adapters is None else list(declared.adapters)
    row = stored(changes, declared, adapters=names, details=details)
    return _change(tx.execute(changes.insert().values(row).returning(changes)).mappings().one())


def claim_id(tx: Connection, given_id: str) -> StoredChange | None:
    """Return the change declared under this id; if None, the caller adds it.

    Senders that give an id wait for each other until the caller's transaction ends, so two of them
    cannot both find nothing.
    """
    tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_DECLARING)))
    query = sa.select(changes).where(changes.c.details[GIVEN_ID].astext == given_id)
    row = tx.execute(query.order_by(changes.c.id).limit(1)).mappings().one_or_none()
    return _change(row) if row else None


def fetch(tx: Connection, change_id: ChangeId, *, lock: bool = False) -> StoredChange | None:
    """Return one change; ``lock`` makes a concurrent end wait."""
    query = sa.select(changes).where(changes.c.id == change_id)
    row = tx.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return _change(row) if row else None


def end(tx: Connection, change_id: ChangeId, *, at: datetime) -> StoredChange:
    """Store when a change ended."""
    statement = (
        changes.update().where(changes.c.id == change_id).values(ended_at=at).returning(changes)
    )
    return _change(tx.execute(statement).mappings().one())


def change_list(
    tx: Connection,
    *,
    adapter: str | None = None,
    base: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    open_only: bool = False,
    before: tuple[datetime, int] | None = None,
    limit: int = 100,
) -> list[StoredChange]:
    """List changes that overlap ``[since, until]``, the latest beginning first.

    ``adapter`` selects those that concern it, including the fleet's; ``base`` those that concern
    any adapter on a base model. ``before`` is ``(begun_at, id)`` of the previous page's last
    change.
    """
    place = sa.tuple_(changes.c.begun_at, changes.c.id)
    query = sa.select(changes).order_by(changes.c.begun_at.desc(), changes.c.id.desc())
    if adapter is not None:
        query = query.where(_concerns(adapter))
    if base is not None:
        query = query.where(_concerns_base(base))
    if since is not None:
        query = query.where(changes.c.ended_at.is_(None) | (changes.c.ended_at >= since))
    if until is not None:
        query = query.where(changes.c.begun_at <= until)
    if open_only:
        query = query.where(changes.c.ended_at.is_(None))
    if before is not None:
        query = query.where(place < sa.tuple_(*map(sa.literal, before)))
    return [_change(row) for row in tx.execute(query.limit(limit)).mappings()]


def overlapping(
    tx: Connection,
    adapter: str | None,
    *,
    base: str | None = None,
    interval: Interval,
    margin: timedelta,
) -> list[StoredChange]:
    """List changes of an adapter, or of those on a base, near an interval, earliest first.

    Changes of the whole fleet are included. ``margin`` widens the interval on both sides. If there
    are too many, the latest are returned.
    """
    found = change_list(
        tx,
        adapter=adapter,
        base=base,
        since=interval.start - margin,
        until=interval.end + margin,
        limit=MOST_LISTED,
    )
    return found[::-1]


def open_change(tx: Connection, adapter: str, *, at: datetime | None) -> StoredChange | None:
    """Return the open change of engine or base that concerns an adapter, if any.

    ``at`` None means now, by the database's clock. Probes wait for such a change to end: otherwise
    the old engine might read half of their documents and the new one the other half. A change left
    open for a day holds nothing up.
    """
    moment = sa.func.clock_timestamp() if at is None else sa.literal(at)
    query = (
        sa.select(changes)
        .where(
            changes.c.ended_at.is_(None),
            changes.c.kind.in_([kind.value for kind in UNDER_THE_MODEL]),
            changes.c.begun_at <= moment,
            changes.c.begun_at > moment - FORGOTTEN_AFTER,
            _concerns(adapter),
        )
        .order_by(changes.c.begun_at.desc(), changes.c.id.desc())
        .limit(1)
    )
    row = tx.execute(query).mappings().one_or_none()
    return _change(row) if row else None


def _concerns(adapter: str) -> sa.ColumnElement[bool]:
    return changes.c.adapters.is_(None) | (sa.literal(adapter) == sa.any_(changes.c.adapters))


def _concerns_base(base: str) -> sa.ColumnElement[bool]:
    on_it = sa.exists().where(
        versions.c.adapter_id == adapters.c.id,
        sa.func.coalesce(versions.c.base_model, "") == base,
        adapters.c.name == sa.any_(changes.c.adapters),
    )
    return changes.c.adapters.is_(None) | on_it


def _change(row: RowMapping) -> StoredChange:
    names = None if row["adapters"] is None else tuple(row["adapters"])
    return shaped(StoredChange, row, kind=ChangeKind(row["kind"]), adapters=names)
