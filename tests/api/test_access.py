"""Keys, scopes and floods, over every path that the API publishes."""

import re
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from monitor.api.access import KeyGate
from monitor.api.problems import Problem
from monitor.domain import Scope
from monitor.store.database import Database
from monitor.store.people import keys
from tests.serving import Serving

OPEN = {"/livez", "/readyz"}
SAMPLES = {
    "adapter": "support",
    "version": "v1",
    "incident": "1",
    "change": "1",
    "action": "1",
    "canary": "1",
    "delivery": "00000000-0000-0000-0000-000000000000",
    "channel": "on-call",
    "silence": "1",
    "retraining": "1",
    "number": "1",
    "form": "page",
}

OTHERS = {
    ("POST", "/v1/changes"): {Scope.INGEST, Scope.OPERATE, Scope.ADMIN},
    ("POST", "/v1/channels/on-call/test"): {Scope.ADMIN},
    ("POST", "/v1/retention/confirm"): {Scope.ADMIN},
}
"""Senders may say what happened (what the handler refuses them stands in test_changes.py);
only an administrator sends to people what did not happen, and says that a clock is right."""


def _operations(service: Serving) -> list[tuple[str, str, dict[str, Any]]]:
    with service.client() as client:
        schema = client.get("/openapi.json").json()
    return [
        (method.upper(), re.sub(r"{(\w+)}", lambda m: SAMPLES[m[1]], path), operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_endpoint_says_in_words_what_it_does(service: Serving) -> None:
    for method, path, operation in _operations(service):
        summary = operation["summary"]
        assert re.fullmatch(r"[A-Z][a-z]+ .{4,99}", summary), (method, path, summary)
        assert operation["description"].rstrip().endswith("."), (method, path)
        assert not re.fullmatch(r"([A-Z][a-z]+ ?)+", summary), "a function's name"


def test_every_path_but_health_needs_a_key(service: Serving) -> None:
    with service.client() as client:
        for method, path, _ in _operations(service):
            answer = client.request(method, path)
            if path in OPEN:
                assert answer.status_code == 200, path
                continue
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"


def test_every_path_refuses_every_scope_but_its_own_and_admin(service: Serving) -> None:
    for method, path, _ in _operations(service):
        if path in OPEN:
            continue
        allowed = {scope for scope in Scope if _status(service, scope, method, path) != 403}
        assert Scope.ADMIN in allowed, (method, path)
        expected = OTHERS.get((method, path))
        assert allowed == expected if expected else len(allowed) == 2, (method, path, allowed)


def _status(service: Serving, scope: Scope, method: str, path: str) -> int:
    with service.client(scope) as client:
        return client.request(method, path).status_code


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Basic abc", "Bearer dl_x", "Bearer " + "a" * 5000, "Bearer dl_\xe9"],
)
def test_a_wrong_key_is_a_401_that_does_not_repeat_it(service: Serving, header: str) -> None:
    answer = httpx2.get(
        f"{service.url}/v1/adapters", headers={b"authorization": header.encode("latin-1")}
    )
    assert answer.status_code == 401
    assert "dl_x" not in answer.text


def test_a_revoked_key_is_refused_after_the_memory_of_it_has_passed(service: Serving) -> None:
    with service.database.begin() as tx:
        key, text = keys.create(tx, name="gone", scopes=[Scope.READ])
        keys.revoke(tx, key.id, now=key.created_at)
    with service.client(key=text) as client:
        assert client.get("/v1/adapters").status_code == 401


def test_a_flood_of_wrong_keys_is_slowed_down_but_a_known_key_goes_on(service: Serving) -> None:
    with service.client(Scope.READ) as good, service.client(key="dl_wrong") as bad:
        assert good.get("/v1/adapters").status_code == 200
        answers = [bad.get("/v1/adapters") for _ in range(25)]
        assert [a.status_code for a in answers] == [401] * 20 + [429] * 5
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert good.get("/v1/adapters").status_code == 200


def test_addresses_of_one_network_of_ipv6_try_wrong_keys_as_one(database: Database) -> None:
    gate = KeyGate(database, told=lambda: datetime.now(UTC), clock=lambda: 0.0)

    def tried(address: str) -> int:
        with pytest.raises(Problem) as refused:
            gate.admit("dl_wrong", address=address)
        return refused.value.status_code

    assert [tried(f"2001:db8::{n:x}") for n in range(25)] == [401] * 20 + [429] * 5
    assert tried("2001:db8:0:1::1") == 401
