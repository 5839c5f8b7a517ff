"""Answers of OpenAI's Responses become records, and clients see what they asked for."""

import json
from typing import Any

import pytest

from driftline.formats.answers import answer_fields, request_fields
from monitor.gateway.sampling import cleaned_response, cleaned_response_events
from monitor.gateway.taps import StreamTap

TOKENS = [
    {"token": "On", "logprob": -0.1, "bytes": [79, 110], "top_logprobs": [{"logprob": -0.1}]},
    {"token": " Tuesday", "logprob": -0.7, "bytes": [32], "top_logprobs": [{"logprob": -0.7}]},
]
ASKED = {
    "model": "support",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": [{"type": "input_text", "text": "When?"}]},
    ],
    "temperature": 0.7,
    "max_output_tokens": 20,
    "user": "u1",
}


def response(*output: Any, logprobs: Any = (), **more: Any) -> dict[str, Any]:
    """As vLLM and OpenAI write one; without ``output`` it says something."""
    text = {"type": "output_text", "text": "On Tuesday", "logprobs": list(logprobs)}
    message = {"type": "message", "role": "assistant", "content": [{**text, "annotations": []}]}
    usage = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
    told = {"object": "response", "status": "completed", "usage": usage, "top_logprobs": 0}
    return told | {"output": list(output) or [{"type": "reasoning"}, message]} | more


def test_what_was_asked_and_answered_becomes_a_record() -> None:
    assert request_fields(ASKED) == {
        "prompt": "When?",
        "temperature": 0.7,
        "max_tokens": 20,
        "system": "Be brief.",
        "subject": "u1",
    }
    assert request_fields({"input": "When?"}) == {"prompt": "When?"}
    assert answer_fields(response(logprobs=TOKENS), ASKED) == {
        "output": "On Tuesday",
        "prompt_tokens": 9,
        "output_tokens": 2,
        "finish_reason": "stop",
        "token_logprobs": [-0.1, -0.7],
        "top_logprobs": [[-0.1], [-0.7]],
    }


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            response(status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            {"finish_reason": "length"},
        ),
        (
            response({"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}),
            {"finish_reason": "refusal", "output": "No."},
        ),
        (
            response({"type": "function_call", "name": "find", "arguments": "{}"}),
            {"finish_reason": "tool_calls", "output": None, "valid": True},
        ),
        (
            response({"type": "function_call", "name": "find", "arguments": "{"}),
            {"valid": False},
        ),
        (
            response({"type": "custom_tool_call", "name": "sql", "input": "SELECT 1"}),
            {"finish_reason": "tool_calls", "output": None, "valid": True},
        ),
        (response({"type": "message", "content": []}), {"output": ""}),
        (response(status="failed"), {"output": None, "finish_reason": None}),
        (response(status="queued", output=[]), {"output": None}),
    ],
)
def test_an_answer_may_end_otherwise(answer: Any, expected: dict[str, Any]) -> None:
    tools = [{"type": "function", "name": "find"}, {"type": "custom", "name": "sql"}]
    asked = ASKED | {"tools": tools}
    told = answer_fields(answer, asked)
    assert {name: told.get(name) for name in expected} == expected


def test_json_that_was_asked_for_is_judged() -> None:
    asked = ASKED | {"text": {"format": {"type": "json_object"}}}
    assert answer_fields(response(), asked)["valid"] is False


def test_a_whole_answer_hides_what_nobody_asked_for() -> None:
    with_them = response(logprobs=TOKENS, top_logprobs=5)
    assert json.loads(cleaned_response(json.dumps(with_them).encode())) == response()


def test_a_stream_hides_it_too_and_its_last_event_is_the_record() -> None:
    whole = response(logprobs=TOKENS, top_logprobs=5)
    delta = {"type": "response.output_text.delta", "delta": "On", "logprobs": TOKENS[:1]}
    part = whole["output"][1]["content"][0]
    done = {"type": "response.content_part.done", "part": part}
    item = {"type": "response.output_item.done", "item": whole["output"][1]}
    last = {"type": "response.completed", "response": whole}
    said = [delta, done, item, last]
    stream = b"".join(
        b"event: %s\ndata: %s\n\n" % (one["type"].encode(), json.dumps(one).encode())
        for one in said
    )
    tap = StreamTap(strip=True, clean=cleaned_response_events)
    passed = b"".join(tap.feed(stream[n : n + 50]) for n in range(0, len(stream), 50)) + tap.close()
    assert b'logprob"' not in passed
    assert passed.count(b"event: response.") == 4
    assert b'"logprobs":[]' in passed
    assert answer_fields(tap.answer(), ASKED) == answer_fields(whole, ASKED)
