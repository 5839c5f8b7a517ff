"""Write one request with its answer as a line for ``POST /v1/records``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from driftline.formats.answers import answer_fields, present, request_fields
from monitor.capture.checks import PREFIX, RecordRefused, legible, top_statistics
from monitor.capture.packing import pack_f16
from monitor.domain import Arm

SOURCE: Final = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAnswer:
    """The gateway's own measurements of an answer; times in milliseconds.

    ``engine`` is its name and version; None if unknown.
    """

    status: int
    latency_ms: float
    ttft_ms: float | None
    replica: str
    engine: str | None = None


def line(
    *,
    record_id: str,
    adapter: str,
    arm: Arm,
    at: datetime,
    request: Mapping[str, Any],
    answer: Mapping[str, Any],
    measured: SeenAnswer,
    subject: str | None,
    with_text: bool,
) -> bytes:
    """Write a record as NDJSON; of several choices, only the first."""
    fields = request_fields(request) | answer_fields(answer, request)
    for name in ("prompt", "system", "output"):
        text = fields.pop(name, None)
        if with_text and isinstance(text, str):
            fields[name] = legible(text[:PREFIX] if name == "system" else text)
    fields = _packed(fields) | present(
        subject=subject,
        version=arm.version,
        arm=arm.arm.value,
        source=SOURCE,
        replica=measured.replica,
        engine=measured.engine,
        status=measured.status,
        latency_ms=round(measured.latency_ms, 2),
        ttft_ms=None if measured.ttft_ms is None else round(measured.ttft_ms, 2),
    )
    return msgspec.json.encode({"id": record_id, "adapter": adapter, "at": at} | fields)


def _packed(fields: dict[str, Any]) -> dict[str, Any]:
    """Replace token lists by three float16 arrays, a twentieth of their size.

    Lists that hold anything but numbers stay as they are: the service checks them.
    """
    tokens, top = fields.get("token_logprobs"), fields.get("top_logprobs")
    try:
        packed = present(token_logprobs_f16=None if tokens is None else pack_f16(tokens))
        if top is not None:
            entropy, margin = top_statistics(top)
            packed |= {"token_entropy_f16": pack_f16(entropy), "token_margin_f16": pack_f16(margin)}
    except (RecordRefused, TypeError, ValueError):
        return fields
    if tokens is not None and None in tokens:
        return fields
    rest = {
        name: value
        for name, value in fields.items()
        if name not in {"token_logprobs", "top_logprobs"}
    }
    return rest | packed
