"""``/retraining``: requests to retrain an adapter, with the records of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, Field
from sqlalchemy import Connection

from monitor.api import lookup, paging
from monitor.api.access import Operator, Reader
from monitor.api.bodies import LATEST_EPOCH, Body, Line, Name, without_nul
from monitor.api.lookup import Number
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.evaluate.retraining import TooSoon
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.errors import Conflict, NotFound
from monitor.store.traffic import retrainings, trainings
from monitor.store.traffic.retrainings import Meant, RetrainingRow
from monitor.store.traffic.trainings import TrainingRow, TrainingState, TrainingStep
from monitor.views.retraining import ExampleFormat, RetrainingBody, TrainingBody
from monitor.views.score import WindowBody
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1/retraining", tags=["retraining"])
of_adapters: Final = APIRouter(prefix="/v1/adapters", tags=["retraining"])
Item = TypeVar("Item")
CHUNK: Final = 2_000
"""Records read by one short transaction of a manifest."""
EXAMPLES_CHUNK: Final = 100
"""The same, where their texts are read as well."""


class RetrainRequest(Body):
    """Why a person asks; ``force``: although it was asked for within the cool-down."""

    reason: Line
    force: bool = False


class CancelRequest(Body):
    """Why a person refuses it."""

    reason: Line


class TrainRequest(Body):
    """Who trains it; ``again``: although a training of it is over."""

    worker: Name
    again: bool = False


class TrainReport(Body):
    """How far a worker is; a ``state`` other than running ends the training."""

    epoch: Annotated[int, Field(ge=1, le=LATEST_EPOCH)]
    step: TrainingStep
    progress: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    note: Annotated[str, Field(max_length=500), AfterValidator(without_nul)] = ""
    state: Literal[
        TrainingState.RUNNING, TrainingState.DONE, TrainingState.REFUSED, TrainingState.FAILED
    ] = TrainingState.RUNNING
    made: Name | None = None


_CONFLICT: Final[dict[int | str, dict[str, Any]]] = {
    409: {"description": "Another worker has it, or it is over or cancelled."}
}


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
    return _body(made, None)


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

    def read(tx: Connection) -> tuple[list[RetrainingRow], dict[int, TrainingRow]]:
        rows = retrainings.request_list(
            tx,
            adapter_id=lookup.adapter(tx, adapter).id if adapter else None,
            before_id=before,
            limit=limit + 1,
        )
        return rows, trainings.of(tx, [row.id for row in rows])

    rows, begun = parts.database.run(read)
    return paging.page(
        rows, limit, lambda row: _body(row, begun.get(row.id)), place=lambda row: (row.id,)
    )


@router.get("/{retraining}")
def get_request(_key: Reader, parts: Parts, retraining: Number) -> RetrainingBody:
    """Show one request."""
    return parts.database.run(lambda tx: _shown(tx, retraining))


@router.post("/{retraining}/training", responses=_CONFLICT)
def post_training(
    key: Operator, parts: Parts, retraining: Number, body: TrainRequest
) -> TrainingBody:
    """Take a request to train; `epoch` of the answer goes with each report.

    One worker at a time: one that reports nothing for three minutes may be taken over.
    """

    def work(tx: Connection) -> TrainingBody:
        request = _request(tx, retraining)
        begun = trainings.begin(tx, request.id, worker=body.worker, again=body.again)
        _note(tx, request, begun, by=key.name, act="retraining.begin")
        return TrainingBody.of(begun)

    return _or_conflict(parts.database, work)


@router.put("/{retraining}/training", responses=_CONFLICT)
def put_training(
    key: Operator, parts: Parts, retraining: Number, body: TrainReport
) -> TrainingBody:
    """Report how far a training is, which keeps it; 409 says that it must stop."""

    def work(tx: Connection) -> TrainingBody:
        request = _request(tx, retraining)
        before = trainings.of(tx, [request.id]).get(request.id)
        found = trainings.report(tx, request.id, **body.model_dump())
        if before is None or (before.step, before.state) != (found.step, found.state):
            _note(tx, request, found, by=key.name, act="retraining.step")
        return TrainingBody.of(found)

    return _or_conflict(parts.database, work)


@router.post("/{retraining}/cancel", responses=_CONFLICT)
def post_cancel(
    key: Operator, parts: Parts, retraining: Number, body: CancelRequest
) -> TrainingBody:
    """Refuse a request: nobody trains it, and a worker that does stops at its next report."""

    def work(tx: Connection) -> TrainingBody:
        request = _request(tx, retraining)
        found = trainings.cancel(tx, request.id, reason=body.reason)
        _note(tx, request, found, by=key.name, act="retraining.cancel")
        return TrainingBody.of(found)

    return _or_conflict(parts.database, work)


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

    def body(one: Meant) -> dict[str, Any]:
        similarity, below = one.similarity, request.below
        return {
            "id": one.id,
            "at": one.at.isoformat(),
            "similarity": similarity,
            "unlike": None if similarity is None or below is None else similarity < below,
            "feedback": one.feedback,
        }

    return _streamed(parts.database, request, body, unlike=unlike)


@router.get(
    "/{retraining}/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}}},
)
def get_export(
    _key: Reader,
    parts: Parts,
    retraining: Number,
    *,
    format: Annotated[  # noqa: A002 (the parameter's name)
        ExampleFormat, Query(description="How examples are written.")
    ] = ExampleFormat.OPENAI,
    unlike: Annotated[bool, Query(description="Only those unlike training.")] = False,
) -> StreamingResponse:
    """Stream the examples of a request, for labelling: NDJSON, oldest first.

    Prompt and answer as they are kept, redacted; records whose text is not kept are left out.
    """
    request = _fetch(parts.database, retraining)
    return _streamed(parts.database, request, _EXAMPLES[format], unlike=unlike, with_text=True)


def _openai(one: Meant) -> dict[str, Any]:
    messages = [("user", one.prompt), ("assistant", one.output)]
    return {
        "messages": [{"role": role, "content": text} for role, text in messages if text is not None]
    }


def _sharegpt(one: Meant) -> dict[str, Any]:
    turns = [("human", one.prompt), ("gpt", one.output)]
    said = [{"from": who, "value": text} for who, text in turns if text is not None]
    return {"id": one.id, "conversations": said}


_EXAMPLES: Final = {ExampleFormat.OPENAI: _openai, ExampleFormat.SHAREGPT: _sharegpt}


def _streamed(
    database: Database,
    request: RetrainingRow,
    body: Callable[[Meant], dict[str, Any]],
    *,
    unlike: bool,
    with_text: bool = False,
) -> StreamingResponse:
    def chunk(after: tuple[datetime, str] | None) -> Sequence[Meant]:
        return database.run(
            lambda tx: retrainings.manifest(
                tx,
                request,
                after=after,
                unlike=unlike,
                with_text=with_text,
                limit=EXAMPLES_CHUNK if with_text else CHUNK,
            )
        )

    def lines() -> Iterator[bytes]:
        found = chunk(None)
        while found:
            yield b"".join(json.dumps(body(one)).encode() + b"\n" for one in found)
            found = chunk((found[-1].at, found[-1].id))

    return StreamingResponse(lines(), media_type="application/x-ndjson")


def _fetch(database: Database, number: int) -> RetrainingRow:
    return database.run(lambda tx: _request(tx, number))


def _request(tx: Connection, number: int) -> RetrainingRow:
    try:
        return retrainings.fetch(tx, number)
    except NotFound as error:
        raise Problem(404, f"{error}.", kind="unknown-retraining") from error


def _or_conflict(database: Database, work: Callable[[Connection], Item]) -> Item:
    try:
        return database.run(work)
    except Conflict as error:
        raise Problem(409, f"{error}.", kind="not-possible") from error


def _note(tx: Connection, request: RetrainingRow, found: TrainingRow, *, by: str, act: str) -> None:
    """Write an entry of the audit."""
    label = f"{request.adapter}@{request.version}"
    told = {name: getattr(found, name) for name in ("worker", "step", "state", "note", "made")}
    audit.append(tx, actor=by, act=act, subject=label, details={"request": request.id, **told})


def _shown(tx: Connection, number: int) -> RetrainingBody:
    row = _request(tx, number)
    return _body(row, trainings.of(tx, [row.id]).get(row.id))


def _body(row: RetrainingRow, training: TrainingRow | None) -> RetrainingBody:
    return RetrainingBody.of(
        row,
        retraining=row.id,
        window=WindowBody.of(row.window),
        manifest=f"/v1/retraining/{row.id}/manifest",
        training=TrainingBody.of(training) if training else None,
    )
