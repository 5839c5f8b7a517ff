"""Lines of common logs become records, whatever they hold."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.client import call_record
from driftline.formats.answers import answer_fields, request_fields
from driftline.formats.lines import FORMS, Form, Mapped, Unreadable, form_of, read
from driftline.formats.moments import moment
from examples.vllm_records import chat_request
from monitor.capture.wire import Record

AT = datetime(2026, 11, 3, 10, 0, tzinfo=UTC)
CREATED = int(AT.timestamp())


def chat(**changes: Any) -> dict[str, Any]:
    """As the chat endpoint answers with ``logprobs: true, top_logprobs: 2``."""
    token = {
        "token": " in",
        "bytes": [32, 105, 110],
        "logprob": -0.25,
        "top_logprobs": [
            {"token": " in", "bytes": None, "logprob": -0.25},
            {"token": " on", "bytes": None, "logprob": -1.75},
        ],
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": CREATED,
        "model": "support@v7",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "in checking", "refusal": None},
                "logprobs": {"content": [token, dict(token)], "refusal": None},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},
        "prompt_logprobs": None,
    } | changes


def completion(**changes: Any) -> dict[str, Any]:
    """As the completions endpoint answers with ``logprobs: 1``, here with the prompt echoed."""
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": CREATED,
        "model": "support",
        "choices": [
            {
                "index": 0,
                "text": "Where? in checking",
                "logprobs": {
                    "text_offset": [0, 6, 9],
                    "token_logprobs": [None, -0.5, -0.25],
                    "tokens": ["Where?", " in", " checking"],
                    "top_logprobs": [None, {" in": -0.5, " on": -1.0}, {" checking": -0.25}],
                },
                "finish_reason": "length",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    } | changes


def litellm(**changes: Any) -> dict[str, Any]:
    """As LiteLLM's callback gets it under ``standard_logging_object``."""
    return {
        "id": "chatcmpl-9",
        "trace_id": "t",
        "call_type": "acompletion",
        "stream": True,
        "status": "success",
        "total_tokens": 13,
        "prompt_tokens": 11,
        "completion_tokens": 2,
        "startTime": CREATED + 0.5,
        "endTime": CREATED + 2.5,
        "completionStartTime": CREATED + 0.75,
        "model": "hosted_vllm/support-v7",
        "model_id": "d1",
        "model_group": "support",
        "messages": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": [{"type": "text", "text": "where is it"}]},
        ],
        "response": chat(),
        "model_parameters": {"temperature": 0.7, "max_tokens": 64, "stream": True},
        "end_user": "u1",
        "error_str": None,
        "metadata": {},
    } | changes


def record_of(mapped: Mapped) -> Record:
    own = {"adapter": mapped.adapter, "version": mapped.version, "at": mapped.at}
    fields = mapped.fields | {name: value for name, value in own.items() if value is not None}
    return msgspec.convert(fields, Record)


def test_a_request_with_its_response_is_read() -> None:
    request = {
        "model": "support@v7",
        "messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": "where?"}],
        "temperature": 0,
        "top_p": 0.9,
        "max_completion_tokens": 64,
        "user": "u7",
    }
    line = {"id": "r1", "request": request, "response": chat(), "latency_ms": 812}
    record = record_of(read(line))
    assert (record.adapter, record.version, record.at) == ("support", "v7", AT)
    assert (record.id, record.prompt, record.output) == ("r1", "where?", "in checking")
    assert record.token_logprobs == [-0.25, -0.25]
    assert record.top_logprobs == [[-0.25, -1.75], [-0.25, -1.75]]
    assert (record.temperature, record.top_p, record.max_tokens) == (0.0, 0.9, 64)
    assert (record.prompt_tokens, record.output_tokens) == (11, 2)
    assert (record.subject, record.latency_ms) == ("u7", 812.0)
    assert (record.finish_reason, record.status) == ("stop", 200)


def test_a_line_of_a_batch_output_is_read() -> None:
    body = {"status_code": 200, "request_id": "req_1", "body": chat()}
    record = record_of(read({"id": "b", "custom_id": "c1", "response": body, "error": None}))
    assert (record.id, record.adapter, record.version) == ("c1", "support", "v7")
    assert (record.at, record.output, record.status) == (AT, "in checking", 200)


def test_a_failed_line_of_a_batch_names_no_model_and_keeps_its_status() -> None:
    body = {"status_code": 503, "request_id": "r", "body": {"error": {"message": "busy"}}}
    mapped = read({"custom_id": "c1", "response": body, "error": None})
    assert (mapped.adapter, mapped.at, mapped.fields) == (None, None, {"id": "c1", "status": 503})
    lost = read({"custom_id": "c1", "response": None, "error": {"code": "batch_expired"}})
    assert lost.fields["status"] == 500


def test_requests_of_a_batch_are_told_from_its_output() -> None:
    line = {"custom_id": "c1", "method": "POST", "url": "/v1/chat/completions", "body": {}}
    with pytest.raises(Unreadable, match="its output file has the answers"):
        read(line)


@pytest.mark.parametrize("line", [litellm(), {"standard_logging_object": litellm()}])
def test_a_litellm_payload_is_read(line: dict[str, Any]) -> None:
    record = record_of(read(line))
    assert (record.adapter, record.version) == ("support", "support-v7")
    assert (record.id, record.prompt, record.output) == ("chatcmpl-9", "where is it", "in checking")
    assert record.token_logprobs == [-0.25, -0.25]
    assert (record.temperature, record.max_tokens) == (0.7, 64)
    assert (record.latency_ms, record.ttft_ms) == (2000.0, 250.0)
    assert (record.subject, record.status) == ("u1", 200)


def test_litellm_times_may_be_text() -> None:
    line = litellm(startTime="2026-11-03 10:00:00", endTime="2026-11-03T10:00:01+00:00")
    assert read(line).at == AT
    assert read(line).fields["latency_ms"] == 1000.0


def test_a_failure_in_litellm_is_a_status() -> None:
    failed = {"status": "failure", "response": {}, "error_str": "boom", "completion_tokens": 0}
    code = {"error_information": {"error_code": "429", "error_class": "RateLimitError"}}
    assert read(litellm(**failed, **code)).fields["status"] == 429
    assert read(litellm(**failed)).fields["status"] == 500


def test_what_litellm_redacted_is_not_taken_for_a_prompt() -> None:
    said = {"message": {"role": "assistant", "content": "redacted-by-litellm"}}
    line = litellm(
        messages=[{"role": "user", "content": "redacted-by-litellm"}],
        response=chat(choices=[said]),
    )
    assert not {"prompt", "output"} & read(line).fields.keys()


def test_answers_by_themselves_are_read() -> None:
    record = record_of(read(chat()))
    assert (record.adapter, record.version, record.at) == ("support", "v7", AT)
    assert record.prompt is None


def test_the_echoed_prompt_is_not_part_of_the_answer() -> None:
    record = record_of(read(completion()))
    assert record.token_logprobs == [-0.5, -0.25]
    assert record.top_logprobs == [[-0.5, -1.0], [-0.25]]
    assert record.adapter == "support"


def test_minus_infinity_as_vllm_writes_it_is_a_logprob() -> None:
    line = chat()
    line["choices"][0]["logprobs"]["content"][0]["logprob"] = -9999.0
    assert record_of(read(line)).token_logprobs == [-9999.0, -0.25]


def test_logprobs_that_nobody_asked_for_are_absent() -> None:
    line = chat()
    line["choices"][0]["logprobs"] = None
    assert not {"token_logprobs", "top_logprobs"} & read(line).fields.keys()
    chosen_only = chat()
    for token in chosen_only["choices"][0]["logprobs"]["content"]:
        token["top_logprobs"] = []
    assert "top_logprobs" not in read(chosen_only).fields


@pytest.mark.parametrize(
    ("message", "output"),
    [
        ({"content": None}, ""),
        ({"content": "", "refusal": None}, ""),
        ({"content": None, "tool_calls": [{"id": "t"}]}, None),
        ({"content": None, "refusal": "I cannot"}, "I cannot"),
    ],
)
def test_an_empty_answer_is_told_from_a_call_of_a_tool(
    message: dict[str, Any], output: str | None
) -> None:
    assert read(chat(choices=[{"message": message}])).fields.get("output") == output


def test_a_logged_response_is_an_answer_unless_it_failed() -> None:
    said = {"type": "message", "content": [{"type": "output_text", "text": "Now."}]}
    answer = {"object": "response", "status": "completed", "output": [said], "error": None}
    line = {"id": "r", "request": {"model": "support@v7", "input": "When?"}, "response": answer}
    found = read(line).fields
    assert (found["prompt"], found["output"], found["status"]) == ("When?", "Now.", 200)
    broke = answer | {"status": "failed", "output": [], "error": {"code": "server_error"}}
    failed = read(line | {"response": broke}).fields
    assert ("output" in failed, failed["status"]) == (False, 500)


def test_a_refusal_in_a_field_of_its_own_is_how_the_answer_ended() -> None:
    message = {"content": None, "refusal": "Not today."}
    choice = {"message": message, "finish_reason": "stop"}
    assert read(chat(choices=[choice])).fields["finish_reason"] == "refusal"


def called(arguments: object, name: str = "book") -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}


def told(text: str, **changes: Any) -> dict[str, Any]:
    return {"message": {"content": text}, "finish_reason": "stop"} | changes


JSON_OBJECT = {"response_format": {"type": "json_object"}}
JSON_SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}
TOOLS = {"tools": [{"type": "function", "function": {"name": "book"}}]}
REFUSED = {"message": {"content": None, "refusal": "Not today."}, "finish_reason": "stop"}


def allowed(mode: str) -> dict[str, Any]:
    """A request that leaves the model a part of its tools."""
    some = {"mode": mode, "tools": [{"type": "function", "name": "book"}]}
    return TOOLS | {"tool_choice": {"type": "allowed_tools", "allowed_tools": some}}


@pytest.mark.parametrize(
    ("request_", "choice", "valid"),
    [
        pytest.param(JSON_OBJECT, told('{"a": [1, null]}'), True, id="an object"),
        pytest.param(JSON_OBJECT, told(' {"a": 1}\n'), True, id="an object with white space"),
        pytest.param(JSON_OBJECT, told("[1]"), False, id="a list where an object was asked for"),
        pytest.param(JSON_OBJECT, told('{"a": '), False, id="cut off"),
        pytest.param(JSON_OBJECT, told(""), False, id="empty"),
        pytest.param(JSON_OBJECT, told('```json\n{"a": 1}\n```'), False, id="fenced"),
        pytest.param(JSON_OBJECT, told('{"a": NaN}'), False, id="NaN is no JSON"),
        pytest.param(JSON_OBJECT, told('{"a": ' + "9" * 5_000 + "}"), False, id="endless number"),
        pytest.param(JSON_OBJECT, told("[" * 200_000), False, id="nested too deeply"),
        pytest.param(JSON_OBJECT, told('"' + "a" * 1_000_001), None, id="too long to judge"),
        pytest.param(JSON_SCHEMA, told("[1]"), True, id="a list under a schema"),
        pytest.param(JSON_SCHEMA, told("null"), True, id="null under a schema"),
        pytest.param(JSON_SCHEMA, told("one"), False, id="words under a schema"),
        pytest.param(JSON_OBJECT, REFUSED, None, id="a refusal breaks no form"),
        pytest.param(JSON_OBJECT, told("", finish_reason="content_filter"), None, id="filtered"),
        pytest.param({"response_format": {"type": "text"}}, told("{"), None, id="text"),
        pytest.param({"response_format": "json"}, told("{"), None, id="a form of another kind"),
        pytest.param({}, told("{"), None, id="no form"),
        pytest.param(TOOLS, called('{"at": 8}'), True, id="a call"),
        pytest.param(TOOLS, called({"at": 8}), True, id="a call, unpacked by a middleware"),
        pytest.param(TOOLS, called('{"at": '), False, id="a call cut off"),
        pytest.param(TOOLS, called("8"), False, id="arguments that are no object"),
        pytest.param(TOOLS, called(None), False, id="no arguments"),
        pytest.param(TOOLS, called("{}", name="cook"), False, id="a tool that was not offered"),
        pytest.param({}, called("{}", name="cook"), True, id="nobody knows what was offered"),
        pytest.param(TOOLS, told("At eight."), None, id="words where a call was allowed"),
        pytest.param(
            TOOLS | {"tool_choice": "required"}, told("At eight."), False, id="a call demanded"
        ),
        pytest.param(
            TOOLS | {"tool_choice": {"type": "function", "function": {"name": "book"}}},
            told("At eight."),
            False,
            id="this call demanded",
        ),
        pytest.param({"tool_choice": "auto"}, told("At eight."), None, id="left to the model"),
        pytest.param(
            TOOLS | {"tool_choice": {"type": "auto"}},
            told("At eight."),
            None,
            id="left, as a table",
        ),
        pytest.param(allowed("auto"), told("At eight."), None, id="some tools were allowed"),
        pytest.param(allowed("required"), told("At eight."), False, id="one of some demanded"),
        pytest.param(
            {"tool_choice": None, "function_call": {"name": "book"}},
            told("At eight."),
            False,
            id="this function demanded, as it was once written",
        ),
    ],
)
def test_an_answer_is_valid_by_what_its_request_asked_for(
    request_: dict[str, Any], choice: dict[str, Any], valid: object
) -> None:
    answer = chat(choices=[choice])
    logged = read({"id": "r", "request": request_, "response": answer})
    paid = read(litellm(response=answer, model_parameters=request_))
    assert logged.fields.get("valid") is paid.fields.get("valid") is valid
    assert answer_fields(answer, request_).get("valid") is valid


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ({"adapter": "a", "id": "1", "at": "2026-11-03T10:00:00Z"}, Form.DRIFTLINE),
        ({"role": "baseline", "id": "1"}, Form.DRIFTLINE),
        ({"request": {}, "response": {}}, Form.OPENAI),
        ({"custom_id": "1", "response": None}, Form.BATCH),
        (litellm(), Form.LITELLM),
        (chat(), Form.VLLM),
        (completion(), Form.VLLM),
    ],
)
def test_a_line_says_its_form(line: dict[str, Any], form: Form) -> None:
    assert form_of(line) is form


@pytest.mark.parametrize(
    "line", [{}, {"object": "chat.completion.chunk"}, {"model": "x"}, {"text": "hello"}]
)
def test_a_line_of_no_known_form_is_refused(line: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match="no known form"):
        read(line)


@pytest.mark.parametrize("form", sorted({*Form} - {Form.DRIFTLINE}))
def test_a_record_is_of_no_other_form(form: Form) -> None:
    record = {"id": "1", "adapter": "support", "at": AT.isoformat(), "prompt": "hello"}
    with pytest.raises(Unreadable, match=r"no completion|no request with|no payload|of a batch"):
        read(record, form)


def test_every_form_has_its_reader() -> None:
    assert set(FORMS) == set(Form)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(CREATED, AT, id="seconds"),
        pytest.param(CREATED * 1000, AT, id="milliseconds"),
        pytest.param(CREATED * 1_000_000, AT, id="microseconds"),
        pytest.param("2026-11-03T11:00:00+01:00", AT, id="an offset"),
        pytest.param("2026-11-03 10:00:00", AT, id="no offset is UTC"),
        pytest.param("tomorrow", None, id="no time"),
        pytest.param(float("nan"), None, id="not a number"),
        pytest.param(float("inf"), None, id="infinite"),
        pytest.param(True, None, id="a truth value"),
    ],
)
def test_times_are_read_as_logs_write_them(value: object, expected: datetime | None) -> None:
    assert moment(value) == expected


def test_the_example_client_writes_records_by_the_same_mapping() -> None:
    request = chat_request("support@v7", "where?", temperature=0.7, max_tokens=64)
    named = {"adapter": "support", "version": "v7"}
    record = msgspec.convert(named | call_record(request, chat(), at=AT, latency_ms=812.04), Record)
    assert (record.id, record.prompt, record.output) == ("chatcmpl-1", "where?", "in checking")
    assert (record.temperature, record.max_tokens, record.output_tokens) == (0.7, 64, 2)
    assert record.top_logprobs == [[-0.25, -1.75], [-0.25, -1.75]]
    assert record.latency_ms == 812.0


WORDS = (
    "id model created choices message content logprobs token_logprobs top_logprobs usage text"
    " completion_tokens status_code body error code messages role response request"
)
KEYS = st.sampled_from(WORDS.split()) | st.text(max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(line=st.dictionaries(KEYS, JSON, max_size=6), form=st.sampled_from([None, *Form]))
def test_no_line_ends_in_anything_but_a_record_or_a_reason(
    line: dict[str, Any], form: Form | None
) -> None:
    try:
        mapped = read(line, form)
        record = record_of(mapped)
    except (Unreadable, msgspec.ValidationError):
        return
    assert isinstance(record, Record)
    assert json.loads(json.dumps(mapped.fields, default=str)).keys() == mapped.fields.keys()


ODD: tuple[Any, ...] = (None, True, -1, 10**400, "x", [], ["x"], {}, {"type": []})


def bent(tree: Any) -> Iterator[Any]:
    """Every copy of a tree with one of its values replaced by an odd one."""
    yield from ODD
    parts: Any = enumerate(tree) if isinstance(tree, list) else ()
    for place, inner in tree.items() if isinstance(tree, dict) else parts:
        for other in bent(inner):
            whole = tree.copy()
            whole[place] = other
            yield whole


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (
            allowed("required")
            | JSON_OBJECT
            | {"messages": [{"role": "user", "content": "When?"}]},
            chat(),
        ),
        ({"prompt": ["When?"], "stop": ["."]}, completion()),
        (TOOLS | {"functions": [{"name": "book"}]}, chat(choices=[called("{}")])),
        (
            {"input": [{"role": "user", "content": "When?"}], "tool_choice": {"type": "function"}},
            {
                "output": [
                    {"type": "message", "content": [{"type": "output_text", "text": "Now."}]},
                    {"type": "function_call", "name": "book", "arguments": "{}"},
                ],
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "usage": {"input_tokens": 1, "output_tokens": 1},
            },
        ),
    ],
)
def test_a_value_of_another_type_is_left_out_or_passed_on(
    asked: dict[str, Any], answered: dict[str, Any]
) -> None:
    whole = {"request": asked, "response": answered}
    for line in bent(whole):
        if isinstance(line, dict):
            found = request_fields(line.get("request"))
            found |= answer_fields(line.get("response"), line.get("request"))
            assert {"", None} & found.keys() == set()
