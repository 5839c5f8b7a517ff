"""The JSON of a record and of a feedback item, as senders write it.

msgspec checks types, lengths and ranges while it decodes, in C; :mod:`monitor.capture.checks`
checks rules over several fields.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

MAX_TOKENS: Final = 65_536
MAX_TOP: Final = 20

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Word = Annotated[str, Meta(max_length=128)]
Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Milliseconds = Annotated[float, Meta(ge=0, le=1e9)]
PerToken = Annotated[list[float | None], Meta(max_length=MAX_TOKENS)]
TopPerToken = Annotated[
    list[Annotated[list[float | None], Meta(max_length=MAX_TOP)] | None],
    Meta(max_length=MAX_TOKENS),
]
Packed = Annotated[bytes, Meta(max_length=2 * MAX_TOKENS)]
Stops = Annotated[tuple[Annotated[str, Meta(max_length=1024)], ...], Meta(max_length=64)]
Named = Annotated[dict[Name, float], Meta(max_length=64)]


class Record(Struct, forbid_unknown_fields=True, kw_only=True, gc=False, omit_defaults=True):
    """One sampled request with its answer and token statistics.

    Log-probabilities are in nats. The ``_f16`` fields are base64 of little-endian float16,
    one value per token, and stand in place of JSON lists at a twentieth of their cost:
    ``token_logprobs_f16`` for ``token_logprobs``; ``token_entropy_f16`` (nats, from the
    top-k with the rest as one more outcome) and ``token_margin_f16`` (nats, best minus
    second best) for ``top_logprobs``. In them NaN means a value that was not finite.
    ``system`` is what stands before the conversation, empty where nothing does: a keyed hash of
    how it begins is kept, never the text.
    """

    id: Name
    adapter: Name
    at: Moment
    version: Name | None = None
    arm: Literal["stable", "canary", "fallback", "shadow"] | None = None
    source: Name = "push"
    replica: Word | None = None
    engine: Word | None = None
    prompt: str | None = None
    system: str | None = None
    output: str | None = None
    token_logprobs: PerToken | None = None
    top_logprobs: TopPerToken | None = None
    token_logprobs_f16: Packed | None = None
    token_entropy_f16: Packed | None = None
    token_margin_f16: Packed | None = None
    embedding: Annotated[list[float], Meta(min_length=1, max_length=8192)] | None = None
    encoder: Name | None = None
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Count | None = None
    stop: Stops | None = None
    logprobs_mode: Word | None = None
    prompt_tokens: Count | None = None
    output_tokens: Count | None = None
    latency_ms: Milliseconds | None = None
    ttft_ms: Milliseconds | None = None
    finish_reason: Word | None = None
    valid: bool | None = None
    status: Annotated[int, Meta(ge=0, le=999)] | None = None
    subject: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    sample_prob: Annotated[float, Meta(gt=0, le=1)] = 1.0
    feedback: Named | None = None


class Feedback(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """One named number about the record that ``adapter``, ``id`` and ``at`` identify."""

    adapter: Name
    id: Name
    at: Moment
    name: Name
    value: float
