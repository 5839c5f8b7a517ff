"""``/canaries/{canary}/pairs``: the answers of a shadow and of the version in charge."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from monitor.api import lookup, paging
from monitor.api.access import Reader
from monitor.api.bodies import Name
from monitor.api.lookup import Number
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import Parts
from monitor.store.traffic.shadow_answers import CopyPosition, answered_twice
from monitor.views.canary import PairBody
from monitor.views.reading.canary import pair
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/canaries", tags=["canaries"])


@router.get("/{canary}/pairs")
def get_pairs(
    _key: Reader,
    parts: Parts,
    canary: Number,
    *,
    without: Annotated[
        Name | None,
        Query(description="Only pairs that lack feedback of this name, on either side."),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[PairBody]:
    """List prompts that a shadow answered too, the oldest first, for a judge of the answers.

    `limit` counts those that `without` leaves out: a page may be short, or empty, and still
    have a next one.
    """
    after = None if cursor is None else _place(cursor)

    def read(tx: Connection) -> Page[PairBody]:
        row = lookup.canary(tx, canary)
        found, last = answered_twice(tx, row, without=without, after=after, limit=limit)
        return Page(
            items=[pair(one, row) for one in found],
            next=None if last is None else paging.encode(last.at.isoformat(), last.id),
        )

    return parts.database.run(read)


def _place(cursor: str) -> CopyPosition:
    at, name = paging.decode(cursor, kinds=(str, str))
    return CopyPosition(at=paging.moment(at), id=str(name))
