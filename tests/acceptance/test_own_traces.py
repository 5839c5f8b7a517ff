"""What a service tells a collector of its own work: requests, an evaluation, a probe, a message."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inbox import Inbox
from tests.loopback import Receiver, answer
from tests.probes.fake_engine import FakeEngine, serving
from tests.service import Talk, baseline, running, until
from tests.tracing.collector import PARENT, TRACEPARENT, SentSpan, address, sent_to

TEXT = b"friendly answer"
"""In each of the records."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with Receiver([answer(200)]) as opened:
        yield opened


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory, collector: Receiver) -> list[SentSpan]:
    """Run a service until a page is delivered; OpenTelemetry's own settings name somebody else."""
    folder: Path = tmp_path_factory.mktemp("service")
    talk = Talk("support")
    with (
        Receiver() as elsewhere,
        Inbox() as inbox,
        serving(FakeEngine()) as engine,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address(elsewhere))
        patch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
        changes = {"service.traces": address(collector), "serving.engines": f'["{engine}"]'}
        with running(folder, inbox=inbox, changes=changes) as service:
            service.register("support", "v7", base_model="base")
            service.upload("support", "v7", baseline(350))

            def paged() -> bool:
                service.send(talk.records(30, shift=3.0))
                return any(one.alert["severity"] == "page" for one in inbox.messages)

            until(paged, "a page")
            headers = {"traceparent": TRACEPARENT}
            service.call("GET", "/v1/adapters/support?q=never", headers=headers)
            until(lambda: named(sent_to(collector), "probe"), "a probe")
            service.terminate()
            key = service.key.encode()
        assert elsewhere.connections == 0
    sent = b"".join(seen.body for seen in collector.seen)
    assert all(secret not in sent for secret in (TEXT, key, inbox.secret.encode(), b"never"))
    return sent_to(collector)


def named(spans: list[SentSpan], name: str) -> list[SentSpan]:
    return [span for span in spans if span.name == name]


def test_each_request_is_named_by_its_route(spans: list[SentSpan]) -> None:
    [*_, records] = named(spans, "POST /records")
    assert records.server
    assert records.attributes == {
        "http.request.method": "POST",
        "http.route": "/records",
        "http.response.status_code": 202,
    }
    assert not any("livez" in span.name or "readyz" in span.name for span in spans)


def test_a_request_is_a_child_of_its_callers_span(spans: list[SentSpan]) -> None:
    [span] = [span for span in spans if span.trace == PARENT[0]]
    assert (span.name, span.parent) == ("GET /adapters/{adapter}", PARENT[1])


def test_an_evaluation_says_what_it_judged_and_how(spans: list[SentSpan]) -> None:
    critical = {
        "driftline.kind": "live",
        "driftline.adapter": "support",
        "driftline.version": "v7",
        "driftline.verdict": "critical",
        "driftline.outcome": "done",
    }
    found = [span for span in named(spans, "evaluation") if span.attributes == critical]
    assert found
    assert {span.parent for span in found} == {""}
    assert found[0].resource["driftline.role"] == "all"


def test_a_probe_is_inside_of_its_evaluation(spans: list[SentSpan]) -> None:
    [probe, *_] = named(spans, "probe")
    [evaluation] = [span for span in spans if span.id == probe.parent]
    assert evaluation.name == "evaluation"
    assert evaluation.trace == probe.trace
    assert evaluation.attributes["driftline.kind"] == "perplexity"
    assert probe.attributes["driftline.adapter"] == "support"
    assert probe.attributes["driftline.outcome"] in {"done", "stopped"}


def test_a_message_says_where_it_went_and_what_became_of_it(spans: list[SentSpan]) -> None:
    [delivery, *_] = named(spans, "delivery")
    assert delivery.parent == ""
    assert isinstance(delivery.attributes["driftline.incident"], int)
    assert {
        "driftline.channel": "on-call",
        "driftline.kind": "drift",
        "driftline.outcome": "delivered",
        "driftline.attempt": 1,
        "http.response.status_code": 204,
    }.items() <= delivery.attributes.items()
