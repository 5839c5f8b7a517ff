"""Spans of clients' requests, under the client's own and above the engine's."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.gateway.conftest import Start, listening, route
from tests.gateway.processes import Site
from tests.gateway.stub_engine import StubEngine
from tests.gateway.test_process import TELLS
from tests.gateway.test_proxy import CHAT, ask, chat
from tests.loopback import Receiver, answer
from tests.tracing.collector import PARENT, TRACEPARENT, address, sent_to, traced


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with Receiver([answer(200)]) as opened:
        yield opened


def test_a_request_is_below_the_clients_span_and_above_the_engines(
    start: Start, collector: Receiver
) -> None:
    headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
    with traced(collector):
        stage = start([route(stable=1.0)])
        assert ask(stage, chat(), headers=headers, params={"q": "never"}).status_code == 200
        assert ask(stage, chat(stream=True)).status_code == 200
    [below, root] = [span for span in sent_to(collector) if "driftline.arm" in span.attributes]
    [given, made] = [one.headers for one in stage.engine.of(CHAT)]
    assert (below.trace, below.parent) == PARENT
    assert given["traceparent"] == f"00-{below.trace}-{below.id}-01"
    assert given["tracestate"] == "vendor=1"
    assert root.parent == ""
    assert made["traceparent"].split("-")[1:3] == [root.trace, root.id]
    assert below.name == "gateway"
    assert below.server
    assert below.attributes == root.attributes
    assert below.attributes == {
        "http.route": CHAT,
        "http.response.status_code": 200,
        "driftline.adapter": "support",
        "driftline.version": "v1",
        "driftline.arm": "stable",
    }
    sent = b"".join(seen.body for seen in collector.seen)
    assert b"When?" not in sent
    assert b"never" not in sent


def test_refusals_and_failures_have_their_status(start: Start, collector: Receiver) -> None:
    with traced(collector):
        stage = start([route(stable=1.0)], engines=0, upstreams=("http://127.0.0.1:9",))
        assert ask(stage, chat()).status_code == 502
        with stage.client() as client:
            assert client.post("/v1/unknown/secret", json={}).status_code == 403
    [failed, refused] = sent_to(collector)
    assert (failed.failed, refused.failed) == (True, False)
    assert failed.attributes == {
        "driftline.adapter": "support",
        "error.type": "502",
        "http.route": CHAT,
        "http.response.status_code": 502,
    }
    assert refused.attributes == {"http.route": "other", "http.response.status_code": 403}


def test_switched_off_the_clients_header_passes_as_it_came(start: Start) -> None:
    stage = start([route(stable=1.0)])
    ask(stage, chat(), headers={"traceparent": TRACEPARENT})
    ask(stage, chat())
    [given, none] = [one.headers for one in stage.engine.of(CHAT)]
    assert given["traceparent"] == TRACEPARENT
    assert "traceparent" not in none


def test_a_process_that_traces_sends_its_last_spans_and_loads_no_database(
    tmp_path: Path, collector: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_SERVICE__TRACES", address(collector))
    with listening(StubEngine(models={"support@v1"}).app()) as engine:
        site = Site(tmp_path, [engine])
        site.command = (sys.executable, "-c", TELLS)
        site.keep(route(stable=1.0))
        with site.gateway(lame_duck="0s") as gateway:
            httpx2.post(f"{gateway.url}{CHAT}", json=chat(), trust_env=False)
            gateway.leave()
            assert gateway.process.wait(20) == 0
    loaded = set(json.loads(gateway.told().splitlines()[-1]))
    assert "opentelemetry.sdk" in loaded
    assert loaded & {"sqlalchemy", "psycopg", "detectors", "scipy", "requests"} == set()
    [span] = [span for span in sent_to(collector) if "driftline.arm" in span.attributes]
    assert span.resource["driftline.role"] == "gateway"
