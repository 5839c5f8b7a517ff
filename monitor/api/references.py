"""``/reference``: upload, freeze, progress, approval, and a new one for many adapters."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from monitor.api import lookup
from monitor.api.access import Operator, Reader
from monitor.api.bodies import ApproveRequest, FreezeRequest, FreezeWindow, Line, RefreezeRequest
from monitor.api.parts import ApiParts, Parts
from monitor.api.paths import AdapterName, VersionName
from monitor.api.problems import Problem
from monitor.domain import Interval, Reference, Version
from monitor.reference.accept import approve
from monitor.reference.freeze import open_generation
from monitor.reference.other_settings import SettingsLearner, wanted
from monitor.reference.refreeze import refreeze
from monitor.reference.upload import Upload, UploadRefused, begin_upload
from monitor.store import audit
from monitor.store.errors import Conflict
from monitor.store.references import references
from monitor.views.reading.reference import read as read_references
from monitor.views.reading.reference import reference
from monitor.views.reference import (
    LearnedBody,
    OtherSettingsBody,
    ReferenceBody,
    ReferencesBody,
    RefreezeBody,
    RefrozenBody,
)
from monitor.views.score import WindowBody

router: Final = APIRouter(prefix="/v1/adapters/{adapter}/versions/{version}", tags=["reference"])

NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"
LARGEST_FREEZE: Final = 64 * 1024


@router.get("/reference")
def get_reference(
    _key: Reader, parts: Parts, adapter: AdapterName, version: VersionName
) -> ReferencesBody:
    """Show the reference in force and how far a new generation is."""

    def read(tx: Connection) -> ReferencesBody:
        of = lookup.version(tx, adapter, version)
        return read_references(tx, of, rules=parts.learning, now=parts.clock())

    return parts.database.run(read)


_FREEZE: Final = {
    "type": "object",
    "required": ["freeze"],
    "properties": {"freeze": FreezeWindow.model_json_schema()},
}
"""Written out, because the schema that pydantic makes refers to a place outside this document."""

_BODIES: Final = {
    "requestBody": {
        "required": True,
        "content": {
            NDJSON: {"schema": {"type": "string", "description": "One item a line."}},
            JSON: {"schema": _FREEZE},
        },
    }
}


@router.post("/reference", status_code=202, openapi_extra=_BODIES)
async def post_reference(
    key: Operator,
    parts: Parts,
    request: Request,
    *,
    response: Response,
    adapter: AdapterName,
    version: VersionName,
    cause: Annotated[Line, Query(description="Why, for the audit.")] = "uploaded",
) -> ReferenceBody:
    """Upload a reference as NDJSON, streamed, or freeze a window as JSON; then it is built."""
    # async: an upload may take minutes, and only its pieces of work occupy a thread
    of = await run_in_threadpool(
        parts.database.run, lambda tx: lookup.version(tx, adapter, version)
    )
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(
            415, "A reference is sent without Content-Encoding.", kind="unsupported-media"
        )
    match kind:
        case "application/x-ndjson":
            made = await _upload(request, parts, of, cause=cause, by=key.name)
        case "application/json":
            asked = _freeze_request(await _small_body(request)).freeze
            made = await run_in_threadpool(
                parts.database.run, lambda tx: _freeze(tx, of, asked, by=key.name)
            )
        case _:
            raise Problem(
                415,
                f"Content-Type is {kind or 'absent'!r}; send {NDJSON} (items) or {JSON} (freeze).",
                kind="unsupported-media",
            )
    response.headers["Location"] = request.url.path
    return reference(made, of=of)


async def _upload(
    request: Request, parts: ApiParts, of: Version, *, cause: str, by: str
) -> Reference:
    upload: Upload = await run_in_threadpool(
        begin_upload, parts.database, version=of, cause=cause, created_by=by
    )
    try:
        async for chunk in request.stream():
            await run_in_threadpool(upload.feed, chunk)
        return await run_in_threadpool(upload.finish)
    except UploadRefused as refused:
        raise _refused(refused) from refused
    except BaseException:
        # the client went away, sent too much, or the service stops: nothing is kept
        await run_in_threadpool(upload.abort)
        raise


def _refused(refused: UploadRefused) -> Problem:
    first = refused.problems[0]
    place = f"line {first.line}: " if first.line else ""  # 0 is the upload as a whole
    return Problem(
        422,
        f"{place}{first.error} (1 of {refused.total} problems; nothing was kept)",
        kind="invalid-reference",
        errors=[{"detail": item.error, "line": item.line} for item in refused.problems],
    )


async def _small_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FREEZE:
            raise Problem(413, f"A freeze takes at most {LARGEST_FREEZE:,} bytes.")
    return body


def _freeze_request(body: bytes) -> FreezeRequest:
    try:
        return FreezeRequest.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise RequestValidationError(
            [{**item, "loc": ("body", *item["loc"])} for item in found]
        ) from error


def _freeze(tx: Connection, of: Version, asked: FreezeWindow, *, by: str) -> Reference:
    return open_generation(
        tx,
        version=of,
        window=Interval(start=asked.start, end=asked.end),
        cause=asked.cause,
        created_by=by,
        training=None if asked.training is None else _find(tx, of, asked.training).id,
    )


def _find(tx: Connection, of: Version, generation: int) -> Reference:
    for found in references.of_version(tx, of.id):
        if found.generation == generation:
            return found
    raise Problem(
        404, f"{of.label} has no reference of generation {generation}.", kind="unknown-reference"
    )


@router.post("/reference/learn")
def learn_other_settings(
    key: Operator, parts: Parts, adapter: AdapterName, version: VersionName
) -> LearnedBody:
    """Learn now what answers are like under settings that the reference lacks.

    It is done by itself from `reference.learned.least` records on; at a person's word 300 do.
    """
    learner = SettingsLearner(
        parts.database, rules=parts.learning.learned, days=parts.learning.days
    )

    def learn(tx: Connection) -> LearnedBody:
        of, now = lookup.version(tx, adapter, version), parts.clock()
        try:
            made = learner.learn_now(tx, of, now=now)
        except Conflict as refused:
            raise Problem(409, str(refused), kind="something-is-wrong") from refused
        learned = [one.partition(": ")[2] for one in made]
        details = {"learned": learned}
        audit.append(tx, actor=key.name, act="reference.learn", subject=of.label, details=details)
        return LearnedBody(
            learned=learned,
            waiting=[
                OtherSettingsBody.of(one, settings=one.text, needed=learner.rules.least)
                for one in wanted(tx, of, now=now, until=now, rules=learner.rules)
            ],
        )

    return parts.database.run(learn)


@router.post("/reference/approve")
def approve_reference(
    key: Operator, parts: Parts, adapter: AdapterName, version: VersionName, body: ApproveRequest
) -> ReferenceBody:
    """Approve a ready generation by hand: from now on its evidence may move traffic."""

    def work(tx: Connection) -> ReferenceBody:
        of = lookup.version(tx, adapter, version)
        approve(tx, of, _find(tx, of, body.generation), by=key.name)
        return reference(_find(tx, of, body.generation), of=of)

    return parts.database.run(work)


of_fleet: Final = APIRouter(prefix="/v1/references", tags=["reference"])


@of_fleet.post("/refreeze", status_code=202)
def post_refreeze(key: Operator, parts: Parts, body: RefreezeRequest) -> RefreezeBody:
    """Freeze the last days of many adapters; what fails for one loses no other's."""
    now = parts.clock()
    window = Interval(start=now - timedelta(days=body.days), end=now)
    rows = refreeze(parts.database, match=body.match, window=window, cause=body.cause, by=key.name)
    return RefreezeBody(window=WindowBody.of(window), items=[RefrozenBody.of(row) for row in rows])
