"""From an engine's answer to the JSON that Driftline takes. Pure."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from examples.demo.engine_client import MAX_TOKENS, TEMPERATURE, Reply

BASELINE_SPAN: Final = timedelta(days=14)
SOURCE: Final = "gateway"
"""Where the live records come from: only like is compared with like."""


def record(*, record_id: str, prompt: str, reply: Reply, at: datetime) -> dict[str, Any]:
    """Write one request of a baseline as ``POST /v1/records`` has it, without adapter.

    Its latency stays out: it was answered in a batch, which takes longer than users wait.
    """
    return {
        "id": record_id,
        "at": at.isoformat(),
        "source": SOURCE,
        "prompt": prompt,
        "output": reply.text,
        "token_logprobs": reply.token_logprobs,
        "top_logprobs": reply.top_logprobs,
        "temperature": TEMPERATURE,
        "max_tokens": MAX_TOKENS,
        "output_tokens": len(reply.token_logprobs),
        "finish_reason": reply.finish_reason,
        "status": 200,
    }


def stamps(count: int, *, end: datetime, span: timedelta = BASELINE_SPAN) -> list[datetime]:
    """Spread ``count`` times evenly over the ``span`` before ``end``, both ends included.

    >>> from datetime import UTC
    >>> end = datetime(2026, 1, 15, tzinfo=UTC)
    >>> [str(at.date()) for at in stamps(3, end=end)]
    ['2026-01-01', '2026-01-08', '2026-01-15']
    """
    gaps = max(1, count - 1)
    return [end - span + number * span / gaps for number in range(count)]


def reference_lines(training: Sequence[str], baseline: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """Write a reference as NDJSON: training texts, then baseline records."""
    for text in training:
        yield _line({"role": "training", "text": text})
    for item in baseline:
        yield _line({"role": "baseline", **item})


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
