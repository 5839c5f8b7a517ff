"""``/retraining``: requests to retrain an adapter, with the records of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection

from monitor.api import lookup, paging
from monitor.api.access import Operator, Reader
from monitor.api.bodies import Body, Line, Name
from monitor.api.lookup import Number
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.evaluate.retraining import NotRequested, TooSoon
from monitor.store.database import Database
from monitor.store.errors import NotFound
from monitor.store.traffic import retrainings
from monitor.store.traffic.retrainings import Meant, RetrainingRow
from monitor.views.retraining import RetrainingBody
from monitor.views.score import WindowBody
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/retraining", tags=["retraining"])
of_adapters: Final = APIRouter(prefix="/adapters", tags=["retraining"])
CHUNK: Final = 2_000
"""Records read by one short transaction of a manifest."""


class RetrainRequest(Body):
    """Why a person asks; ``force``: although it was asked for within the cool-down."""

    reason: Line
    force: bool = False


@of_adapters.post(
    "/{adapter}/retraining",
    status_code=201,
    responses={409: {"description": "It was asked for already, or no version is in charge."}},
)
def post_request(
    key: Operator, parts: Parts, adapter: AdapterName, body: RetrainRequest
) -> RetrainingBody:
    """Request that the version in charge be retrained; channels of `[retrain]` get the event."""
    parts.database.run(lambda tx: lookup.adapter(tx, adapter))
    try:
        made = parts.retrainings.request(adapter, by=key.name, why=body.reason, force=body.force)
    except TooSoon as error:
        raise Problem(
            409, f"{error}: ask with force to do so all the same.", kind="not-possible"
        ) from error
    except NotRequested as error:
        raise Problem(409, f"{error}.", kind="not-possible") from error
    return _body(made)


@router.get("")
def get_requests(
    _key: Reader,
    parts: Parts,
    adapter: Annotated[Name | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[RetrainingBody]:
    """List requests, newest first."""
    before = paging.before_id(cursor)

    def read(tx: Connection) -> list[RetrainingRow]:
        return retrainings.request_list(
            tx,
            adapter_id=lookup.adapter(tx, adapter).id if adapter else None,
            before_id=before,
            limit=limit + 1,
        )

    rows = parts.database.run(read)
    return paging.page(rows, limit, _body, place=lambda row: (row.id,))


@router.get("/{retraining}")
def get_request(_key: Reader, parts: Parts, retraining: Number) -> RetrainingBody:
    """Show one request."""
    return _body(_fetch(parts.database, retraining))


@router.get(
    "/{retraining}/manifest",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}}},
)
def get_manifest(
    _key: Reader,
    parts: Parts,
    retraining: Number,
    *,
    unlike: Annotated[bool, Query(description="Only those unlike training.")] = False,
) -> StreamingResponse:
    """Stream the records that a request means, oldest first: NDJSON, a record on each line.

    Read in chunks, with no transaction open between them.
    """
    request = _fetch(parts.database, retraining)
    lines = _lines(parts.database, request, unlike=unlike)
    return StreamingResponse(lines, media_type="application/x-ndjson")


def _lines(database: Database, request: RetrainingRow, *, unlike: bool) -> Iterator[bytes]:
    after: tuple[datetime, str] | None = None
    while True:
        found = _chunk(database, request, after, unlike=unlike)
        if not found:
            return
        yield b"".join(_line(one, request) for one in found)
        after = (found[-1].at, found[-1].id)


def _chunk(
    database: Database,
    request: RetrainingRow,
    after: tuple[datetime, str] | None,
    *,
    unlike: bool,
) -> Sequence[Meant]:
    return database.run(
        lambda tx: retrainings.manifest(tx, request, after=after, unlike=unlike, limit=CHUNK)
    )


def _line(one: Meant, request: RetrainingRow) -> bytes:
    similarity, below = one.similarity, request.below
    body = {
        "id": one.id,
        "at": one.at.isoformat(),
        "similarity": similarity,
        "unlike": None if similarity is None or below is None else similarity < below,
    }
    return json.dumps(body).encode() + b"\n"


def _fetch(database: Database, number: int) -> RetrainingRow:
    try:
        return database.run(lambda tx: retrainings.fetch(tx, number))
    except NotFound as error:
        raise Problem(404, f"{error}.", kind="unknown-retraining") from error


def _body(row: RetrainingRow) -> RetrainingBody:
    return RetrainingBody.of(
        row,
        retraining=row.id,
        window=WindowBody.of(row.window),
        manifest=f"/v1/retraining/{row.id}/manifest",
    )
