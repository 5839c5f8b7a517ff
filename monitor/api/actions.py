"""``/actions`` and ``/kill-switch``: what Driftline did or would do, and stopping it all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from sqlalchemy import Connection

from monitor.api import lookup, paging
from monitor.api.access import Operator, Reader
from monitor.api.bodies import KillSwitchRequest, Name
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import ApiParts, Parts
from monitor.api.problems import Problem
from monitor.api.shapes import Answer, Page
from monitor.domain import ActionId
from monitor.routing.fallback import ActionNotOpen
from monitor.store import actions, flags
from monitor.store.actions import ActionKind, ActionRow, ActionState
from monitor.store.errors import NotFound

router: Final = APIRouter(tags=["routing"])

Number = Annotated[int, Path(ge=1, lt=2**63)]


class ActionBody(Answer):
    """One move of traffic that was made, recommended, refused or waits for a person."""

    action: int
    adapter: str
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


class KillSwitchBody(Answer):
    """Whether automatic actions are stopped, by the flag here or by file or environment."""

    on: bool
    reason: str
    actor: str | None
    at: datetime | None
    effective: bool
    effective_reason: str


@router.get("/actions")
def get_actions(
    _key: Reader,
    parts: Parts,
    adapter: Annotated[Name | None, Query()] = None,
    state: Annotated[ActionState | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[ActionBody]:
    """List actions, newest first."""
    before = paging.before_id(cursor)

    def read(tx: Connection) -> list[ActionRow]:
        return actions.action_list(
            tx,
            adapter_id=lookup.adapter(tx, adapter).id if adapter else None,
            state=state,
            before_id=before,
            limit=limit + 1,
        )

    rows = parts.database.run(read)
    return Page(
        items=[action_body(row) for row in rows[:limit]],
        next=paging.encode(rows[limit - 1].id) if len(rows) > limit else None,
    )


@router.post("/actions/{action}/approve")
def approve(key: Operator, parts: Parts, action: Number) -> ActionBody:
    """Carry out an action that waits for a person; its conditions are checked again first."""
    try:
        row = parts.approver.approve(ActionId(action), actor=key.name, now=parts.clock())
    except NotFound as error:
        raise Problem(404, f"There is no action {action}.", kind="unknown-action") from error
    except ActionNotOpen as error:
        raise Problem(
            409, f"Action {action} is not open any more: {error}.", kind="action-not-open"
        ) from error
    return action_body(row)


@router.get("/kill-switch")
def get_kill_switch(_key: Reader, parts: Parts) -> KillSwitchBody:
    """Say whether automatic actions are stopped, and by whom."""
    return parts.database.run(lambda tx: _kill_switch(tx, parts))


@router.put("/kill-switch")
def put_kill_switch(key: Operator, parts: Parts, body: KillSwitchRequest) -> KillSwitchBody:
    """Stop every automatic action, or let them go on."""

    def work(tx: Connection) -> KillSwitchBody:
        flags.set_kill_switch(tx, on=body.on, reason=body.reason, actor=key.name)
        return _kill_switch(tx, parts)

    return parts.database.run(work)


def _kill_switch(tx: Connection, parts: ApiParts) -> KillSwitchBody:
    flag = flags.kill_switch(tx)
    reading = parts.kill_switch.read(tx)
    return KillSwitchBody(
        on=flag is not None and flag.on,
        reason=flag.reason if flag else "never set",
        actor=flag.actor if flag else None,
        at=flag.at if flag else None,
        effective=reading.on,
        effective_reason=reading.reason,
    )


def action_body(row: ActionRow) -> ActionBody:
    """Write an action."""
    fields = {name: getattr(row, name) for name in ActionBody.model_fields if name != "action"}
    return ActionBody(action=row.id, **fields)
