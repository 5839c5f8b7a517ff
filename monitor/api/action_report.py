"""``/actions/report``: what Driftline would have done by itself, and what happened instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from monitor.api import lookup
from monitor.api.access import Reader
from monitor.api.bodies import Name
from monitor.api.parts import Parts
from monitor.api.shapes import Answer
from monitor.store.actions import ActionState
from monitor.traffic.fallback.report import Report, WouldHave

router: Final = APIRouter(prefix="/actions", tags=["routing"])

MOST_NAMED: Final = 10
"""Moments that the summary names."""
Days = Annotated[int, Query(ge=1, le=365)]


class WouldHaveBody(Answer):
    """A fallback that only the mode kept Driftline from."""

    action: int
    adapter: str
    version: str
    at: datetime
    target: str | None
    reason: str
    state: ActionState
    kept_by: str | None = Field(
        description="The budget that would have stopped it in `auto` too; null: none."
    )
    after: Sequence[str] = Field(description="What happened instead.")


class ActionReportBody(Answer):
    """Fallbacks of a period: those it would have done, those it did, and what stopped others."""

    since: datetime
    until: datetime
    adapter: str | None
    would_have_acted: int
    taken: int = Field(description="Done by Driftline itself.")
    blocked: Mapping[str, int] = Field(description="Refused, by gate.")
    complete: bool = Field(description="false: there were more actions than are read.")
    items: Sequence[WouldHaveBody] = Field(description="Oldest first.")
    summary: str


@router.get("/report")
def get_report(
    _key: Reader,
    parts: Parts,
    adapter: Annotated[Name | None, Query()] = None,
    days: Days = 14,
) -> ActionReportBody:
    """Say what Driftline would have done by itself in the last days, and what came of it."""
    until = parts.clock()
    since = until - timedelta(days=days)

    def read(tx: Connection) -> Report:
        adapter_id = lookup.adapter(tx, adapter).id if adapter else None
        return parts.approver.report(tx, since=since, until=until, adapter_id=adapter_id)

    return _body(parts.database.run(read), adapter=adapter, days=days)


def _body(found: Report, *, adapter: str | None, days: int) -> ActionReportBody:
    return ActionReportBody(
        since=found.since,
        until=found.until,
        adapter=adapter,
        would_have_acted=len(found.acted),
        taken=found.taken,
        blocked=found.blocked,
        complete=found.complete,
        items=[_item(one) for one in found.would_have],
        summary=summary_of(found, days=days),
    )


def summary_of(found: Report, *, days: int) -> str:
    """Say in a sentence how often it would have acted."""
    acted = found.acted
    if not acted:
        return f"would not have acted in {days} days"
    times = "once" if len(acted) == 1 else f"{len(acted)} times"
    named = ", ".join(f"{one.action.created_at:%d %b %H:%M}" for one in acted[:MOST_NAMED])
    more = " and later" if len(acted) > MOST_NAMED else ""
    return f"would have acted {times} in {days} days, on {named}{more} (UTC)"


def _item(one: WouldHave) -> WouldHaveBody:
    action = one.action
    return WouldHaveBody(
        action=action.id,
        adapter=action.adapter,
        version=action.version,
        at=action.created_at,
        target=action.target and str(action.target.get("version")),
        reason=action.reason,
        state=action.state,
        kept_by=one.kept_by,
        after=one.after,
    )
