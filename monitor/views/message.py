"""Messages, the channels that take them, and silences."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from monitor.views.shape import View
from monitor.views.vocabulary import DeliveryWord


class ChannelBody(View):
    """A configured channel. Addresses and secrets stay in the config."""

    channel: str
    kind: str
    match: dict[str, object]
    """As in the config; empty: it gets everything."""
    fallback: str | None
    unacknowledged_for_s: float
    """It hears only of incidents that nobody has acknowledged for so many seconds; 0: of all."""
    waiting: int
    """Messages that it has not taken yet."""
    oldest_seconds: float
    """Age of the oldest of them; 0: there is none."""
    failing_seconds: float
    """Age of the oldest that was tried; 0: none failed."""
    degraded: bool
    """It has failed for 10 minutes; it is tried all the same."""
    dead: int
    """Dead letters, to be replayed."""


class TrialBody(View):
    """What became of a trial. ``answer`` says what the receiver said, or why nobody was asked."""

    channel: str
    taken: bool
    answer: str
    deliveries: Sequence[DeliveryBody]
    """The start, and if taken, the end."""


class DeliveryBody(View):
    """One message for one channel. Its text stays with the receiver: only words are shown."""

    delivery: UUID
    message: UUID
    """The id that its receiver sees; one for what is told together."""
    channel: str
    incident: int | None
    state: DeliveryWord
    status: str | None
    severity: str | None
    summary: str | None
    attempts: int
    last_error: str | None
    created_at: datetime
    next_at: datetime
    delivered_at: datetime | None


class SilenceBody(View):
    """Matches the messages that are held back from ``starts_at`` until before ``ends_at``."""

    silence: int
    match: dict[str, object]
    """As a channel's `match`."""
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str
    active: bool
    """Whether it holds now."""
