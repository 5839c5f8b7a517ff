"""Every way a record can be wrong, and what its sender is told."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.capture import parse
from monitor.capture.checks import Horizon, RecordRefused, check_record, tokens_of, unit_vector
from monitor.capture.packing import pack_f16
from monitor.capture.surrogates import is_whole
from monitor.capture.wire import Record

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HORIZON = Horizon(now=NOW, retention=timedelta(days=90))
GOOD: dict[str, Any] = {"id": "r1", "adapter": "support", "at": NOW.isoformat()}


def _refusal(raw: str) -> str | None:
    """What the second of two records is told; the first is good and must stay good."""
    body = f'{{"records": [{json.dumps(GOOD)}, {raw}]}}'.encode("utf-8", "surrogatepass")
    parsed = parse.parse(body, parse.RECORDS, content_type="application/json")
    assert parsed.items[0][0] == 0
    if parsed.rejected:
        (rejected,) = parsed.rejected
        assert rejected.index == 1
        return rejected.error
    record: Record = parsed.items[1][1]
    try:
        check_record(record, HORIZON)
        tokens_of(record)
        unit_vector(record)
    except RecordRefused as error:
        return f"records[1].{error}"
    return None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"id": None}, "records[1].id: expected str, got null"),
    ({"id": 7}, "records[1].id: expected str, got int"),
    ({"id": ""}, "records[1].id: expected str of length >= 1"),
    ({"id": "x" * 129}, "records[1].id: expected str of length <= 128"),
    ({"id": "a\0b"}, "records[1].id: has characters that cannot be printed"),
    ({"id": "a\nb"}, "records[1].id: has characters that cannot be printed"),
    ({"id": "a\u202eb"}, "records[1].id: has characters that cannot be printed"),
    ({"id": "\ud800"}, "records[1].id: has characters that cannot be printed"),
    ({"adapter": ["support"]}, "records[1].adapter: expected str, got array"),
    ({"adapter": "a\tb"}, "records[1].adapter: has characters that cannot be printed"),
    ({"at": "yesterday"}, "records[1].at: invalid RFC3339 encoded datetime"),
    (
        {"at": "2026-11-24T12:00:00"},
        "records[1].at: expected datetime with a timezone component",
    ),
    (
        {"at": "2026-11-24T12:10:01Z"},
        "records[1].at: 2026-11-24T12:10:01+00:00 is more than 10 minutes in the future",
    ),
    (
        {"at": "2026-08-26T11:59:59Z"},
        "records[1].at: 2026-08-26T11:59:59+00:00 is older than the 90 days kept",
    ),
    ({"arm": "blue"}, "records[1].arm: invalid enum value 'blue'"),
    ({"source": ""}, "records[1].source: expected str of length >= 1"),
    ({"replica": "r\x1b[31m"}, "records[1].replica: has characters that cannot be printed"),
    ({"prompt": 5}, "records[1].prompt: expected str | null, got int"),
    ({"output": ["x"]}, "records[1].output: expected str | null, got array"),
    (
        {"token_logprobs": [-1, "x"]},
        "records[1].token_logprobs[1]: expected float | null, got str",
    ),
    ({"token_logprobs": "-1"}, "records[1].token_logprobs: expected array | null, got str"),
    (
        {"token_logprobs": [-1, -2, 0.4]},
        "records[1].token_logprobs[2]: 0.4 is above 0, no log-probability",
    ),
    (
        {"token_logprobs": [-1] * 65_537},
        "records[1].token_logprobs: expected array of length <= 65536",
    ),
    (
        {"token_logprobs_f16": pack_f16([-1, 0.5])},
        "records[1].token_logprobs_f16[1]: 0.5 is above 0, no log-probability",
    ),
    ({"token_logprobs_f16": "AAA="[:3]}, "records[1].token_logprobs_f16: invalid base64"),
    (
        {"token_logprobs_f16": "AAAA"},
        "records[1].token_logprobs_f16: 3 bytes are not a whole number of float16 values",
    ),
    (
        {"token_logprobs": [-1], "token_logprobs_f16": pack_f16([-1])},
        "records[1].token_logprobs_f16: give token_logprobs or this, not both",
    ),
    (
        {"top_logprobs": [[-1]]},
        "records[1].top_logprobs: needs token_logprobs or token_logprobs_f16 beside it",
    ),
    (
        {"token_logprobs": [-1, -1], "top_logprobs": [[-1]]},
        "records[1].top_logprobs: has 1 values for 2 tokens",
    ),
    (
        {"token_logprobs": [-1], "top_logprobs": [[-1] * 21]},
        "records[1].top_logprobs[0]: expected array of length <= 20",
    ),
    (
        {"token_logprobs": [-1], "top_logprobs": [[0.2, -3]]},
        "records[1].top_logprobs[0]: a log-probability is above 0",
    ),
    (
        {"token_logprobs": [-1], "top_logprobs": [[-1]], "token_margin_f16": pack_f16([1])},
        "records[1].top_logprobs: give this or the packed entropy and margin, not both",
    ),
    (
        {"token_logprobs": [-1], "token_entropy_f16": pack_f16([1, 2])},
        "records[1].token_entropy_f16: has 2 values for 1 tokens",
    ),
    (
        {"token_logprobs": [-1, -1], "token_margin_f16": pack_f16([1, -2])},
        "records[1].token_margin_f16[1]: is below 0",
    ),
    (
        {"embedding": [1.0, 2.0]},
        "records[1].encoder: required beside embedding, to know what it can be compared with",
    ),
    ({"embedding": [], "encoder": "m"}, "records[1].embedding: expected array of length >= 1"),
    ({"embedding": [0, 0], "encoder": "m"}, "records[1].embedding: all its values are 0"),
    (
        {"embedding": [1, float("nan")], "encoder": "m"},
        "records[1].embedding: has values that are not finite",
    ),
    (
        {"embedding": [1e300, 1e300], "encoder": "m"},
        "records[1].embedding: has values that are not finite",
    ),
    ({"temperature": -0.1}, "records[1].temperature: expected float >= 0.0"),
    ({"temperature": float("nan")}, "records[1].temperature: expected float >= 0.0"),
    ({"top_p": 1.5}, "records[1].top_p: expected float <= 1.0"),
    ({"max_tokens": 1.5}, "records[1].max_tokens: expected int | null, got float"),
    ({"prompt_tokens": -1}, "records[1].prompt_tokens: expected int >= 0"),
    ({"output_tokens": 2**31}, "records[1].output_tokens: expected int <= 2147483647"),
    ({"latency_ms": float("inf")}, "records[1].latency_ms: expected float <= 1000000000.0"),
    ({"ttft_ms": "12"}, "records[1].ttft_ms: expected float | null, got str"),
    ({"status": "ok"}, "records[1].status: expected int | null, got str"),
    ({"status": 1000}, "records[1].status: expected int <= 999"),
    ({"finish_reason": "x" * 200}, "records[1].finish_reason: expected str of length <= 128"),
    ({"subject": ""}, "records[1].subject: expected str of length >= 1"),
    ({"sample_prob": 0}, "records[1].sample_prob: expected float > 0.0"),
    ({"sample_prob": 1.1}, "records[1].sample_prob: expected float <= 1.0"),
    ({"sample_prob": None}, "records[1].sample_prob: expected float, got null"),
    ({"feedback": {"csat": "good"}}, "records[1].feedback[...]: expected float, got str"),
    (
        {"feedback": {"csat": float("inf")}},
        "records[1].feedback['csat']: inf is not a finite number",
    ),
    (
        {"feedback": {"a\0": 1}},
        "records[1].feedback: a name has characters that cannot be printed",
    ),
    ({"feedback": {f"n{n}": 1 for n in range(65)}}, "records[1].feedback: expected object"),
    ({"promt": "hi"}, "records[1]: unknown field 'promt'; did you mean 'prompt'?"),
    ({"zzzz": {"a": [1]}}, "records[1]: unknown field 'zzzz'"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_wrong_record_is_told_what_is_wrong(change: dict[str, Any], said: str) -> None:
    error = _refusal(json.dumps(GOOD | change))
    assert error is not None
    assert error.startswith(said)


@pytest.mark.parametrize("field", ["id", "adapter", "at"])
def test_a_required_field_that_is_absent_is_named(field: str) -> None:
    record = {name: value for name, value in GOOD.items() if name != field}
    assert _refusal(json.dumps(record)) == f"records[1].{field}: required, but absent"


@pytest.mark.parametrize("raw", ["5", "null", '"x"', "[]"])
def test_what_is_no_object_is_refused(raw: str) -> None:
    error = _refusal(raw)
    assert error is not None
    assert error.startswith("records[1]: expected object, got ")


@pytest.mark.parametrize(
    "change",
    [
        {"at": "2026-11-24T12:09:59+00:00"},
        {"at": "2026-11-24T14:00:00.123456+02:00"},
        {"at": "2026-08-26T12:00:00Z"},
        {"prompt": "nul \0 and \ud800 lone", "output": ""},
        {"token_logprobs": [None, -1.0, float("-inf"), float("nan")]},
        {"token_logprobs": []},
        {"token_logprobs": [-0.0, 0.0005]},
        {"token_logprobs": [-1, -1], "top_logprobs": [None, [-1, -2, None]]},
        {"token_logprobs_f16": pack_f16([-1.0, float("-inf"), float("nan")])},
        {"subject": "\ud800"},
        {"id": "日本語 id", "adapter": "Ünïcode"},
        {"feedback": {}},
        {"embedding": [3, 4], "encoder": "mini"},
    ],
)
def test_unusual_but_right_records_are_taken(change: dict[str, Any]) -> None:
    assert _refusal(json.dumps(GOOD | change)) is None


def test_errors_never_echo_a_prompt() -> None:
    private = "my card is 4111"
    error = _refusal(json.dumps(GOOD | {"prompt": private, "status": private}))
    assert error is not None
    assert private not in error


def test_a_tree_deeper_than_the_stack_is_looked_through() -> None:
    deep: object = "\ud800"
    for _ in range(100_000):
        deep = [{"a": deep}]
    assert not is_whole(deep)
