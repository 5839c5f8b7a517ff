"""Write a request and its answer as a record, by the mapping that the service reads logs by."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from driftline.formats.answers import answer_fields, request_fields

SOURCE = "client"


def call_record(
    request: Mapping[str, Any],
    answer: Mapping[str, Any],
    *,
    at: datetime,
    latency_ms: float,
    ttft_ms: float | None = None,
    status: int = 200,
) -> dict[str, Any]:
    """Turn an OpenAI request and its answer into a record, without adapter and version.

    ``at`` is when the request was made, not when its answer was there. Of a failed request only
    the request and the status are kept.
    """
    answered = answer_fields(answer, request) if answer else {}
    first_token = {} if ttft_ms is None else {"ttft_ms": round(ttft_ms, 1)}
    return {
        "id": answer.get("id") or uuid.uuid4().hex,
        "at": at.astimezone(UTC).isoformat(),
        **request_fields(request),
        **answered,
        **first_token,
        "latency_ms": round(latency_ms, 1),
        "status": status,
    }
