"""``/actions``, ``/kill-switch`` and breakers: what is done about traffic, and what would be."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from monitor.api import lookup, paging
from monitor.api.access import Operator, Reader
from monitor.api.bodies import KillSwitchRequest, Name
from monitor.api.lookup import Number
from monitor.api.moments import Bound
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.domain import ActionId
from monitor.store.errors import NotFound
from monitor.store.traffic import flags
from monitor.store.traffic.actions import ActionState
from monitor.traffic.fallback.breaker import ActionNotOpen
from monitor.traffic.trial.states import Phase
from monitor.views.action import ActionBody, ActionReportBody
from monitor.views.reading import breaker
from monitor.views.reading.action import action as action_view
from monitor.views.reading.action import report
from monitor.views.reading.moves import NEWEST, Before, Move, moves
from monitor.views.reading.route import kill_switch
from monitor.views.route import BreakerBody, KillSwitchBody
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1", tags=["routing"])


@router.get("/actions")
def get_actions(
    _key: Reader,
    parts: Parts,
    *,
    adapter: Annotated[Name | None, Query()] = None,
    state: Annotated[ActionState | Phase | None, Query()] = None,
    since: Annotated[Bound | None, Query(description="Not begun before.")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[ActionBody]:
    """List actions and what became of canaries, newest first."""
    before = _before(cursor)

    def read(tx: Connection) -> list[Move]:
        return moves(
            tx,
            adapter_id=lookup.adapter(tx, adapter).id if adapter else None,
            state=state,
            since=since,
            before=before,
            limit=limit + 1,
        )

    found = parts.database.run(read)
    return Page(
        items=[move for move, _ in found[:limit]],
        next=paging.encode(*before.after(found[:limit])) if len(found) > limit else None,
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
    return action_view(row)


@router.get("/kill-switch")
def get_kill_switch(_key: Reader, parts: Parts) -> KillSwitchBody:
    """Show whether automatic actions are stopped, and by whom."""
    return parts.database.run(lambda tx: kill_switch(tx, parts.kill_switch))


@router.put("/kill-switch")
def put_kill_switch(key: Operator, parts: Parts, body: KillSwitchRequest) -> KillSwitchBody:
    """Stop every automatic action, or let them go on."""

    def work(tx: Connection) -> KillSwitchBody:
        flags.set_kill_switch(tx, on=body.on, reason=body.reason, actor=key.name)
        return kill_switch(tx, parts.kill_switch)

    return parts.database.run(work)


def _before(cursor: str | None) -> Before:
    if cursor is None:
        return NEWEST
    action, entry = paging.decode(cursor, kinds=(int, int))
    return Before(action=int(action), entry=int(entry))


@router.get("/actions/report")
def get_report(
    _key: Reader,
    parts: Parts,
    adapter: Annotated[Name | None, Query()] = None,
    days: Annotated[int, Query(ge=1, le=365)] = 14,
) -> ActionReportBody:
    """Show what Driftline would have done by itself in the last days, and what came of it."""
    now = parts.clock()

    def read(tx: Connection) -> ActionReportBody:
        of = lookup.adapter(tx, adapter) if adapter else None
        return report(tx, of, settings=parts.approver.settings, days=days, now=now)

    return parts.database.run(read)


@router.get("/adapters/{adapter}/breaker")
def get_breaker(_key: Reader, parts: Parts, adapter: AdapterName) -> BreakerBody:
    """Say where an adapter's breaker stands and what it waits for."""

    def read(tx: Connection) -> BreakerBody | None:
        lookup.adapter(tx, adapter)
        own, now = parts.approver, parts.clock()
        return breaker.read(tx, adapter, settings=own.settings, default_mode=own.mode, now=now)

    found = parts.database.run(read)
    if found is None:
        raise Problem(404, f"Adapter {adapter} has no route.", kind="unknown-route")
    return found
