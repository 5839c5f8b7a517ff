"""A version in shadow answers copies, after the answer was sent, and nobody waits for it."""

import json
import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from monitor.gateway.routebook import read_routes
from monitor.gateway.running import assemble
from monitor.gateway.settings import GatewaySettings
from monitor.gateway.shadows import shadow_of
from tests.gateway.conftest import Stage, Start, listening, route
from tests.gateway.stub_service import StubService
from tests.service import until

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {
    "model": "support",
    "messages": [{"role": "user", "content": "When?"}],
    "temperature": 0.7,
    "user": "u1",
}


@pytest.fixture
def service() -> StubService:
    return StubService(shares={"support": 1.0})


def shadowed(start: Start, service: StubService, **settings: Any) -> Stage:
    """A gateway with v3 in shadow that samples everything, all seen so far forgotten."""
    service.routes = [route(stable=1.0)]
    stage = start(service.routes, service=service, **settings)
    stage.engine.models = {"support@v1", "support@v3"}
    with stage.client() as client:
        until(lambda: "x-driftline-record" in ask(client).headers, "the share is learned")
        until(lambda: service.records, "its record")
        service.routes = [route(generation=2, stable=1.0, shadow=0.0)]
        generation = "driftline_gateway_route_generation"
        until(lambda: stage.metric(generation) == 2, "the shadow's route")
    service.records.clear()
    stage.engine.asked.clear()
    return stage


def ask(client: httpx2.Client, **more: Any) -> httpx2.Response:
    reply = client.post(CHAT, json=ASKED | more)
    assert reply.status_code == 200, reply.text
    return reply


def of(service: StubService, arm: str, count: int = 1) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        return [one for one in service.records if one["arm"] == arm]

    until(lambda: len(found()) >= count, f"{count} records of {arm}")
    return found()


def outcome(stage: Stage, name: str) -> float:
    return stage.metric("driftline_gateway_shadows_total", version="v3", outcome=name)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_copy_is_a_record_that_pairs_with_the_original(
    start: Start, service: StubService, *, stream: bool
) -> None:
    stage = shadowed(start, service)
    with stage.client() as client:
        reply = ask(client, stream=stream, max_tokens=5)
    (copy,) = of(service, "shadow")
    (original,) = of(service, "stable")
    assert copy["id"] == f"{original['id']}:shadow"
    assert original["id"] == reply.headers["x-driftline-record"]
    assert (copy["version"], original["version"]) == ("v3", "v1")
    apart = {"id", "at", "arm", "version", "latency_ms", "ttft_ms"}
    assert {k: v for k, v in copy.items() if k not in apart} == {
        k: v for k, v in original.items() if k not in apart
    }
    first, second = (one.body for one in stage.engine.asked)
    assert (first.pop("model"), second.pop("model")) == ("support@v1", "support@v3")
    assert first == second
    assert b"top_logprobs" not in reply.content
    assert outcome(stage, "mirrored") == 1


def test_a_slow_shadow_delays_nobody_and_what_finds_no_place_is_counted(
    start: Start, service: StubService
) -> None:
    stage = shadowed(start, service, shadow_requests=2)
    shadows = stage.engine.held["support@v3"] = threading.Event()
    with stage.client() as client:
        for _ in range(6):
            ask(client)  # answered, while no copy is
    shadows.set()
    assert len(of(service, "stable", 6)) == 6
    assert len(of(service, "shadow", 2)) == 2
    assert (outcome(stage, "mirrored"), outcome(stage, "dropped")) == (2, 4)


def test_a_shadow_that_fails_is_a_record_and_is_not_asked_again(
    start: Start, service: StubService
) -> None:
    stage = shadowed(start, service)
    stage.engine.failures = {"support@v3": deque([503])}
    with stage.client() as client:
        ask(client)
    (copy,) = of(service, "shadow")
    assert copy["status"] == 503
    assert [one.body["model"] for one in stage.engine.asked] == ["support@v1", "support@v3"]


def test_copies_under_way_do_not_hold_up_the_end(start: Start, service: StubService) -> None:
    stage = shadowed(start, service)
    stage.engine.held["support@v3"] = threading.Event()
    engine = stage.engine_urls[0]
    settings = GatewaySettings(upstreams=(engine,), service=stage.service_url)
    with listening(assemble(settings, cache=None)) as other, httpx2.Client(base_url=other) as own:
        until(lambda: "x-driftline-record" in ask(own).headers, "routes and share are learned")
        until(lambda: len(stage.engine.of(CHAT)) > 1, "a copy is under way")
    assert not stage.engine.held["support@v3"].is_set(), "it ended though no copy was answered"


def test_an_expired_route_has_no_shadow() -> None:
    now = datetime.now(UTC)
    (made,) = read_routes(_json(route(stable=1.0, shadow=0.0, valid_for=timedelta(minutes=1))))
    arm = shadow_of(made, now)
    assert arm is not None
    assert arm.version == "v3"
    assert shadow_of(made, now + timedelta(minutes=2)) is None


def test_what_the_canary_answered_is_not_copied(start: Start, service: StubService) -> None:
    stage = shadowed(start, service)
    service.routes = [route(generation=3, stable=0.0, canary=1.0, shadow=0.0)]
    stage.engine.models.add("support@v2")
    until(lambda: stage.metric("driftline_gateway_route_generation") == 3, "the canary's route")
    with stage.client() as client:
        ask(client)
    of(service, "canary")
    assert [one.body["model"] for one in stage.engine.asked] == ["support@v2"]


def _json(made: Any) -> bytes:
    return json.dumps([made], default=str).encode()
