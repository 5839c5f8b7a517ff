"""Spans through the front door, as an OpenTelemetry Collector sends them."""

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from monitor.capture import errors
from monitor.domain import Scope
from monitor.store.people import keys
from tests.capture.spans.writing import otlp_span, request_of
from tests.serving import Serving

CALL = {"gen_ai.operation.name": "chat", "gen_ai.response.model": "support@v1"}
PROTOBUF = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}


@pytest.fixture
def registered(service: Serving) -> Serving:
    with service.client(Scope.ADMIN) as client:
        assert client.put("/v1/adapters/support/versions/v1", json={}).status_code == 200
    return service


def _spans(*told: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    written = [
        otlp_span(CALL | one, at=now, name=f"{place:016x}") for place, one in enumerate(told)
    ]
    return request_of(written)


def _compressed(tree: dict[str, Any]) -> bytes:
    return gzip.compress(ParseDict(tree, ExportTraceServiceRequest()).SerializeToString())


def test_a_batch_is_taken_whole_and_again(registered: Serving) -> None:
    body = _compressed(_spans({}, {"gen_ai.response.model": "gpt-4.1"}, {"user.id": "u1"}))
    with registered.client(Scope.INGEST) as client:
        for _ in range(2):  # as an exporter that lost the first answer
            answer = client.post("/v1/traces", content=body, headers=PROTOBUF)
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "application/x-protobuf"
            assert ExportTraceServiceResponse.FromString(answer.content) == (
                ExportTraceServiceResponse()
            )
    with registered.database.begin() as tx:
        sources = tx.execute(
            sa.text("SELECT source FROM records r JOIN contexts c ON c.id = r.context_id")
        )
        assert sources.scalars().all() == ["otlp", "otlp"]


def test_spans_that_are_refused_or_held_are_named(registered: Serving) -> None:
    told = _spans({}, {"gen_ai.request.temperature": -1.0}, {"gen_ai.response.model": "new@v1"})
    with registered.client(Scope.INGEST) as client:
        answer = client.post("/v1/traces", json=told)
        in_protobuf = client.post("/v1/traces", content=_compressed(told), headers=PROTOBUF)
    assert answer.status_code == 200
    partial = answer.json()["partialSuccess"]
    assert partial["rejectedSpans"] == "1"
    assert "spans[1].temperature" in partial["errorMessage"]
    assert "spans[2].adapter: unknown adapter 'new'" in partial["errorMessage"]
    same = ExportTraceServiceResponse.FromString(in_protobuf.content).partial_success
    assert (same.rejected_spans, same.error_message) == (1, partial["errorMessage"])


def test_a_teams_spans_of_anothers_model_are_passed_over_like_those_of_any_other(
    registered: Serving,
) -> None:
    spans = _spans(*({"gen_ai.response.model": name} for name in ("support", "gpt-4.1")))
    with registered.database.begin() as tx:
        team = keys.create(tx, name="x", scopes=[Scope.INGEST], match={"owner": ["others"]})[1]
    with registered.client(key=team) as client:
        assert client.post("/v1/traces", json=spans).json() == {}


def test_more_calls_than_a_request_of_records_are_taken_in_parts(registered: Serving) -> None:
    with registered.client(Scope.INGEST) as client:
        answer = client.post("/v1/traces", json=_spans(*[{}] * 1_001))
        assert answer.json() == {}
    with registered.database.begin() as tx:
        assert tx.execute(sa.text("SELECT count(*) FROM records")).scalar_one() == 1_001


def test_spans_need_a_key_that_may_send(registered: Serving) -> None:
    with registered.client() as client:
        assert client.post("/v1/traces", json=_spans({})).status_code == 401
    with registered.client(Scope.READ) as client:
        assert client.post("/v1/traces", json=_spans({})).status_code == 403


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {"content-type": "application/json"}, 400),
        (b"\x0a\xff", {"content-type": "application/x-protobuf"}, 400),
        (b"", {"content-type": "text/plain"}, 415),
        (b"x", {"content-type": "application/x-protobuf", "content-encoding": "zstd"}, 415),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_for_good(
    registered: Serving, body: bytes, headers: dict[str, str], status: int
) -> None:
    with registered.client(Scope.INGEST) as client:
        assert client.post("/v1/traces", content=body, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Overloaded(retry_after=7), 429),
        (errors.Unavailable(retry_after=7), 503),
        (errors.DiskFull(retry_after=7), 503),
    ],
)
def test_what_may_succeed_later_has_a_code_that_exporters_retry(
    registered: Serving, error: errors.CaptureError, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(registered.app.state.parts.intake, "spans", refuse)
    with registered.client(Scope.INGEST) as client:
        answer = client.post("/v1/traces", content=json.dumps(_spans({})))
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
