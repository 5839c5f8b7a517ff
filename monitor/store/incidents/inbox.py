"""Read the inbox of incidents: open, acknowledged or resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from alerts.types import Blame
from monitor.domain import VerdictSeverity
from monitor.store.incidents.incidents import SELECT, IncidentRow, from_row
from monitor.store.tables.incidents import incidents
from monitor.store.tables.registry import adapters, versions


class InboxState(StrEnum):
    """Whether an incident needs attention."""

    OPEN = "open"
    """Nobody acknowledged it, or the acknowledgement has expired."""
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class IncidentOrder(StrEnum):
    """The order of a list of incidents."""

    SEVERITY = "severity"
    """Pages before tickets, the newest of each first."""
    NEWEST = "newest"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFilter:
    """The criteria of a list; None matches any. ``base`` is a base model's name."""

    states: Sequence[InboxState] = tuple(InboxState)
    severity: VerdictSeverity | None = None
    blame: Blame | None = None
    adapter: str | None = None
    owner: str | None = None
    base: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """One page of incidents, and the number of incidents in each state.

    counts
        By state, of all incidents that match the filter's other fields.
    more
        True if there are incidents after these.
    """

    rows: Sequence[IncidentRow]
    counts: Mapping[InboxState, int]
    more: bool


_SEVERITIES: Final = (VerdictSeverity.PAGE, VerdictSeverity.TICKET, VerdictSeverity.NONE)
_RANK: Final = sa.case(
    {one.value: rank for rank, one in enumerate(_SEVERITIES)},
    value=incidents.c.severity,
    else_=len(_SEVERITIES),
)


def place(row: IncidentRow) -> tuple[int, int]:
    """Return an incident's sort key, for reading the page after it."""
    return _SEVERITIES.index(row.severity), row.id


def read_inbox(
    tx: Connection,
    wanted: IncidentFilter,
    *,
    now: datetime,
    order: IncidentOrder = IncidentOrder.SEVERITY,
    after: tuple[int, int] | None = None,
    limit: int = 50,
) -> Inbox:
    """Read a page of incidents; ``after`` is the :func:`place` of the last one seen."""
    query = SELECT.where(*_conditions(wanted, now=now)).limit(limit + 1)
    if order is IncidentOrder.SEVERITY:
        query = query.order_by(_RANK, incidents.c.id.desc())
    else:
        query = query.order_by(incidents.c.id.desc())
    if after is not None:
        query = query.where(_beyond(order, *after))
    rows = [from_row(row) for row in tx.execute(query).mappings()]
    return Inbox(rows=rows[:limit], counts=_counts(tx, wanted, now=now), more=len(rows) > limit)


def owners(tx: Connection) -> list[str]:
    """Return all owners of adapters."""
    named = sa.select(adapters.c.owner).where(adapters.c.owner.is_not(None)).distinct()
    return sorted(tx.execute(named).scalars())


def bases(tx: Connection) -> list[str]:
    """Return all base models that versions are registered on."""
    named = sa.select(versions.c.base_model).where(versions.c.base_model.is_not(None)).distinct()
    return sorted(tx.execute(named).scalars())


def _beyond(order: IncidentOrder, seen_rank: int, seen_id: int) -> ColumnElement[bool]:
    if order is IncidentOrder.NEWEST:
        return incidents.c.id < seen_id
    place_of = sa.tuple_(_RANK, -incidents.c.id)
    return place_of > sa.tuple_(sa.literal(seen_rank), sa.literal(-seen_id))


def _counts(tx: Connection, wanted: IncidentFilter, *, now: datetime) -> dict[InboxState, int]:
    """Count incidents in every state, shown or not."""
    of_any_state = replace(wanted, states=tuple(InboxState))
    counted: list[Any] = [
        sa.func.count().filter(_in_state(state, now=now)).label(state) for state in InboxState
    ]
    found = tx.execute(
        sa.select(*counted)
        .select_from(incidents)
        .outerjoin(adapters, adapters.c.id == incidents.c.adapter_id)
        .outerjoin(versions, versions.c.id == incidents.c.version_id)
        .where(*_conditions(of_any_state, now=now))
    ).one()
    return dict(zip(InboxState, found, strict=True))


def _in_state(state: InboxState, *, now: datetime) -> ColumnElement[bool]:
    is_over = incidents.c.closed_at.is_not(None)
    in_hand = sa.func.coalesce(incidents.c.acknowledged_until > now, sa.false())
    match state:
        case InboxState.RESOLVED:
            return is_over
        case InboxState.ACKNOWLEDGED:
            return ~is_over & in_hand
        case InboxState.OPEN:
            return ~is_over & ~in_hand


def _conditions(wanted: IncidentFilter, *, now: datetime) -> list[ColumnElement[bool]]:
    base = sa.func.coalesce(incidents.c.base_model, versions.c.base_model)
    equal: list[tuple[ColumnElement[Any], str | None]] = [
        (incidents.c.severity, wanted.severity),
        (incidents.c.blame, wanted.blame),
        (adapters.c.name, wanted.adapter),
        (adapters.c.owner, wanted.owner),
        (base, wanted.base),
    ]
    found: list[ColumnElement[bool]] = [
        column == value for column, value in equal if value is not None
    ]
    return [*found, sa.or_(*(_in_state(state, now=now) for state in wanted.states))]
