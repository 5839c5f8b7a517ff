"""Write spans as OTLP's JSON has them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any


def request_of(spans: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def otlp_span(
    attributes: Mapping[str, Any], *, at: datetime, name: str = "b7ad6b7169203331"
) -> dict[str, Any]:
    """Write a span of 12.5 ms."""
    began = int(at.timestamp() * 1e6) * 1_000
    return {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": name,
        "startTimeUnixNano": str(began),
        "endTimeUnixNano": str(began + 12_500_000),
        "attributes": [{"key": name, "value": _value(one)} for name, one in attributes.items()],
    }


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case str():
            return {"stringValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"arrayValue": {"values": [_value(one) for one in value]}}
