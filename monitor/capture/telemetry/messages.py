"""OTLP's messages in protobuf; loaded with the first that comes, since they take 2 MB."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2


def span(body: bytes) -> Any:
    """Decode a span; raises ``ValueError`` if it is none."""
    try:
        return trace_pb2.Span.FromString(body)
    except DecodeError as error:
        raise ValueError(str(error)) from error


def resource(body: bytes) -> Any:
    """Decode a resource's pairs of key and value; raises ``ValueError`` if it is none."""
    try:
        return Resource.FromString(body).attributes
    except DecodeError as error:
        raise ValueError(str(error)) from error


def value(of: common_pb2.AnyValue) -> Any:
    """Return an attribute's value in plain types."""
    match kind := of.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [value(one) for one in of.array_value.values]
        case "kvlist_value":
            return {one.key: value(one.value) for one in of.kvlist_value.values}
        case _:
            return getattr(of, kind)


def answer(*, rejected: int, message: str) -> bytes:
    """Encode the answer; without a message all is well."""
    partly = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    reply = ExportTraceServiceResponse(partial_success=partly if message else None)
    return bytes(reply.SerializeToString())
