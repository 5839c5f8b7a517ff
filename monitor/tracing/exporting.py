"""Open spans with OpenTelemetry's SDK, and send them by the house's own client.

The SDK's exporter over HTTP would obey proxies and ``OTEL_EXPORTER_*`` of the environment, and
follow redirects. So only its encoding is used. Nothing that decides what is sent, or where, is
left to the environment.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType, TracebackType
from typing import Final, Self

import structlog
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import DEFAULT_ON
from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from alerts.outgoing import OutgoingClient, OutgoingError

_LOG: Final = structlog.get_logger(__name__)

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "error": "error.type",
        "method": "http.request.method",
        "route": "http.route",
        "status": "http.response.status_code",
    }
)
"""Names of OpenTelemetry's conventions; other attributes are named ``driftline.…``."""

QUEUE: Final = 2048
"""Spans that may wait; the oldest make room for more."""
BATCH: Final = 512
EVERY_MS: Final = 2000
TIMEOUT: Final = 5.0
"""Seconds for one batch."""

_PATH: Final = "/v1/traces"
_PROTOBUF: Final = MappingProxyType({"content-type": "application/x-protobuf"})
_SUCCESSES: Final = range(200, 300)
_FAILURES: Final = 500
_CONTEXT: Final = TraceContextTextMapPropagator()
_CARRIED: Final = MappingProxyType({b"traceparent": "traceparent"})
"""The SDK would log what it cannot read of a ``tracestate``, with the client's words."""
_LIMITS: Final = SpanLimits(
    max_attributes=32,
    max_span_attributes=32,
    max_event_attributes=32,
    max_link_attributes=32,
    max_events=32,
    max_links=32,
    max_attribute_length=SpanLimits.UNSET,
    max_span_attribute_length=SpanLimits.UNSET,
)
"""Given whole: what is not given, the SDK reads from the environment."""
_LONGEST: Final = 512
"""Bytes of a header; the SDK would log each longer one."""


class Tracing:
    """The spans of one process."""

    def __init__(self, url: str, *, role: str, client: OutgoingClient) -> None:
        own = version("driftline")
        self._provider = TracerProvider(
            sampler=DEFAULT_ON,
            resource=Resource(
                {"service.name": "driftline", "service.version": own, "driftline.role": role}
            ),
            span_limits=_LIMITS,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                _Exporter(f"{url.rstrip('/').removesuffix(_PATH)}{_PATH}", client),
                max_queue_size=QUEUE,
                schedule_delay_millis=EVERY_MS,
                max_export_batch_size=BATCH,
                export_timeout_millis=1e3 * TIMEOUT,
            )
        )
        self._tracer = self._provider.get_tracer("driftline", own)

    def stop(self, seconds: float) -> None:
        """Send what waits, for at most ``seconds``."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(seconds)

    def span(self, name: str, attributes: Mapping[str, str | int | None]) -> _OpenSpan:
        """Open a span under the one that is open."""
        opened = self._tracer.start_span(name)
        _note(opened, attributes)
        return _OpenSpan(opened)

    def request(self, name: str, headers: Iterable[tuple[bytes, bytes]]) -> _OpenSpan:
        """Open a span under the one that the headers name, if any."""
        given = {
            _CARRIED[key]: value.decode("latin-1")
            for key, value in headers
            if key in _CARRIED and len(value) <= _LONGEST
        }
        # a pipelined request begins in the context of the one before it, which is no parent
        parent = _CONTEXT.extract(given, context=Context())
        return _OpenSpan(self._tracer.start_span(name, context=parent, kind=SpanKind.SERVER))

    def note(self, name: str, attributes: Mapping[str, str | int | None]) -> None:
        """Add attributes to the open span."""
        opened = get_current_span()
        if not opened.is_recording():  # it has ended, or its parent is not recorded
            return
        if name:
            opened.update_name(name)
        _note(opened, attributes)

    def traceparent(self) -> str | None:
        """Return the open span as a header."""
        carried: dict[str, str] = {}
        _CONTEXT.inject(carried)
        return carried.get("traceparent")


def _note(opened: Span, attributes: Mapping[str, str | int | None]) -> None:
    status = attributes.get("status")
    if isinstance(status, int) and status >= _FAILURES:
        attributes = {"error": str(status), **attributes}
    for name, value in attributes.items():
        if value not in {None, ""}:
            opened.set_attribute(NAMES.get(name, f"driftline.{name}"), value)
    if "error" in attributes:
        opened.set_status(StatusCode.ERROR)


class _OpenSpan:
    """Ends a span; what an error says is not kept, since it may quote a text or a secret."""

    def __init__(self, opened: Span) -> None:
        self._opened = opened

    def __enter__(self) -> Self:
        self._token = attach(set_span_in_context(self._opened))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            _note(self._opened, {"error": kind.__name__})
        self._opened.end()
        detach(self._token)


class _Exporter(SpanExporter):
    """Posts batches; one that the collector does not take is lost, and only the first is logged."""

    def __init__(self, url: str, client: OutgoingClient) -> None:
        self._url = url
        self._client = client
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        reason = self._refused(encode_spans(spans).SerializeToString())
        if reason and not self._failing:
            _LOG.warning("traces_not_taken", reason=reason)
        elif self._failing and not reason:
            _LOG.info("traces_taken_again")
        self._failing = bool(reason)
        return SpanExportResult.FAILURE if reason else SpanExportResult.SUCCESS

    def _refused(self, body: bytes) -> str:
        """Return why a batch was not taken; empty if it was."""
        try:
            reply = self._client.post(self._url, body=body, headers=_PROTOBUF, timeout=TIMEOUT)
        except OutgoingError as error:
            return str(error)
        return "" if reply.status in _SUCCESSES else f"the collector answered {reply.status}"
