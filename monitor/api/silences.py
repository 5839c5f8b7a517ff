"""``/silences``: messages held back for a while, by a person and for a reason."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from alerts.silences import Silence, SilenceRefused
from monitor.api import paging
from monitor.api.access import CheckedOperator, Operator, Reader
from monitor.api.bodies import SilenceRequest
from monitor.api.lookup import Number
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import Parts
from monitor.api.problems import Problem
from monitor.outbox.silencing import expire, silence
from monitor.store.incidents import silences
from monitor.views.message import SilenceBody
from monitor.views.reading.message import silence as silence_view
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1/silences", tags=["incidents"])


@router.get("")
def get_silences(
    _key: Reader,
    parts: Parts,
    *,
    over: Annotated[bool, Query(description="Those that have ended, too.")] = False,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[SilenceBody]:
    """List silences that hold now or later, newest first."""
    before, now = paging.before_id(cursor), parts.clock()
    rows = parts.database.run(
        lambda tx: silences.every(
            tx, not_over_at=None if over else now, before_id=before, limit=limit + 1
        )
    )
    return paging.page(rows, limit, lambda row: silence_view(row, now), place=lambda row: (row.id,))


@router.post("", status_code=201)
def post_silence(key: CheckedOperator, parts: Parts, body: SilenceRequest) -> SilenceBody:
    """Hold messages back; what matches opens and ends as ever, and is told when it is over."""
    now = parts.clock()
    starts_at = body.starts_at or now

    def work(tx: Connection) -> SilenceBody:
        made = silence(
            tx,
            body.match,
            starts_at=starts_at,
            ends_at=_end(body, starts_at),
            author=key.name,
            comment=body.comment,
            now=now,
            of=key.match,
        )
        return silence_view(made, now)

    return parts.database.run(work)


@router.get("/{silence}")
def get_silence(_key: Reader, parts: Parts, silence: Number) -> SilenceBody:
    """Show one silence."""
    return parts.database.run(lambda tx: silence_view(_found(tx, silence), parts.clock()))


@router.delete("/{silence}")
def delete_silence(key: Operator, parts: Parts, silence: Number) -> SilenceBody:
    """End a silence now; what it held back and is still open is told. It stays on record."""
    now = parts.clock()

    def work(tx: Connection) -> SilenceBody:
        found = _found(tx, silence)
        if not expire(tx, found.id, actor=key.name, now=now):
            raise Problem(409, f"Silence {silence} is over already.", kind="silence-over")
        return silence_view(_found(tx, silence), now)

    return parts.database.run(work)


def _end(body: SilenceRequest, starts_at: datetime) -> datetime:
    if body.ends_at is not None:
        return body.ends_at
    try:
        return starts_at + timedelta(hours=body.hours or 0.0)
    except OverflowError:
        raise SilenceRefused("a silence ends before the year 10000") from None


def _found(tx: Connection, silence: int) -> Silence:
    found = silences.fetch(tx, silence)
    if found is None:
        raise Problem(404, f"There is no silence {silence}.", kind="unknown-silence")
    return found
