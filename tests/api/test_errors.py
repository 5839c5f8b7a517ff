"""Every error is a problem that says what and where, and never what is secret."""

import json
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from monitor.api.limits import BodyLimits
from monitor.domain import Scope
from tests.serving import Serving

MIB = 1024 * 1024


def _problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "instance", "errors"}
    assert body["status"] == status
    return body


def test_an_unknown_path_says_which(service: Serving) -> None:
    with service.client(Scope.ADMIN) as client:
        body = _problem(client.get("/v1/nothing/here"), 404)
    assert body["instance"] == "/v1/nothing/here"
    assert "/v1/nothing/here" in str(body["detail"])


def test_a_wrong_method_names_the_right_ones(service: Serving) -> None:
    with service.client(Scope.ADMIN) as client:
        answer = client.delete("/v1/kill-switch")
    assert "GET" in str(_problem(answer, 405)["detail"])


CASES = [
    pytest.param({"on": "maybe", "reason": "x"}, "#/on", id="wrong type"),
    pytest.param({"on": True}, "#/reason", id="missing field"),
    pytest.param({"on": True, "reason": "x", "of": 1}, "#/of", id="unknown field"),
    pytest.param({"on": True, "reason": "a\x00b"}, "#/reason", id="NUL character"),
    pytest.param({"on": True, "reason": "x" * 501}, "#/reason", id="too long"),
    pytest.param([1, 2], "#", id="not an object"),
]


@pytest.mark.parametrize(("body", "pointer"), CASES)
def test_a_wrong_body_points_at_the_field(service: Serving, body: object, pointer: str) -> None:
    with service.client(Scope.OPERATE) as client:
        problem = _problem(client.put("/v1/kill-switch", json=body), 422)
    assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b'{"on": true, "reason": "\\ud800"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"on": NaN, "reason": "x"}',
        b"",
    ],
)
def test_bytes_that_are_no_proper_json_are_refused(service: Serving, raw: bytes) -> None:
    with service.client(Scope.OPERATE) as client:
        answer = client.put(
            "/v1/kill-switch", content=raw, headers={"content-type": "application/json"}
        )
    assert answer.status_code in {400, 422}, answer.text
    _problem(answer, answer.status_code)


def test_values_of_a_refused_body_are_not_repeated(service: Serving) -> None:
    with service.client(Scope.OPERATE) as client:
        answer = client.put("/v1/kill-switch", json={"on": "tell-nobody", "reason": "x"})
    assert "tell-nobody" not in answer.text


@pytest.mark.parametrize(
    "tree",
    [
        {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}},
        {str(i): i for i in range(3000)},
        {"a": "nul \x00"},
        {"a\x00": 1},
    ],
)
def test_metadata_that_cannot_be_stored_is_refused(service: Serving, tree: object) -> None:
    with service.client(Scope.OPERATE) as client:
        answer = client.put("/v1/adapters/support/versions/v1", json={"metrics": tree})
    assert _problem(answer, 422)["errors"][0]["pointer"] == "#/metrics"


def test_nan_in_metadata_is_refused(service: Serving) -> None:
    with service.client(Scope.OPERATE) as client:
        answer = client.put(
            "/v1/adapters/support/versions/v1",
            content=b'{"metrics": {"f1": NaN}}',
            headers={"content-type": "application/json"},
        )
    assert "NaN" in str(_problem(answer, 422)["detail"])


@pytest.mark.parametrize("cursor", ["x", "W10", "WyJhIl0", "a" * 600, "\u2028", "LTE="])
def test_a_made_up_cursor_is_refused(service: Serving, cursor: str) -> None:
    with service.client(Scope.READ) as client:
        answer = client.get("/v1/incidents", params={"cursor": cursor})
    assert _problem(answer, 422)["errors"][0]["parameter"].endswith("cursor")


def test_a_body_over_the_limit_is_a_413_even_without_a_length(service: Serving) -> None:
    piece = b" " * 65536
    with service.client(Scope.INGEST) as client:
        for body in (b" " * (9 * MIB), (piece for _ in range(9 * MIB // len(piece)))):
            answer = client.post(
                "/v1/records", content=body, headers={"content-type": "application/json"}
            )
            _problem(answer, 413)


def test_only_the_reference_upload_has_the_larger_limit() -> None:
    limits = BodyLimits(ordinary=8, reference_upload=64)
    assert limits.of("POST", "/v1/adapters/a/versions/v/reference") == 64
    assert limits.of("PUT", "/v1/adapters/a/versions/v/reference") == 8
    assert limits.of("POST", "/v1/records") == 8
    assert limits.of("POST", "/x/reference") == 8


def test_an_unforeseen_error_shows_nothing_of_its_inside(service: Serving) -> None:
    @service.app.get("/v1/broken")
    def broken() -> None:
        raise RuntimeError("the secret prompt")

    with service.client() as client:
        answer = client.get("/v1/broken", headers={"x-request-id": "mine-7"})
    assert "secret" not in json.dumps(_problem(answer, 500))
    assert answer.headers["x-request-id"] == "mine-7"


def test_a_lost_database_is_a_503_that_says_when_to_come_again(service: Serving) -> None:
    @service.app.get("/v1/lost")
    def lost() -> None:
        service.database.run(
            lambda tx: tx.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())")),
            attempts=1,
        )

    with service.client() as client:
        answer = client.get("/v1/lost")
    assert _problem(answer, 503)["type"] == "urn:driftline:problem:database-unavailable"
    assert answer.headers["retry-after"] == "5"


def test_every_answer_carries_the_security_headers(service: Serving) -> None:
    with service.client(Scope.READ) as client:
        for path in ("/v1/adapters", "/nowhere", "/livez", "/login"):
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert headers["x-request-id"]


def test_a_request_id_that_could_break_a_log_is_replaced(service: Serving) -> None:
    with service.client() as client:
        answer = client.get("/livez", headers={"x-request-id": "a b\tc"})
    assert answer.headers["x-request-id"] != "a b\tc"
