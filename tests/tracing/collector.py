"""A collector of OpenTelemetry on the loopback, and the spans that it was sent."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor import tracing
from tests.loopback import LOOPBACK, Receiver

PARENT = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
"""Trace and span of a client, from the example of W3C's Trace Context."""
TRACEPARENT = f"00-{'-'.join(PARENT)}-01"
INSIDE = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))


@dataclass(frozen=True, kw_only=True)
class SentSpan:
    """A span as it was sent; ``parent`` is empty for a root."""

    name: str
    trace: str
    id: str
    parent: str
    server: bool
    failed: bool
    attributes: Mapping[str, object]
    resource: Mapping[str, object]


def address(collector: Receiver) -> str:
    return f"http://127.0.0.1:{collector.port}"


@contextmanager
def traced(collector: Receiver) -> Iterator[None]:
    """Trace in this process until the body ends."""
    tracing.start(address(collector), role="all", client=INSIDE)
    try:
        yield
    finally:
        tracing.stop(10.0)


def sent_to(collector: Receiver) -> list[SentSpan]:
    """Read back all spans, in the order in which they came."""
    return [
        SentSpan(
            name=span.name,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            server=span.kind == Span.SPAN_KIND_SERVER,
            failed=span.status.code == Status.STATUS_CODE_ERROR,
            attributes=_plain(span.attributes),
            resource=_plain(batch.resource.attributes),
        )
        for seen in list(collector.seen)
        for batch in ExportTraceServiceRequest.FromString(seen.body).resource_spans
        for scope in batch.scope_spans
        for span in scope.spans
    ]


def _plain(attributes: Iterable[KeyValue]) -> dict[str, object]:
    return {
        one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value")
        for one in attributes
    }
