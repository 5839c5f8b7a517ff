"""Spans: whose children they are, what they say and do not say, and a collector that fails."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from monitor import tracing
from monitor.config.loading import parse
from monitor.daemon.parts import router_of
from monitor.domain import Arm, ArmKind, Route, Version
from monitor.store.database import Database
from monitor.tracing import exporting
from monitor.traffic.routers import TracedRouter
from monitor.traffic.routers.contract import RouterFailed
from tests.loopback import Receiver, answer, drip_head, unused_port
from tests.service import ROOT, until
from tests.tracing.collector import INSIDE, PARENT, TRACEPARENT, address, sent_to, traced


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with Receiver([answer(200)]) as opened:
        yield opened


def test_switched_off_nothing_happens() -> None:
    headers = [(b"traceparent", TRACEPARENT.encode())]
    with tracing.request("a", headers), tracing.span("b", kind="x"):
        tracing.note("c", status=500)
        assert tracing.traceparent() is None
    assert not tracing.active()
    tracing.stop(1.0)


def test_work_inside_of_work_is_its_child(collector: Receiver) -> None:
    with traced(collector):
        with tracing.span("evaluation", kind="live"):
            with tracing.span("probe", adapter="support"):
                tracing.note(outcome="done", status=None)
            tracing.note(verdict="healthy")
        with tracing.span("delivery"):
            pass
    probe, evaluation, delivery = sent_to(collector)
    assert (probe.trace, probe.parent) == (evaluation.trace, evaluation.id)
    assert (evaluation.parent, delivery.parent) == ("", "")
    assert delivery.trace != evaluation.trace
    assert evaluation.attributes == {"driftline.kind": "live", "driftline.verdict": "healthy"}
    assert probe.attributes == {"driftline.adapter": "support", "driftline.outcome": "done"}
    assert evaluation.resource == {
        "service.name": "driftline",
        "service.version": version("driftline"),
        "driftline.role": "all",
    }
    [seen] = collector.seen
    assert (seen.method, seen.path) == ("POST", "/v1/traces")
    assert seen.headers["content-type"] == "application/x-protobuf"


@pytest.mark.parametrize(
    ("given", "parent"),
    [
        (TRACEPARENT, PARENT),
        ("", None),
        ("00-nonsense", None),
        (f"{TRACEPARENT[:2]}{'0' * 600}", None),
    ],
)
def test_a_request_is_a_child_of_the_span_that_its_headers_name(
    collector: Receiver, given: str, parent: tuple[str, str] | None
) -> None:
    headers = [(b"traceparent", given.encode()), (b"accept", b"\xff")]
    with (
        traced(collector),
        tracing.span("of the request before"),
        tracing.request("request", headers),
    ):
        tracing.note("GET /scores", method="GET", route="/scores", status=200)
        carried = tracing.traceparent()
    span, before = sent_to(collector)
    assert span.server
    assert span.name == "GET /scores"
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/scores",
        "http.response.status_code": 200,
    }
    assert span.trace != before.trace
    assert carried is not None
    assert carried.split("-")[1:3] == [span.trace, span.id]
    if parent is None:
        assert span.parent == ""
    else:
        assert (span.trace, span.parent) == parent


def test_what_a_client_does_not_sample_is_not_sent_and_stays_unsampled(collector: Receiver) -> None:
    unsampled = f"{TRACEPARENT[:-2]}00"
    with traced(collector), tracing.request("request", [(b"traceparent", unsampled.encode())]):
        tracing.note("GET /scores", status=500)
        with tracing.span("inside"):
            carried = tracing.traceparent()
    assert sent_to(collector) == []
    assert carried is not None
    assert carried.split("-")[1] == PARENT[0]
    assert carried.endswith("-00")


def test_an_error_is_named_and_its_text_is_not_sent(collector: Receiver) -> None:
    with traced(collector):
        with pytest.raises(ValueError, match="prompt"), tracing.span("raised"):
            raise ValueError("a prompt")
        for status in (404, 503):
            with tracing.request(str(status), []):
                tracing.note(status=status)
    raised, refused, failed = sent_to(collector)
    assert (raised.failed, refused.failed, failed.failed) == (True, False, True)
    assert raised.attributes == {"error.type": "ValueError"}
    assert failed.attributes["error.type"] == "503"
    assert b"prompt" not in b"".join(seen.body for seen in collector.seen)


def test_the_environment_decides_neither_what_is_sent_nor_where(
    collector: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as elsewhere:
        for name, value in {
            "HTTP_PROXY": address(elsewhere),
            "ALL_PROXY": address(elsewhere),
            "OTEL_EXPORTER_OTLP_ENDPOINT": address(elsewhere),
            "OTEL_EXPORTER_OTLP_HEADERS": "x-more=1",
            "OTEL_BSP_SCHEDULE_DELAY": "soon",
            "OTEL_RESOURCE_ATTRIBUTES": "x.more=1",
            "OTEL_SERVICE_NAME": "else",
            "OTEL_TRACES_SAMPLER": "always_off",
            "OTEL_ATTRIBUTE_COUNT_LIMIT": "0",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0",
        }.items():
            monkeypatch.setenv(name, value)
        with traced(collector), tracing.span("evaluation", kind="hard"):
            pass
        assert elsewhere.connections == 0
    [span] = sent_to(collector)
    assert span.attributes["driftline.kind"] == "hard"
    assert span.resource["service.name"] == "driftline"
    assert "x.more" not in span.resource
    assert "x-more" not in collector.seen[0].headers


def _came(collector: Receiver, batches: int) -> bool:
    return len(collector.seen) == batches


def test_a_collector_that_fails_disturbs_nobody_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporting, "EVERY_MS", 20)
    moved = answer(307, headers={"location": f"http://127.0.0.1:{unused_port()}/"})
    with (
        Receiver([answer(503), moved, answer(200)]) as collector,
        capture_logs() as logs,
        traced(collector),
    ):
        for number in range(1, 4):
            with tracing.span("evaluation"):
                pass
            until(partial(_came, collector, number), "a batch")
    assert [(one["event"], one.get("reason")) for one in logs] == [
        ("traces_not_taken", "the collector answered 503"),
        ("traces_taken_again", None),
    ]


def test_a_collector_that_hangs_holds_up_the_end_no_longer_than_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporting, "EVERY_MS", 20)
    monkeypatch.setattr(exporting, "TIMEOUT", 600.0)
    with Receiver([drip_head()]) as collector:
        tracing.start(address(collector), role="all", client=INSIDE)
        with tracing.span("evaluation"):
            pass
        until(lambda: collector.connections, "a batch")
        tracing.stop(0.2)
        assert not collector.hung_up.is_set(), "the batch is still under way"


WITHOUT = """
import sys
sys.modules["opentelemetry.sdk"] = sys.modules["opentelemetry.exporter"] = None
from monitor.cli import main
main()
"""


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_without_the_extra_both_commands_say_what_to_install(command: str, tmp_path: Path) -> None:
    environ = {
        "PYTHONPATH": str(ROOT),
        "DRIFTLINE_SERVICE__DATA_DIR": str(tmp_path / "data"),
        "DRIFTLINE_SERVICE__TRACES": "http://127.0.0.1:4318",
        "DRIFTLINE_SERVING__ENGINES": '["http://127.0.0.1:9"]',
    }
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT, command],
        cwd=tmp_path,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == (
        "driftline: service.traces: OpenTelemetry is not installed: pip install 'driftline[traces]'"
    )
    assert "Traceback" not in ran.stderr


class Told:
    """A router that takes the first route and no other."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def prepare(self, versions: Sequence[Version]) -> None:
        del versions

    def apply(self, route: Route) -> None:
        if self.routes:
            raise RouterFailed("a secret of the router")
        self.routes.append(route)

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        del adapter
        return self.routes[-1].arms if self.routes else None


def test_a_router_that_is_told_a_route_has_a_span_of_it(collector: Receiver) -> None:
    told = Route(
        adapter="support",
        generation=7,
        arms=(Arm(arm=ArmKind.STABLE, version="v1", model="support@v1", weight=1.0),),
        reason="a test",
        since=datetime.now(UTC),
    )
    router = TracedRouter(Told(), kind="webhook")
    with traced(collector):
        router.prepare([])
        router.apply(told)
        with pytest.raises(RouterFailed):
            router.apply(told)
        assert router.read_back("support") == told.arms
    first, second = sent_to(collector)
    about = {
        "driftline.router": "webhook",
        "driftline.adapter": "support",
        "driftline.generation": 7,
    }
    assert first.attributes == about | {"driftline.outcome": "told"}
    assert second.attributes == about | {"error.type": "RouterFailed"}
    assert (first.failed, second.failed) == (False, True)


def test_routers_are_traced_where_a_collector_is_named(database: Database) -> None:
    for url, wanted in (("", False), ("http://collector:4318", True)):
        config = parse({"service": {"traces": url}}, source="test", environ={})
        assert isinstance(router_of(config, database), TracedRouter) == wanted
