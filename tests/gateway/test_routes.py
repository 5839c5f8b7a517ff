"""Routes reach the gateway at once, outlive the service, and end by themselves."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from monitor.domain import Edition, Route, Scope
from monitor.gateway import routebook
from monitor.gateway.disputes import warning
from monitor.gateway.routebook import RouteBook, read_routes
from monitor.gateway.running import assemble
from monitor.gateway.settings import GatewaySettings
from monitor.store.database import Database
from tests.gateway.conftest import Stage, listening, route
from tests.gateway.stub_engine import StubEngine
from tests.service import until
from tests.serving import Serving, serving

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@contextmanager
def gateway(service: Serving, engine: StubEngine, cache: Path) -> Iterator[Stage]:
    with listening(engine.app()) as engine_url:
        settings = GatewaySettings(upstreams=(engine_url,), service=service.url)
        key = cache.with_name("admin.key")
        with listening(assemble(settings, cache=cache, key_file=key)) as url:
            key.write_text(service.keys[Scope.ADMIN])  # as a service that starts later does
            yield Stage(url=url, engines=[engine])


def arm(stage: Stage, user: str = "u") -> str | None:
    with stage.client() as client:
        body = {"model": "support", "messages": [], "user": user}
        return client.post("/v1/chat/completions", json=body).headers.get("x-driftline-arm")


def ready(stage: Stage) -> bool:
    with stage.client() as client:
        return bool(client.get("/readyz").is_success)


def put(client: httpx2.Client, *, valid_for: timedelta | None = None, **weights: float) -> None:
    versions = {"stable": "v1", "canary": "v2"}
    body = {
        "arms": [
            {"arm": arm, "version": versions[arm], "weight": weight}
            for arm, weight in weights.items()
        ],
        "reason": "a test",
        "valid_until": valid_for and (datetime.now(UTC) + valid_for).isoformat(),
    }
    tag = client.get("/v1/routes/support").headers["etag"]
    client.put("/v1/routes/support", json=body, headers={"if-match": tag}).raise_for_status()


def test_every_flip_is_seen_and_a_canary_ends_without_the_service(
    database: Database, tmp_path: Path
) -> None:
    engine = StubEngine(models={"support@v1", "support@v2"})
    cache = tmp_path / "routes.json"
    with (
        serving(database, tmp_path) as service,
        service.client(Scope.ADMIN) as client,
        gateway(service, engine, cache) as stage,
    ):
        until(lambda: ready(stage), "ready without any route")
        assert arm(stage) is None
        for version in ("v1", "v2"):
            body = {"model": f"support@{version}"}
            client.put(f"/v1/adapters/support/versions/{version}", json=body)
        until(lambda: arm(stage) == "stable", "the first route arrives")
        for turn in range(10):
            wanted: dict[str, Any] = {"stable": float(turn % 2), "canary": float(1 - turn % 2)}
            put(client, **wanted)
            name = max(wanted, key=lambda kind: wanted[kind])
            until(lambda name=name: arm(stage) == name, "the flip")  # type: ignore[misc]
        put(client, stable=0.0, canary=1.0, valid_for=timedelta(hours=1))
        until(lambda: arm(stage) == "canary", "the canary")
    # the gateway was stopped first, the service went after it
    (kept,) = json.loads(cache.read_text())
    assert datetime.fromisoformat(kept["valid_until"]) > datetime.now(UTC)
    kept["valid_until"] = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    cache.write_text(json.dumps([kept]))
    with gateway(service, engine, cache) as stage:
        assert arm(stage) == "canary"  # kept on disk
        assert stage.metric("driftline_gateway_routes_timestamp_seconds") == 0
        until(lambda: arm(stage) == "stable", "it expires with everything else gone", patience=20)
        assert ready(stage)


@pytest.mark.parametrize("off", [timedelta(days=-120), timedelta(days=120)])
def test_routes_end_by_the_services_time_and_not_by_the_gateways(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    """Before, 120 days ahead no canary had a share, and 120 days behind none ever ended."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + off

    monkeypatch.setattr(routebook, "datetime", Wrong)
    engine = StubEngine(models={"support@v1", "support@v2"})
    with (
        serving(database, tmp_path) as service,
        service.client(Scope.ADMIN) as client,
        gateway(service, engine, tmp_path / "routes.json") as stage,
    ):
        for version in ("v1", "v2"):
            body = {"model": f"support@{version}"}
            client.put(f"/v1/adapters/support/versions/{version}", json=body)
        put(client, stable=0.0, canary=1.0, valid_for=timedelta(seconds=6))
        until(lambda: arm(stage) == "canary", "the canary")
        until(lambda: arm(stage) == "stable", "its end", patience=30)


def test_between_two_answers_time_goes_on_by_the_monotonic_clock() -> None:
    passed = 100.0
    book = RouteBook(clock=lambda: NOON, monotonic=lambda: passed)
    assert book.time() == NOON
    book.set_time(NOON + timedelta(days=1))
    passed += 60
    assert book.time() == NOON + timedelta(days=1, minutes=1)


def test_an_older_generation_changes_nothing() -> None:
    book = RouteBook()
    assert book.update(_read([route(canary=1.0, generation=7)]))
    assert not book.update(_read([route(stable=1.0, generation=6)]))
    assert book.find("support").arms[0].arm == "canary"  # type: ignore[union-attr]


def told(generation: int, epoch: int | None = None, **weights: Any) -> tuple[Route, ...]:
    document = route(generation=generation, **weights)
    return _read([document if epoch is None else document | {"epoch": epoch}])


def test_a_restored_table_counts_and_the_lost_one_does_not_come_back(tmp_path: Path) -> None:
    cache = tmp_path / "routes.json"
    book = RouteBook(cache)
    book.update(told(7, 10, canary=1.0))
    assert book.update(told(1, 11, stable=1.0))
    assert not book.refused
    assert not book.update(told(8, 10, canary=1.0))  # the old database's service goes on
    assert list(book.refused) == ["support"]
    kept = RouteBook(cache)
    kept.load()
    for one in (book, kept):
        (held,) = one.routes
        assert (held.edition, held.arms[0].arm) == (Edition(11, 1), "stable")


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=12))
def test_in_whatever_order_routes_are_told_the_newest_is_gone_by(
    editions: list[tuple[int, int]],
) -> None:
    book = RouteBook()
    for epoch, generation in editions:
        book.update(told(generation, epoch, stable=1.0))
    assert [one.edition for one in book.routes] == [Edition(*max(editions))]


def test_what_is_refused_is_counted_until_it_is_no_longer_told() -> None:
    book = RouteBook()
    first = told(4, 10, canary=1.0)
    book.update(first)
    book.update(first)
    assert not book.refused
    assert warning(book) is None
    book.update(told(1, 10, stable=1.0))
    assert warning(book) == (
        "refuses 1 route that the service tells: driftline_gateway_route_refused names them,"
        " and the log says why"
    )
    book.update(told(4, 10, stable=1.0))
    assert book.refused  # the same numbers, and something else
    book.update(told(5, 10, stable=1.0))
    assert not book.refused


def test_an_adapter_that_a_restored_table_lacks_is_served_on_and_named_once() -> None:
    book = RouteBook()
    book.update(told(3, 10, stable=1.0))
    restored = (replace(told(1, 11, stable=1.0)[0], adapter="tax"),)
    with capture_logs() as logs:
        for _ in range(3):
            book.update(restored)
    assert {route.adapter for route in book.routes} == {"support", "tax"}
    named = [one["adapters"] for one in logs if one["event"] == "routes_unknown_to_the_service"]
    assert named == [["support"]]


def test_a_service_of_before_and_one_of_now_may_take_turns() -> None:
    book = RouteBook()
    book.update(told(3, None, canary=1.0))  # kept by a gateway of before
    assert book.update(told(1, 10, stable=1.0))
    for generation, epoch in ((2, None), (3, 10), (4, None)):
        assert book.update(told(generation, epoch, stable=1.0))
    assert [one.edition for one in book.routes] == [Edition(10, 4)]


@pytest.mark.parametrize(
    "kept",
    [b"", b"{}", b"\xff\xfe", b'[{"adapter": "support"}]', json.dumps([route()]).encode()],
    ids=["empty", "another shape", "no text", "half a route", "no arms"],
)
def test_a_damaged_file_of_routes_is_left_behind(tmp_path: Path, kept: bytes) -> None:
    cache = tmp_path / "routes.json"
    cache.write_bytes(kept)
    book = RouteBook(cache)
    book.load()
    assert len(book) == 0
    assert book.update(_read([route(stable=1.0)]))
    again = RouteBook(cache)
    again.load()
    assert again.routes == book.routes
    assert [path.name for path in tmp_path.iterdir()] == ["routes.json"]


def _read(routes: list[object]) -> tuple[Route, ...]:
    return read_routes(json.dumps(routes).encode())
