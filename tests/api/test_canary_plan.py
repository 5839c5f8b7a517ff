"""Plans of canaries at the traffic that was counted."""

from datetime import UTC, datetime
from typing import Any

import pytest

from monitor.domain import Scope
from monitor.store.records import capture_counts
from monitor.store.registry import adapters
from tests.serving import Serving

PATH = "/v1/adapters/support/canary-plan"


def _register(service: Serving, **counts: int) -> None:
    now = datetime.now(tz=UTC)
    with service.database.begin() as tx:
        support = adapters.put(tx, name="support")
        capture_counts.add(tx, {(support.id, now, name): n for name, n in counts.items()})


def test_the_traffic_is_what_was_counted_sampled_or_not(service: Serving) -> None:
    _register(service, accepted=4_000, sampled_out=16_000, duplicates=500, rejected=7)
    with service.client(Scope.READ) as client:
        found = client.get(PATH, params={"drop": 0.1}).json()
        told = client.get(PATH, params={"drop": 0.1, "requests_per_day": 300}).json()
        hardly = client.get(PATH, params={"requests_per_day": 1e-9})
    assert hardly.status_code == 200  # in a hundred years or later
    assert (found["requests_per_day"], found["measured"]) == (20_000, True)
    # feedback and six signals share four fifths of alpha: 7 / .8
    assert found["guardrails"] == 9
    chosen = next(one for one in found["choices"] if one["weight"] == found["chosen"])
    assert chosen["days"] <= 3
    assert (told["requests_per_day"], told["measured"], told["chosen"]) == (300, False, None)
    assert (found["ways"], told["ways"]) == ([], [])  # nobody is in charge
    for one in told["choices"]:
        begins = datetime.fromisoformat(one["verdict_at"]) - datetime.now(tz=UTC)
        assert begins.total_seconds() / 86_400 == pytest.approx(one["days"], abs=0.01)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "requests_per_day must be above 0"),
        ({"drop": 0.04, "requests_per_day": 10}, "drop must be above 0.05"),
        ({"rate": 1.5, "requests_per_day": 10}, "rate must be between 0 and 1"),
        ({"requests_per_day": "many"}, "valid number"),
        ({"weights": 1}, "not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(
    service: Serving, params: dict[str, Any], said: str
) -> None:
    _register(service)
    with service.client(Scope.READ) as client:
        answer = client.get(PATH, params=params)
        assert client.get("/v1/adapters/nobody/canary-plan").status_code == 404
    assert answer.status_code == 422
    assert said in answer.text
