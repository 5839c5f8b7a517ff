"""Records through the front door."""

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from monitor.domain import Scope
from tests.serving import Serving


def _record(name: str, **more: Any) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat()
    return {"id": name, "adapter": "support", "at": at, "output": "It arrives today."} | more


@pytest.fixture
def registered(service: Serving) -> Serving:
    with service.client(Scope.ADMIN) as client:
        assert client.put("/v1/adapters/support/versions/v1", json={}).status_code == 200
    return service


def test_good_records_are_kept_beside_a_bad_one_and_known_ones(registered: Serving) -> None:
    one, two = _record("1"), _record("2")
    with registered.client(Scope.INGEST) as client:
        first = client.post("/v1/records", json={"records": [one, _record("x", at="soon")]})
        assert first.status_code == 202, first.text
        assert first.json()["accepted"] == 1
        assert first.json()["rejected"][0]["index"] == 1
        again = client.post("/v1/records", json={"records": [one, two]}).json()
    assert (again["accepted"], again["duplicates"]) == (1, 1)


def test_ndjson_and_gzip_are_read(registered: Serving) -> None:
    lines = b"\n".join(json.dumps(_record(str(i))).encode() for i in range(3))
    headers = {"content-type": "application/x-ndjson", "content-encoding": "gzip"}
    with registered.client(Scope.INGEST) as client:
        answer = client.post("/v1/records", content=gzip.compress(lines), headers=headers)
    assert answer.json()["accepted"] == 3, answer.text


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {"content-type": "application/json"}, 400),
        (b"a,b", {"content-type": "text/csv"}, 415),
        (b"{}", {"content-type": "application/json", "content-encoding": "br"}, 415),
        (b"no gzip", {"content-type": "application/json", "content-encoding": "gzip"}, 400),
        (
            gzip.compress(b" " * (64 * 1024 * 1024)),
            {"content-type": "application/json", "content-encoding": "gzip"},
            413,
        ),
    ],
    ids=["cut", "csv", "brotli", "not gzip", "bomb"],
)
def test_a_body_that_cannot_be_read_is_a_problem(
    registered: Serving, body: bytes, headers: dict[str, str], status: int
) -> None:
    with registered.client(Scope.INGEST) as client:
        answer = client.post("/v1/records", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_feedback_finds_its_record(registered: Serving) -> None:
    record = _record("1")
    feedback = {"id": "1", "adapter": "support", "at": record["at"], "feedback": {"solved": 1.0}}
    with registered.client(Scope.INGEST) as client:
        client.post("/v1/records", json={"records": [record]})
        answer = client.post("/v1/feedback", json={"feedback": [feedback]})
    assert answer.status_code == 202, answer.text
