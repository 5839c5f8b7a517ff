"""``/audit``: who did what, as it was written down for good."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query

from monitor.api import paging
from monitor.api.access import Reader
from monitor.api.bodies import Line
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import Parts
from monitor.store import audit
from monitor.views.audit import EntryBody
from monitor.views.reading import people
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1/audit", tags=["changes"])

Subject = Annotated[
    Line | None,
    Query(description="Entries about this alone: `support`, `support@v7`, `incident 7`."),
]


@router.get("")
def get_audit(
    _key: Reader,
    parts: Parts,
    *,
    subject: Subject = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[EntryBody]:
    """List who did what, newest first; a team's key sees what was done to its adapters."""
    before = paging.before_id(cursor)
    rows = parts.database.run(
        lambda tx: audit.newest(tx, subject=subject, before=before, limit=limit + 1)
    )
    return paging.page(rows, limit, people.entry, place=lambda row: (row.id,))
