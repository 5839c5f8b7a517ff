"""Store actions on traffic: taken, recommended or blocked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import distinct_on

from monitor.domain import ActionId, AdapterId, Version, VersionId
from monitor.store.errors import NotFound
from monitor.store.rows import named, shaped
from monitor.store.tables.registry import versions
from monitor.store.tables.traffic import actions, routes


class ActionKind(StrEnum):
    """A kind of action on an adapter's traffic."""

    FALLBACK = "fallback"
    TRIAL = "trial"
    END_TRIAL = "end_trial"
    RETURN = "return"


AWAY: Final = frozenset({ActionKind.FALLBACK, ActionKind.END_TRIAL})
"""Actions that take traffic from the version."""


class ActionState(StrEnum):
    """The state of an action.

    ``executing`` counts in the budgets but has not changed the route yet; ``applied`` has changed
    the route but is not read back yet.
    """

    RECOMMENDED = "recommended"
    AWAITING_APPROVAL = "awaiting_approval"
    EXECUTING = "executing"
    APPLIED = "applied"
    VERIFIED = "verified"
    VERIFY_FAILED = "verify_failed"
    BLOCKED = "blocked"
    EXPIRED = "expired"


OPEN: Final = frozenset({ActionState.RECOMMENDED, ActionState.AWAITING_APPROVAL})
"""A person may approve these."""
TAKEN: Final = frozenset(
    {
        ActionState.EXECUTING,
        ActionState.APPLIED,
        ActionState.VERIFIED,
        ActionState.VERIFY_FAILED,
    }
)
"""Actions in these states count against the budgets."""
WORSE: Final = "worse"
"""The evidence key of a verified action whose target fired afterwards."""
AUTOMATIC: Final = "driftline"
"""The actor of actions that no person asked for."""


def author_of(action: ActionId) -> str:
    """Name an action as the author of the route that it wrote."""
    return f"{AUTOMATIC}:action-{action}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRow:
    """An action with the evidence for it."""

    id: ActionId
    adapter_id: AdapterId
    adapter: str
    version_id: VersionId
    version: str
    kind: ActionKind
    state: ActionState
    reason: str
    evidence: Mapping[str, Any]
    expected_generation: int | None
    target: Mapping[str, Any] | None
    actor: str
    created_at: datetime
    decided_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """A move of traffic away from a version; ``on_trial`` if it had only a trial's share."""

    at: datetime
    on_trial: bool = False


def add(
    tx: Connection,
    version: Version,
    *,
    kind: ActionKind,
    state: ActionState,
    reason: str,
    evidence: Mapping[str, object],
    expected_generation: int | None,
    target: Mapping[str, object] | None,
    actor: str,
    now: datetime,
) -> ActionRow:
    """Append an action."""
    statement = (
        actions.insert()
        .values(
            adapter_id=version.adapter_id,
            version_id=version.id,
            kind=kind,
            state=state,
            reason=reason,
            evidence=dict(evidence),
            expected_generation=expected_generation,
            target=None if target is None else dict(target),
            actor=actor,
            created_at=now,
            decided_at=now,
        )
        .returning(actions.c.id)
    )
    return fetch(tx, ActionId(tx.execute(statement).scalar_one()))


def change(tx: Connection, action_id: ActionId, **values: object) -> ActionRow:
    """Change an action's columns."""
    tx.execute(actions.update().where(actions.c.id == action_id).values(**values))
    return fetch(tx, action_id)


def fetch(tx: Connection, action_id: ActionId, *, lock: bool = False) -> ActionRow:
    """Return an action that must exist; raises ``NotFound``."""
    query = _SELECT.where(actions.c.id == action_id)
    row = tx.execute(query.with_for_update(of=actions) if lock else query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no action {action_id}")
    return _action(row)


def newest(tx: Connection, version: Version) -> ActionRow | None:
    """Return the version's latest action, of whatever kind."""
    own = (actions.c.adapter_id == version.adapter_id, actions.c.version_id == version.id)
    return next(iter(_read(tx, _SELECT.where(*own).order_by(actions.c.id.desc()).limit(1))), None)


def newest_taken(tx: Connection, adapter_id: AdapterId) -> ActionRow | None:
    """Return the latest action that moved the adapter's traffic, or is about to."""
    return newest_taken_of(tx, [adapter_id]).get(adapter_id)


def newest_taken_of(
    tx: Connection, adapter_ids: Collection[AdapterId]
) -> dict[AdapterId, ActionRow]:
    """Return the latest such action of those of some adapters that have one."""
    wanted = sa.any_(sa.cast(list(adapter_ids), sa.ARRAY(sa.Integer)))
    query = (
        _SELECT.ext(distinct_on(actions.c.adapter_id))
        .where(actions.c.adapter_id == wanted, actions.c.state.in_(TAKEN))
        .order_by(actions.c.adapter_id, actions.c.id.desc())
    )
    return {row.adapter_id: row for row in _read(tx, query)}


def action_list(
    tx: Connection,
    *,
    adapter_id: AdapterId | None = None,
    state: ActionState | None = None,
    since: datetime | None = None,
    before_id: int | None = None,
    limit: int = 100,
) -> list[ActionRow]:
    """List actions created since a time, newest first; ``before_id`` ended the previous page."""
    query = _SELECT.order_by(actions.c.id.desc()).limit(limit)
    if adapter_id is not None:
        query = query.where(actions.c.adapter_id == adapter_id)
    if state is not None:
        query = query.where(actions.c.state == state)
    if since is not None:
        query = query.where(actions.c.created_at >= since)
    if before_id is not None:
        query = query.where(actions.c.id < before_id)
    return _read(tx, query)


def between(
    tx: Connection,
    *,
    since: datetime,
    until: datetime,
    adapter_id: AdapterId | None = None,
    limit: int,
) -> list[ActionRow]:
    """List actions created in ``[since, until)``, oldest first."""
    query = _SELECT.where(actions.c.created_at >= since, actions.c.created_at < until)
    if adapter_id is not None:
        query = query.where(actions.c.adapter_id == adapter_id)
    query = query.order_by(actions.c.created_at, actions.c.id).limit(limit)
    return _read(tx, query)


def interrupted(tx: Connection, *, before: datetime) -> list[ActionRow]:
    """Actions that somebody began before ``before`` without changing the route."""
    query = _SELECT.where(actions.c.state == ActionState.EXECUTING, actions.c.decided_at <= before)
    return _read(tx, query.order_by(actions.c.id))


def unread(tx: Connection, *, before: datetime, begun: Collection[ActionId]) -> list[ActionRow]:
    """Actions that the router was not seen to do.

    Those that were applied before ``before`` or are among ``begun``, and those that failed their
    read-back while their route is in force.
    """
    applied = sa.and_(
        actions.c.state == ActionState.APPLIED,
        sa.or_(actions.c.decided_at <= before, actions.c.id.in_(begun)),
    )
    failed = sa.and_(
        actions.c.state == ActionState.VERIFY_FAILED,
        ~actions.c.evidence.has_key(WORSE),
        routes.c.generation == actions.c.expected_generation + 1,
    )
    query = _SELECT.outerjoin(routes, routes.c.adapter_id == actions.c.adapter_id)
    query = query.where(_LEFT, sa.or_(applied, failed)).order_by(actions.c.id)
    return _read(tx, query)


def moved_since(tx: Connection, *, since: datetime) -> list[ActionRow]:
    """Lock and list verified actions since a time that took traffic away, oldest first."""
    query = _SELECT.where(
        actions.c.kind.in_(AWAY),
        actions.c.state == ActionState.VERIFIED,
        actions.c.decided_at > since,
    )
    query = query.order_by(actions.c.id).with_for_update(of=actions)
    return _read(tx, query)


def waiting(tx: Connection) -> list[ActionRow]:
    """Lock and list the actions that await approval."""
    query = _SELECT.where(actions.c.state.in_(OPEN)).order_by(actions.c.id)
    query = query.with_for_update(of=actions)
    return _read(tx, query)


def taken_since(
    tx: Connection, *, since: datetime, adapter_id: AdapterId | None = None
) -> list[datetime]:
    """List the times of automatic moves away, newest first; for one adapter or all."""
    query = (
        sa.select(actions.c.decided_at)
        .where(
            actions.c.kind.in_(AWAY),
            actions.c.actor == AUTOMATIC,
            actions.c.state.in_(TAKEN),
            actions.c.decided_at > since,
        )
        .order_by(actions.c.decided_at.desc())
    )
    if adapter_id is not None:
        query = query.where(actions.c.adapter_id == adapter_id)
    return list(tx.execute(query).scalars())


def moved_away(tx: Connection, version: Version, *, limit: int = 100) -> list[Away]:
    """List the moves of traffic away from the version, newest first, by anybody."""
    query = (
        sa.select(actions.c.decided_at, actions.c.kind)
        .where(
            actions.c.adapter_id == version.adapter_id,
            actions.c.version_id == version.id,
            actions.c.kind.in_(AWAY),
            actions.c.state.in_(TAKEN),
        )
        .order_by(actions.c.decided_at.desc())
        .limit(limit)
    )
    return [
        Away(at=at, on_trial=kind == ActionKind.END_TRIAL.value) for at, kind in tx.execute(query)
    ]


def trial_began(tx: Connection, version: Version, *, after: datetime) -> datetime | None:
    """Return when the version's first trial after a time began; None if none did."""
    query = sa.select(sa.func.min(actions.c.decided_at)).where(
        actions.c.adapter_id == version.adapter_id,
        actions.c.version_id == version.id,
        actions.c.kind == ActionKind.TRIAL,
        actions.c.state.in_(TAKEN),
        actions.c.decided_at > after,
    )
    began: datetime | None = tx.execute(query).scalar_one()
    return began


def abandoned_versions(tx: Connection, adapter_id: AdapterId) -> frozenset[str]:
    """Name the versions whose traffic was moved away and not back since."""
    later = actions.alias("later")
    superseded = sa.exists().where(
        later.c.version_id == actions.c.version_id,
        later.c.state.in_(TAKEN),
        later.c.id > actions.c.id,
    )
    query = (
        sa.select(versions.c.name)
        .join(actions, actions.c.version_id == versions.c.id)
        .where(
            actions.c.adapter_id == adapter_id,
            actions.c.state.in_(TAKEN),
            actions.c.kind != ActionKind.RETURN,
            ~superseded,
        )
    )
    return frozenset(tx.execute(query).scalars())


# literals: of bound values the planner would not know that the index has them
_LEFT: Final[sa.ColumnElement[bool]] = sa.literal_column(
    "actions.state IN ('executing', 'applied', 'verify_failed')"
)
_SELECT: Final = named(actions)


def _read(tx: Connection, query: sa.Select[Any]) -> list[ActionRow]:
    return [_action(row) for row in tx.execute(query).mappings()]


def _action(row: RowMapping) -> ActionRow:
    kind, state = ActionKind(row["kind"]), ActionState(row["state"])
    return shaped(ActionRow, row, kind=kind, state=state)
