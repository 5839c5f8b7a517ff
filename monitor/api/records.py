"""``POST /records`` and ``POST /feedback``: bytes in, a durable result out.

The body goes to the intake unparsed; pydantic never sees a record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from pydantic import Field

from monitor.api.access import Ingester
from monitor.api.answering import answered
from monitor.api.bodies import Body
from monitor.api.parts import Parts
from monitor.api.problems import Problem, problem_response
from monitor.capture import errors
from monitor.capture.directory import Sender
from monitor.capture.intake import IntakeOutcome
from monitor.capture.telemetry import otlp
from monitor.store.people.keys import Key
from monitor.views.service import OutcomeBody, SharesBody

router: Final = APIRouter(prefix="/v1", tags=["capture"])


async def _raw_body(request: Request) -> bytes:
    return await request.body()


RawBody = Annotated[bytes, Depends(_raw_body)]


def _described(field: str) -> dict[str, Any]:
    item: dict[str, Any] = {"type": "object"}
    batch = {"type": "object", "properties": {field: {"type": "array", "items": item}}}
    content = {
        "application/json": {"schema": batch},
        "application/x-ndjson": {"schema": {"type": "string"}},
    }
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/records", status_code=202, response_model=OutcomeBody, openapi_extra=_described("records")
)
def post_records(key: Ingester, parts: Parts, body: RawBody, request: Request) -> Response:
    """Take records in; at most 1,000 and 8 MiB a request, gzip allowed. Send again freely."""
    return _taken_in(parts.intake.records, key, body, request)


def _spans_described() -> dict[str, Any]:
    content = {
        "application/x-protobuf": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": {"type": "object"}},
    }
    answer = {"description": "An `ExportTraceServiceResponse`.", "content": content}
    return {"requestBody": {"required": True, "content": content}, "responses": {"200": answer}}


@router.post("/traces", response_class=Response, openapi_extra=_spans_described())
def post_traces(key: Ingester, parts: Parts, body: RawBody, request: Request) -> Response:
    """Take spans in by OTLP/HTTP; those of adapters' calls become records. Send again freely."""
    kind = request.headers.get("content-type", "")
    try:
        outcome = parts.intake.spans(
            body,
            content_type=kind,
            content_encoding=request.headers.get("content-encoding"),
            sender=_sender(key),
        )
    except errors.DiskFull as error:
        # of the codes that say "not now", exporters know 429 and 503
        raise errors.Unavailable(retry_after=error.retry_after) from error
    reasons = [one.error for one in (*outcome.rejected, *outcome.held)]
    said = "; ".join(reasons[:_SAID])
    reply = otlp.answer(rejected=len(outcome.rejected), message=said, content_type=kind)
    return Response(reply, media_type=otlp.kind_of(kind))


_SAID: Final = 5
"""Refused or held spans whose reasons an answer has; an exporter writes them into its log."""


@router.post(
    "/feedback", status_code=202, response_model=OutcomeBody, openapi_extra=_described("feedback")
)
def post_feedback(key: Ingester, parts: Parts, body: RawBody, request: Request) -> Response:
    """Take feedback in for records sent earlier."""
    return _taken_in(parts.intake.feedback, key, body, request)


class SamplingRequest(Body):
    """Requests that a sampler answered and did not send, since it last said so."""

    sampled_out: dict[Annotated[str, Field(max_length=128)], Annotated[int, Field(ge=0, le=10**9)]]


@router.post("/sampling")
def post_sampling(key: Ingester, parts: Parts, body: SamplingRequest) -> SharesBody:
    """Report how many requests were not sent, and learn which share to send from now on.

    What is not sent counts as traffic, as if it had come and been sampled out here.
    """
    return SharesBody(shares=parts.intake.shares(body.sampled_out, sender=_sender(key)))


def _sender(key: Key) -> Sender:
    return Sender(name=key.id, match=key.match)


def _taken_in(
    take: Callable[..., IntakeOutcome], key: Key, body: bytes, request: Request
) -> Response:
    outcome = take(
        body,
        content_type=request.headers.get("content-type", ""),
        content_encoding=request.headers.get("content-encoding"),
        sender=_sender(key),
    )
    return answered(OutcomeBody.of(outcome), status=202)


def install(app: FastAPI) -> None:
    """Answer the intake's refusals as problems."""
    app.add_exception_handler(errors.CaptureError, _on_refusal)


async def _on_refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, errors.CaptureError):
        raise error
    wait = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    refusal = Problem(error.status, str(error), kind=error.kind, headers=wait)
    return problem_response(refusal, instance=request.url.path)
