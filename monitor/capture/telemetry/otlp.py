"""Take a request of OTLP/HTTP apart into spans, one by one, in protobuf or JSON.

The envelope is walked by hand, so that a span that cannot be decoded is named and does not affect
the others: the library decodes all or nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import ModuleType
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw, Struct

from monitor.capture.errors import Malformed, TooLarge, Unsupported
from monitor.capture.parse import Rejected
from monitor.capture.surrogates import whole

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

MOST_SPANS: Final = 50_000
"""Of one request; a Collector's batch has 8,192 by default."""

_UNREADABLE: Final = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
_FAILED: Final = frozenset({2, "STATUS_CODE_ERROR"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SpanEvent(NamedTuple):
    """Something that happened during a span."""

    name: str
    at: datetime
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span in plain values; ``attributes`` are its resource's, and its own over them."""

    id: str
    start: datetime
    end: datetime
    attributes: Mapping[str, Any]
    events: tuple[SpanEvent, ...] = ()
    failed: bool = False
    message: str = ""


def spans(body: bytes, *, content_type: str) -> Iterator[Span | Rejected]:
    """Read a plain body's spans in order; a span that is broken comes as rejected.

    Raises ``Malformed`` if the spans cannot be separated, ``TooLarge`` for more than 50,000, and
    ``Unsupported`` for another content type.
    """
    kind = kind_of(content_type)
    if kind not in {PROTOBUF, JSON}:
        raise Unsupported(f"content type {kind[:60]!r} is not read; use {PROTOBUF} or {JSON}")
    found = _of_json(body) if kind == JSON else _of_protobuf(body)
    for index, read in enumerate(found):
        if index >= MOST_SPANS:
            raise TooLarge(f"more than {MOST_SPANS} spans in one request")
        try:
            yield read()
        except _UNREADABLE as error:
            why = str(error)[:200] or type(error).__name__
            yield Rejected(index=index, error=f"spans[{index}]: cannot be decoded: {why}")


def kind_of(content_type: str) -> str:
    """Return a content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def answer(*, rejected: int, message: str, content_type: str) -> bytes:
    """Write the answer in the encoding of the request; without a message all is well."""
    if kind_of(content_type) == JSON:
        partial = {"rejectedSpans": str(rejected), "errorMessage": message}
        return json.dumps({"partialSuccess": partial} if message else {}).encode()
    return bytes(_messages().answer(rejected=rejected, message=message))


# --- protobuf ------------------------------------------------------------------------------


def _messages() -> ModuleType:
    from monitor.capture.telemetry import messages  # noqa: PLC0415 (2 MB that few need)

    return messages


def _of_protobuf(body: bytes) -> Iterator[Callable[[], Span]]:
    for resource_spans in _parts(memoryview(body), 1):
        around = _resource(resource_spans)
        for scope_spans in _parts(resource_spans, 2):
            for one in _parts(scope_spans, 2):
                yield partial(_protobuf_span, one, around)


def _parts(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Yield every embedded message of one field; see protobuf's wire format."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        match key & 7:
            case 0:
                _, place = _varint(message, place)
            case 1:
                place += 8
            case 2:
                size, place = _varint(message, place)
                begin, place = place, place + size
                if place <= len(message) and key >> 3 == wanted:
                    yield message[begin:place]
            case 5:
                place += 4
            case kind:
                raise Malformed(f"the body is no protobuf: wire type {kind}")
    if place != len(message):
        raise Malformed("the protobuf body ends too early")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise Malformed("the protobuf body ends too early")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 (the last byte has no high bit)
            return value, place
    raise Malformed("the body is no protobuf: a number has too many bytes")


def _resource(resource_spans: memoryview) -> Mapping[str, Any]:
    """Return a resource's attributes; none if they cannot be decoded, since spans stand alone."""
    found: dict[str, Any] = {}
    for one in _parts(resource_spans, 1):
        with suppress(*_UNREADABLE):
            found |= _pairs(_messages().resource(bytes(one)), _messages().value)
    return found


def _protobuf_span(message: memoryview, around: Mapping[str, Any]) -> Span:
    raw = _messages().span(bytes(message))
    name = f"{raw.trace_id.hex()}-{raw.span_id.hex()}"
    return _span(raw, name, around, _messages().value)


# --- JSON ----------------------------------------------------------------------------------


class _Json(Struct, rename="camel"):
    """The base of OTLP's JSON: names in camel case, unknown ones ignored."""


class _AnyValue(_Json):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    array_value: _Array | None = None
    kvlist_value: _KeyValues | None = None
    bytes_value: bytes | None = None


class _Array(_Json):
    values: list[_AnyValue] = []


class _KeyValue(_Json):
    key: str = ""
    value: _AnyValue | None = None


class _KeyValues(_Json):
    values: list[_KeyValue] = []


class _JsonResource(_Json):
    attributes: list[_KeyValue] = []


class _JsonEvent(_Json):
    name: str = ""
    time_unix_nano: int | str = 0
    attributes: list[_KeyValue] = []


class _JsonStatus(_Json):
    code: int | str = 0
    message: str = ""


class _JsonSpan(_Json):
    trace_id: str = ""
    span_id: str = ""
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[_KeyValue] = []
    events: list[_JsonEvent] = []
    status: _JsonStatus = msgspec.field(default_factory=_JsonStatus)


class _ScopeSpans(_Json):
    spans: list[Raw] = []


class _ResourceSpans(_Json):
    resource: Raw = Raw(b"{}")
    scope_spans: list[_ScopeSpans] = []


class _Request(_Json):
    resource_spans: list[_ResourceSpans] = []


_REQUEST: Final = msgspec.json.Decoder(_Request)
_RESOURCE: Final = msgspec.json.Decoder(_JsonResource)
_SPAN: Final = msgspec.json.Decoder(_JsonSpan)


def _of_json(body: bytes) -> Iterator[Callable[[], Span]]:
    try:
        request = _json_request(body)
    except _UNREADABLE as error:
        raise Malformed(f"the body is no OTLP in JSON: {error}"[:300]) from error
    for part in request.resource_spans:
        around: Mapping[str, Any] = {}
        with suppress(*_UNREADABLE):
            around = _pairs(_RESOURCE.decode(part.resource).attributes, _json_value)
        for scope in part.scope_spans:
            for one in scope.spans:
                yield partial(_json_span, one, around)


def _json_request(body: bytes) -> _Request:
    try:
        return _REQUEST.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:  # perhaps as Python writes JSON: halves of characters, NaN
        return _REQUEST.decode(msgspec.json.encode(whole(json.loads(body))))


def _json_span(given: Raw, around: Mapping[str, Any]) -> Span:
    raw = _SPAN.decode(given)
    return _span(raw, f"{raw.trace_id}-{raw.span_id}".lower(), around, _json_value)


def _json_value(value: _AnyValue | None) -> Any:
    if value is None:
        return None
    if value.int_value is not None:
        return int(value.int_value)
    if value.double_value is not None:
        return float(value.double_value)
    if value.array_value is not None:
        return [_json_value(one) for one in value.array_value.values]
    if value.kvlist_value is not None:
        return _pairs(value.kvlist_value.values, _json_value)
    return next(
        (
            one
            for one in (value.string_value, value.bool_value, value.bytes_value)
            if one is not None
        ),
        None,
    )


# --- either --------------------------------------------------------------------------------


def _span(raw: Any, name: str, around: Mapping[str, Any], plain: Callable[[Any], Any]) -> Span:
    """Read a span; both encodings name their fields alike."""
    return Span(
        id=name,
        start=_moment(raw.start_time_unix_nano),
        end=_moment(raw.end_time_unix_nano),
        attributes={**around, **_pairs(raw.attributes, plain)},
        events=tuple(
            SpanEvent(one.name, _moment(one.time_unix_nano), _pairs(one.attributes, plain))
            for one in raw.events
        ),
        failed=raw.status.code in _FAILED,
        message=raw.status.message,
    )


def _pairs(pairs: Iterable[Any], plain: Callable[[Any], Any]) -> dict[str, Any]:
    return {pair.key: plain(pair.value) for pair in pairs}


def _moment(nanoseconds: int | str) -> datetime:
    return _EPOCH + timedelta(microseconds=int(nanoseconds) // 1_000)
