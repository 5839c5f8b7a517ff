"""``/adapters/{a}/evaluations``: run one now, and list earlier ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Response
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from monitor import schedule
from monitor.api import lookup, paging
from monitor.api.access import Operator, Reader
from monitor.api.answering import answered
from monitor.api.bodies import Name
from monitor.api.lookup import VersionQuery
from monitor.api.moments import Bound
from monitor.api.paging import Cursor, Limit
from monitor.api.parts import ApiParts, Parts
from monitor.api.paths import AdapterName
from monitor.domain import Version
from monitor.store.evaluation import evaluations
from monitor.views.reading.score import written
from monitor.views.score import AskedEvaluation, EvaluationBody
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1/adapters/{adapter}", tags=["evaluations"])

POLL_SECONDS: Final = 0.25


@router.post(
    "/evaluations",
    response_model=EvaluationBody,
    responses={202: {"model": AskedEvaluation, "description": "Asked for; not done yet."}},
)
async def post_evaluation(
    key: Operator,
    parts: Parts,
    adapter: AdapterName,
    *,
    version: VersionQuery = None,
    wait: Annotated[float, Query(ge=0.0, le=300.0, description="Seconds.")] = 0.0,
) -> Response:
    """Run an adapter's detectors now; the result comes if it is done within ``wait``.

    It answers 202 where the result takes longer.
    """
    # async: hundreds may wait here without occupying a thread each
    of = await run_in_threadpool(parts.database.run, lambda tx: lookup.shown(tx, adapter, version))
    asked_at = await run_in_threadpool(schedule.request_evaluation, parts.database, of, by=key.name)
    done = await _done(parts, of, asked_at, within=min(wait, parts.longest_wait.total_seconds()))
    if done is not None:
        return answered(done)
    location = _location(of, asked_at)
    body = AskedEvaluation(
        adapter=of.adapter, version=of.name, requested_at=asked_at, location=location
    )
    return answered(body, status=202, headers={"Location": location})


@router.get("/evaluations")
def get_evaluations(
    _key: Reader,
    parts: Parts,
    adapter: AdapterName,
    *,
    version: Annotated[Name | None, Query()] = None,
    since: Annotated[Bound | None, Query(description="Started at or after.")] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> Page[EvaluationBody]:
    """List evaluations with their scores, newest first."""
    before = paging.before_id(cursor)

    def read(tx: Connection) -> Sequence[EvaluationBody]:
        of = lookup.adapter(tx, adapter)
        rows = evaluations.evaluation_history(
            tx,
            adapter_id=of.id,
            version_id=lookup.version(tx, adapter, version).id if version else None,
            since=since,
            before_id=before,
            limit=limit + 1,
        )
        return written(tx, rows)

    found = parts.database.run(read)
    last = found[limit - 1].evaluation if len(found) > limit else None
    return Page(items=found[:limit], next=None if last is None else paging.encode(last))


async def _done(
    parts: ApiParts, of: Version, asked_at: datetime, *, within: float
) -> EvaluationBody | None:
    clock = asyncio.get_running_loop().time
    deadline = clock() + within
    while True:
        row = await run_in_threadpool(_answered, parts, of, asked_at)
        if row is not None or clock() >= deadline:
            return row
        await asyncio.sleep(min(POLL_SECONDS, max(0.0, deadline - clock())))


def _answered(parts: ApiParts, of: Version, asked_at: datetime) -> EvaluationBody | None:
    row = schedule.wait_for_evaluation(
        parts.database, version_id=of.id, requested_at=asked_at, timeout=timedelta()
    )
    if row is None:
        return None
    return parts.database.run(lambda tx: written(tx, [row]))[0]


def _location(of: Version, asked_at: datetime) -> str:
    query = urlencode({"version": of.name, "since": asked_at.isoformat()})
    return f"/v1/adapters/{quote(of.adapter, safe='')}/evaluations?{query}"
