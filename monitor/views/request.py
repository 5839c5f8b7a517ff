"""Single requests, beside the nearest training examples."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.views.score import NeighbourBody, WindowBody
from monitor.views.shape import View


class RequestView(View):
    """A request with its answer, as far as they are known."""

    id: str
    at: datetime
    version: str
    status: int | None
    finish_reason: str | None
    prompt_tokens: int | None
    output_tokens: int | None
    latency_ms: float | None
    mean_nll: float | None
    """Of its answer's tokens, in nats; more is less certain."""
    prompt: str | None
    """Redacted; null: text is not stored."""
    output: str | None
    similarity: float | None
    """To its nearest training example when it was compared; null: it was not."""
    nearest: NeighbourBody | None
    """That example in the reference in force; null: it was compared with another one."""


class RequestList(View):
    """A page of requests; `next` goes into `cursor` for the page after it."""

    items: Sequence[RequestView]
    next: str | None
    window: WindowBody
    """The interval that is listed, the same on all pages."""
    cut: bool
    """Whether only the newest 200,000 records of the range are looked at."""
    why_empty: str | None
    """Why there is nothing, and what to do; null: there is something."""
