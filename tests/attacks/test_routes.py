"""Attacks on every route that the API publishes: a new one is attacked by itself."""

import json
import random
from datetime import UTC, datetime

import pytest

from monitor.domain import Scope
from monitor.store.registry import adapters, versions
from tests.attacks.description import HALF, Request, hostile_requests, operations
from tests.attacks.wire import connected, heard, status
from tests.serving import Serving

OF_EACH = 12
"""Hostile requests of each operation that one run tries; ``make attack`` tries all."""


@pytest.fixture
def registered(service: Serving) -> Serving:
    with service.database.begin() as tx:
        adapter = adapters.put(tx, name="support")
        versions.put(tx, adapter=adapter, name="v1", model="support@v1")
    return service


def test_no_byte_of_a_body_is_waited_for_without_a_key(service: Serving) -> None:
    keyed = [one for one in operations(service) if one.needs_key]
    assert len(keyed) > 50
    for one in keyed:
        head = (
            f"{one.method} {one.path} HTTP/1.1\r\nHost: x\r\n"
            "Content-Type: application/json\r\nContent-Length: 8000000\r\n\r\n"
        )
        with connected(service.url) as [connection]:
            connection.sendall(head.encode())
            assert status(heard(connection, patience=10)) == 401, (one.method, one.path)


def test_nothing_that_a_caller_sends_is_a_fault_of_ours(registered: Serving) -> None:
    draw = random.Random(13)  # noqa: S311 - no secret
    tried = 0
    for one in operations(registered):
        requests = list(hostile_requests(one))
        tried += _tried(registered, draw.sample(requests, min(OF_EACH, len(requests))))
    assert tried > 500


@pytest.mark.attack
def test_nothing_at_all_that_a_caller_sends_is_a_fault_of_ours(registered: Serving) -> None:
    tried = sum(_tried(registered, list(hostile_requests(one))) for one in operations(registered))
    print(f"{tried:,} hostile requests")


def test_halves_of_characters_in_records_cost_no_neighbour(registered: Serving) -> None:
    now = datetime.now(UTC).isoformat()
    good = {"adapter": "support", "version": "v1", "at": now, "output": f"a{HALF}b"}
    fields = ("id", "adapter", "version", "arm", "source", "engine", "finish_reason", "x" + HALF)
    bad = [{**good, "id": f"bad {field}", field: f"x{HALF}"} for field in fields]
    records = [{**good, "id": "first"}, *bad, {**good, "id": "last"}]
    with registered.client(Scope.INGEST) as client:
        whole = client.post("/v1/records", content=json.dumps({"records": records}))
        assert whole.status_code == 415  # no content type
        headers = {"content-type": "application/json"}
        whole = client.post(
            "/v1/records", content=json.dumps({"records": records}), headers=headers
        )
        lines = client.post(
            "/v1/records",
            content="\n".join(map(json.dumps, records)),
            headers={"content-type": "application/x-ndjson"},
        )
    for answer, stored in ((whole, "accepted"), (lines, "duplicates")):
        assert answer.status_code == 202, answer.text
        told = answer.json()
        assert told[stored] == 2
        assert [one["index"] for one in told["rejected"]] == list(range(1, len(fields) + 1))


def _tried(service: Serving, requests: list[Request]) -> int:
    with service.client(Scope.ADMIN) as client:
        for one in requests:
            answer = client.request(
                one.method,
                service.url + one.path + (f"?{one.query}" if one.query else ""),
                content=one.body,
                headers={"content-type": "application/json", **one.headers},
            )
            assert answer.status_code < 500, (one.method, one.path, one.query[:80], one.about)
    return len(requests)


def test_the_samples_are_what_the_routes_take(registered: Serving) -> None:
    """Else every hostile field would hide behind another that does not fit."""
    fit = 0
    with registered.client(Scope.ADMIN) as client:
        for one in operations(registered):
            if one.schema is not None:
                answer = client.request(one.method, one.path, json=one.body)
                fit += answer.status_code not in {400, 422}
    total = sum(one.schema is not None for one in operations(registered))
    assert fit >= total / 3, (fit, total)
