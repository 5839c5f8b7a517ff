"""``/actions/report``: the fallbacks that the mode prevented, and what happened instead."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from monitor.api import lookup
from monitor.api.access import Reader
from monitor.api.bodies import Name
from monitor.api.parts import Parts
from monitor.traffic.fallback.report import Report
from monitor.views.action import ActionReportBody
from monitor.views.reading.action import report

router: Final = APIRouter(prefix="/actions", tags=["routing"])

"""Moments that the summary names."""
Days = Annotated[int, Query(ge=1, le=365)]


@router.get("/report")
def get_report(
    _key: Reader,
    parts: Parts,
    adapter: Annotated[Name | None, Query()] = None,
    days: Days = 14,
) -> ActionReportBody:
    """Show what Driftline would have done by itself in the last days, and what came of it."""
    until = parts.clock()
    since = until - timedelta(days=days)

    def read(tx: Connection) -> Report:
        adapter_id = lookup.adapter(tx, adapter).id if adapter else None
        return parts.approver.report(tx, since=since, until=until, adapter_id=adapter_id)

    return report(parts.database.run(read), adapter=adapter, days=days)
