"""Spans become records, whatever instrumentation wrote them."""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import fields as fields_of
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from monitor.capture.errors import Malformed, TooLarge, Unsupported
from monitor.capture.parse import Rejected
from monitor.capture.telemetry import otlp
from monitor.capture.telemetry.calls import call_of
from monitor.capture.telemetry.conventions import CONVENTIONS, EVERY, Convention
from monitor.capture.telemetry.names import TelemetrySettings
from monitor.capture.telemetry.otlp import JSON, PROTOBUF, Span, SpanEvent
from monitor.capture.telemetry.records import records
from monitor.capture.wire import Record
from tests.capture.spans.writing import otlp_span, request_of

SPANS = Path(__file__).with_name("spans")
RECORDED = ("opentelemetry", "openllmetry", "openinference", "langfuse")
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.response.model": "support@v7"}


def read(body: bytes, *, kind: str = JSON, known: str = "") -> list[tuple[int, Record] | Rejected]:
    found = records(
        body, content_type=kind, settings=TelemetrySettings(), is_adapter=known.split().__contains__
    )
    return list(found)


def only(found: list[tuple[int, Record] | Rejected]) -> tuple[int, Record]:
    """The one record that was made."""
    (one,) = found
    assert not isinstance(one, Rejected), one
    return one


def span(events: tuple[SpanEvent, ...] = (), **more: Any) -> Span:
    attributes = more.pop("attributes", {})
    end = AT + timedelta(milliseconds=12.5)
    return Span(id="s", start=AT, end=end, attributes=attributes, events=events, **more)


def fields(attributes: Mapping[str, Any], *events: SpanEvent, **more: Any) -> dict[str, Any]:
    call = call_of(span(attributes=CHAT | dict(attributes), events=events, **more))
    assert call is not None
    return call.fields


def as_protobuf(body: bytes) -> bytes:
    tree = json.loads(body)
    for resource in tree["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for one in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in one:
                        one[name] = base64.b64encode(bytes.fromhex(one[name])).decode()
    return ParseDict(tree, ExportTraceServiceRequest()).SerializeToString()


# --- real instrumentations -----------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDED)
def test_the_spans_of_real_instrumentations_are_read(name: str) -> None:
    body = (SPANS / f"{name}.json").read_bytes()
    found = read(body)
    assert read(as_protobuf(body), kind=PROTOBUF) == found, "both encodings say the same"
    *answered, failed = [one[1] for one in found if isinstance(one, tuple)]
    assert len(answered) == len(found) - 1
    for record in answered:
        assert (record.adapter, record.version, record.source) == ("support", "v1", "otlp")
        assert (record.temperature, record.max_tokens, record.status) == (0.7, 5, 200)
        assert (record.prompt_tokens, record.output_tokens) == (3, 5)
        assert record.latency_ms is not None
        assert record.latency_ms > 0
    assert (failed.adapter, failed.status, failed.output) == ("nobody", 404, None)


@pytest.mark.parametrize("name", RECORDED[1:])
def test_their_texts_are_the_requests(name: str) -> None:
    found = read((SPANS / f"{name}.json").read_bytes())
    chat, stream, completion, _ = [one[1] for one in found if isinstance(one, tuple)]
    for record, system in ((chat, "be kind"), (stream, "be kind"), (completion, None)):
        assert (record.prompt, record.system) == ("When?", system)
        assert record.output == "On Tuesday, at"
    assert stream.ttft_ms is not None
    assert (chat.ttft_ms, completion.ttft_ms) == (None, None)
    assert stream.finish_reason == "stop"


def test_log_probabilities_come_with_the_engines_own_answer() -> None:
    found = read((SPANS / "openinference.json").read_bytes())
    for _, record in (one for one in found[:3] if isinstance(one, tuple)):
        assert record.token_logprobs is not None
        assert [round(one or 0, 2) for one in record.token_logprobs[:3]] == [-0.2, -0.5, -0.3]
        assert record.top_logprobs is not None
        assert {len(top or ()) for top in record.top_logprobs} == {5}


# --- what conventions write otherwise ------------------------------------------------------


def test_messages_with_numbers_are_read_as_openllmetry_wrote_them() -> None:
    found = fields(
        {
            "llm.request.type": "chat",
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "be kind",
            "gen_ai.prompt.10.role": "user",
            "gen_ai.prompt.10.content": '[{"type": "text", "text": "last"}]',
            "gen_ai.prompt.2.role": "user",
            "gen_ai.prompt.2.content": "first",
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.finish_reason": "stop",
            "gen_ai.usage.prompt_tokens": 11,
            "gen_ai.usage.completion_tokens": 0,
            "traceloop.association.properties.user_id": "u1",
        }
    )
    assert (found["system"], found["prompt"], found["output"]) == ("be kind", "last", "")
    assert (found["prompt_tokens"], found["output_tokens"]) == (11, 0)
    assert (found["finish_reason"], found["subject"]) == ("stop", "u1")


def test_messages_are_read_from_events_too() -> None:
    found = fields(
        {},
        SpanEvent("gen_ai.system.message", AT, {"content": "be kind"}),
        SpanEvent("gen_ai.user.message", AT, {"gen_ai.event.content": '{"content": "When?"}'}),
        SpanEvent("gen_ai.choice", AT, {"finish_reason": "stop", "message": {"content": "Now."}}),
    )
    assert (found["system"], found["prompt"]) == ("be kind", "When?")
    assert (found["output"], found["finish_reason"]) == ("Now.", "stop")
    older = fields(
        {},
        SpanEvent(
            "gen_ai.content.prompt", AT, {"gen_ai.prompt": '[{"role":"user","content":"a"}]'}
        ),
        SpanEvent("gen_ai.content.completion", AT, {"gen_ai.completion": '[{"content":"b"}]'}),
    )
    assert (older["prompt"], older["output"]) == ("a", "b")


def test_an_answer_that_was_not_captured_is_not_an_empty_one() -> None:
    told = {"gen_ai.response.finish_reasons": ["stop"], "gen_ai.output.type": "json"}
    found = fields(told)
    assert "output" not in found
    assert "valid" not in found
    assert found["finish_reason"] == "stop"
    for hidden in (
        {"llm.output_messages.0.message.content": "__REDACTED__"},
        {"output.value": "__REDACTED__"},
        {"gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "blob"}]}]'},
    ):
        assert "output" not in fields(told | hidden), hidden
    empty = fields(told | {"gen_ai.output.messages": '[{"role": "assistant", "parts": []}]'})
    assert (empty["output"], empty["valid"]) == ("", False)


def test_tool_calls_are_judged_as_everywhere() -> None:
    call = {"type": "tool_call", "name": "look", "arguments": {"at": "now"}}
    told = {"gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [call]}])}
    assert fields(told)["valid"] is True
    offered = {"gen_ai.tool.definitions": '[{"type": "function", "name": "other"}]'}
    found = fields(told | offered)
    assert found["valid"] is False
    assert "output" not in found


def test_several_answers_leave_the_counts_out() -> None:
    told = {"gen_ai.usage.output_tokens": 9, "gen_ai.request.choice.count": 2}
    assert "output_tokens" not in fields(told)
    two = {"gen_ai.usage.output_tokens": 9, "gen_ai.response.finish_reasons": ["stop", "length"]}
    assert "output_tokens" not in fields(two)
    assert fields(two)["finish_reason"] == "stop"


def test_a_span_of_vllm_is_a_record_once_its_adapter_is_stated() -> None:
    own = {
        "gen_ai.latency.e2e": 0.5,
        "gen_ai.latency.time_to_first_token": 0.025,
        "gen_ai.usage.prompt_tokens": 3,
        "gen_ai.usage.completion_tokens": 5,
        "gen_ai.request.temperature": 0.7,
        "gen_ai.request.n": 1,
        "gen_ai.request.id": "cmpl-1",
    }
    call = call_of(span(attributes=own))
    assert call is not None
    assert not call.models
    assert "adapter" not in call.fields
    assert (call.fields["id"], call.fields["ttft_ms"]) == ("cmpl-1", 25.0)
    assert (call.fields["prompt_tokens"], call.fields["output_tokens"]) == (3, 5)
    stated = call_of(span(attributes=own | {"driftline.adapter": "support"}))
    assert stated is not None
    assert stated.fields["adapter"] == "support"


@pytest.mark.parametrize(
    ("told", "message", "status"),
    [
        ({"error.type": "429"}, "", 429),
        ({"error.type": "RateLimitError"}, "", 429),
        ({"error.type": "openai.BadRequestError"}, "", 400),
        ({"error.type": "timeout"}, "", 504),
        ({"http.response.status_code": 503}, "", 503),
        ({}, "InternalServerError: Error code: 502 - bad gateway", 502),
        ({}, "the engine went away after 404 tokens", 500),
        ({"langfuse.observation.level": "ERROR"}, None, 500),
    ],
)
def test_a_failed_call_says_its_status_and_nothing_of_an_answer(
    told: dict[str, Any], message: str | None, status: int
) -> None:
    answer = {"gen_ai.output.messages": '[{"role": "assistant", "parts": []}]'}
    found = fields(told | answer, failed=message is not None, message=message or "")
    assert found["status"] == status
    assert "output" not in found


def test_an_error_told_by_an_event_is_read() -> None:
    told = {"exception.type": "openai.NotFoundError", "exception.message": "no such model"}
    assert fields({}, SpanEvent("exception", AT, told), failed=True)["status"] == 404


def test_a_session_stands_for_a_user_that_is_not_named() -> None:
    assert fields({"session.id": "s1"})["subject"] == "s1"
    assert fields({"session.id": "s1", "user.id": "u1"})["subject"] == "u1"
    assert fields({"gen_ai.conversation.id": 7})["subject"] == "7"


# --- the record's own fields ---------------------------------------------------------------


def test_own_attributes_are_fields_of_the_record_and_count_over_all() -> None:
    body = _request(
        {
            **CHAT,
            "driftline.adapter": "billing",
            "driftline.version": "v2",
            "driftline.token_logprobs": [-0.1, -0.2],
            "driftline.top_logprobs": "[[-0.1, -2.0], [-0.2]]",
            "driftline.prompt_tokens": 7,
            "driftline.feedback.solved": 1.0,
            "output.value": json.dumps(
                {"choices": [{"text": "a", "logprobs": {"token_logprobs": [-9.0]}}]}
            ),
        }
    )
    _, record = only(read(body))
    assert (record.adapter, record.version, record.prompt_tokens) == ("billing", "v2", 7)
    assert record.token_logprobs == [-0.1, -0.2]
    assert record.top_logprobs == [[-0.1, -2.0], [-0.2]]
    assert record.feedback == {"solved": 1.0}
    assert record.output == "a"


def test_an_own_attribute_that_no_record_has_is_refused_by_name() -> None:
    (refused,) = read(_request({**CHAT, "driftline.token_logprob": [-0.1]}))
    assert isinstance(refused, Rejected)
    assert refused.error == (
        "spans[0]: unknown field 'token_logprob'; did you mean 'token_logprobs'?"
    )


# --- whose calls ---------------------------------------------------------------------------


def test_the_answering_model_counts_over_the_asked_one() -> None:
    _, record = only(read(_request({**CHAT, "gen_ai.request.model": "support"})))
    assert (record.adapter, record.version) == ("support", "v7")


@pytest.mark.parametrize(
    ("model", "pattern", "named"),
    [
        ("publishers/llm/models/support@v7", "{adapter}@{version}", ("support", "v7")),
        ("publishers/llm/models/support", "{adapter}@{version}", ("support", None)),
        ("publishers/llm/models/a-v7", "publishers/llm/models/{adapter}-{version}", ("a", "v7")),
        ("publishers/support@v7", "{adapter}@{version}", ("publishers/support", "v7")),
    ],
)
def test_the_second_name_that_kserve_gives_is_of_the_same_adapter(
    model: str, pattern: str, named: tuple[str, str | None]
) -> None:
    body = _request(CHAT | {"gen_ai.response.model": model})
    settings = TelemetrySettings(pattern=pattern)
    found = records(body, content_type=JSON, settings=settings, is_adapter="support".__eq__)
    _, record = only(list(found))
    assert (record.adapter, record.version) == named


def test_other_spans_and_other_models_are_passed_over() -> None:
    other = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4.1"}
    assert read(_request({"http.request.method": "GET"}, other, CHAT | _operation("embed"))) == []
    place, record = only(read(_request(other), known="gpt-4.1 x"))
    assert (place, record.adapter, record.version) == (0, "gpt-4.1", None)


def _operation(name: str) -> dict[str, str]:
    return {"gen_ai.operation.name": name}


@pytest.mark.parametrize("pattern", ["{version}", "support", "{adapter}{adapter}", "{adapter}{x}"])
def test_a_pattern_that_finds_no_adapter_is_a_problem(pattern: str) -> None:
    assert TelemetrySettings(pattern=pattern).problem
    assert TelemetrySettings().problem is None


def test_every_conventions_names_are_in_the_one_table() -> None:
    for table in CONVENTIONS.values():
        assert set(table.calls) <= set(EVERY.calls)
        assert set(table.requested) <= set(EVERY.requested)
    assert len(set(EVERY.temperature)) == len(EVERY.temperature)


# --- bodies --------------------------------------------------------------------------------


def test_a_bad_span_loses_nothing_else() -> None:
    good = _request(CHAT, CHAT, CHAT)
    wire = as_protobuf(good).replace(b"support", b"sup\xff\xfert", 1)
    first, *others = read(wire, kind=PROTOBUF)
    assert isinstance(first, Rejected)
    assert first.error.startswith("spans[0]: cannot be decoded: ")
    assert [one[0] for one in others if isinstance(one, tuple)] == [1, 2]
    tree = json.loads(good)
    tree["resourceSpans"][0]["scopeSpans"][0]["spans"][1]["attributes"] = 3
    found = read(json.dumps(tree).encode())
    assert [isinstance(one, Rejected) for one in found] == [False, True, False]


def test_halves_of_characters_are_mended_where_json_can_write_them() -> None:
    said = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "a\ud83d"}]}])
    _, record = only(read(_request({**CHAT, "gen_ai.output.messages": said})))
    assert record.output == "a\N{REPLACEMENT CHARACTER}"
    _, direct = only(read(_request({**CHAT, "gen_ai.completion": "\ud83d!"})))
    assert direct.output == "\N{REPLACEMENT CHARACTER}!"


def test_numbers_of_any_kind_are_read() -> None:
    values = [
        {"intValue": "7"},
        {"doubleValue": "NaN"},
        {"boolValue": False},
        {"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": "b"}}]}},
        {"bytesValue": "AAE="},
        {},
    ]
    pairs = [{"key": str(place), "value": one} for place, one in enumerate(values)]
    tree = {"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": pairs}]}]}]}
    for kind, body in ((JSON, json.dumps(tree).encode()), (PROTOBUF, _wire(tree))):
        (found,) = otlp.spans(body, content_type=kind)
        assert isinstance(found, Span)
        seven, nan, no, mapped, raw, nothing = found.attributes.values()
        assert math.isnan(nan)
        assert (seven, no, mapped, raw, nothing) == (7, False, {"a": "b"}, b"\0\1", None)


def _wire(tree: dict[str, Any]) -> bytes:
    return ParseDict(tree, ExportTraceServiceRequest()).SerializeToString()


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"{", JSON, Malformed),
        (b"[]", JSON, Malformed),
        (b'{"resourceSpans": 3}', JSON, Malformed),
        (b"[" * 100_000, JSON, Malformed),
        (b"\x0a\xff", PROTOBUF, Malformed),
        (b"\x0a\x05ab", PROTOBUF, Malformed),
        (b"\xff" * 20, PROTOBUF, Malformed),
        (b"\x0b", PROTOBUF, Malformed),
        (b"{}", "text/plain", Unsupported),
    ],
)
def test_a_body_that_cannot_be_taken_apart_is_refused(
    body: bytes, kind: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        read(body, kind=kind)


def test_more_spans_than_a_batch_has_are_refused() -> None:
    spans = b"\x12\x00" * (otlp.MOST_SPANS + 1)  # each of no bytes
    scope = b"\x12" + _size(spans) + spans
    body = b"\x0a" + _size(scope) + scope
    with pytest.raises(TooLarge):
        list(otlp.spans(body, content_type=PROTOBUF))


def _size(message: bytes) -> bytes:
    left, written = len(message), b""
    while left > 0x7F:
        written += bytes([left & 0x7F | 0x80])
        left >>= 7
    return written + bytes([left])


def _request(*spans: Mapping[str, Any]) -> bytes:
    return json.dumps(request_of([otlp_span(one, at=AT) for one in spans])).encode()


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(True, -1, 10**400, math.nan, "x", "json", "[]", [], ["x"], {}, {"type": []}),
        *('{"response_format": {"type": []}}', '{"output": [], "status": []}'),
    ]
)
NAMES = st.sampled_from(
    [name for one in fields_of(Convention) for name in getattr(EVERY, one.name)]
    + ["driftline.feedback", "driftline.feedback.csat", "driftline.status", "gen_ai.prompt.0.role"]
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(NAMES, ODD, max_size=6))
def test_a_span_of_odd_values_is_read(told: dict[str, Any]) -> None:
    event = SpanEvent("gen_ai.choice", AT, told)
    call = call_of(span(attributes=CHAT | told, events=(event,)))
    assert call is None or {"id", "at", "status"} <= call.fields.keys()


@pytest.mark.parametrize(
    "told",
    [
        {
            "langfuse.observation.model.parameters": '{"response_format": {"type": []}}',
            "langfuse.observation.output": "Now.",
        },
        {"gen_ai.request.choice.count": -1},
        {
            "llm.input_messages.0.message.role": ["user"],
            "llm.input_messages.0.message.content": "a",
        },
        {"driftline.feedback": 1, "driftline.feedback.csat": 4},
        {"gen_ai.response.model": ["x"], "driftline.adapter": "support"},
    ],
)
def test_a_span_of_odd_values_costs_no_other_span(told: dict[str, Any]) -> None:
    sent = [CHAT | told, CHAT]
    body = json.dumps(request_of([otlp_span(one, at=AT) for one in sent])).encode()
    found = read(body)
    assert len(found) == 2
    assert not isinstance(found[1], Rejected)
