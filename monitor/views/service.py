"""How the service itself stands, and what became of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from monitor.views.shape import View


class Readiness(View):
    """Whether the service does its work; `reasons` is empty when it does."""

    ready: bool
    version: str
    reasons: Sequence[str]


class RejectedBody(View):
    """A record that was not taken in, or not yet; the others beside it were."""

    index: int
    error: str


class OutcomeBody(View):
    """What became of a batch; the answer means that it is durable."""

    accepted: int
    duplicates: int
    sampled_out: int
    rejected: Sequence[RejectedBody]
    held: Sequence[RejectedBody] = ()
    """Records whose version is not registered yet; they wait for it in memory."""


class SharesBody(View):
    """The share of each adapter's requests to send, chosen by a hash of their ids."""

    shares: Mapping[str, float]


class RetentionBody(View):
    """How deletions stand, as a worker found them last; null: none has looked yet."""

    looked_at: datetime | None
    """By the database's clock."""
    reached: datetime | None
    """What is old as of this time is deleted."""
    withheld: str | None
    """Why not all is deleted that is old by the clock; null: it is."""
    would_drop: Mapping[str, int]
    """Days of each table that would go by the clock, while it is not."""
