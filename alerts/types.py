"""The closed sets of words that incidents and messages are made of.

``alerts`` knows nothing of the service, so the words it shares with it (verdict, blame)
are spelled again here; a test holds the two lists together.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

Moment = Annotated[datetime, Meta(tz=True)]
"""A time with its offset; reading one without is refused."""

Count = Annotated[int, Meta(ge=0)]
"""Zero or more."""


class Severity(StrEnum):
    """How urgently people are told: a ticket waits for the morning, a page does not."""

    TICKET = "ticket"
    PAGE = "page"

    @property
    def rank(self) -> int:
        """0 for a ticket, 1 for a page: larger is more urgent."""
        return 1 if self is Severity.PAGE else 0


class Kind(StrEnum):
    """What an incident is about. Kinds are kept apart: none resolves another."""

    DRIFT = "drift"
    NO_DATA = "no_data"
    BLIND = "blind"
    """Records come, and too few of them can be compared with the reference."""
    ERROR = "error"
    ROUTING = "routing"
    RETRAIN = "retrain"
    CANARY = "canary"


class Status(StrEnum):
    """What a message says about its incident."""

    STARTED = "started"
    WORSENED = "worsened"
    RECOVERED = "recovered"
    REOPENED = "reopened"
    UPDATED = "updated"
    """It goes on, and something else is known of it than people were told."""
    ACKNOWLEDGED = "acknowledged"
    """Somebody has it in hand; told only to receivers that keep incidents of their own."""


class Reason(StrEnum):
    """Why a message is sent now; Alertmanager's words, and our own for what it has not."""

    FIRST = "first_notification"
    NEW_ALERTS = "new_alerts_in_group"
    NEW_RESOLVED = "new_resolved_alerts"
    ALL_RESOLVED = "all_alerts_resolved"
    UPDATED = "incident_updated"
    REPEAT = "repeat_interval_elapsed"
    ACKNOWLEDGED = "acknowledged"
    LET_GO = "acknowledgement_ended"
    """Repeated as nobody has it in hand any more; only to receivers that knew who had."""


class Verdict(StrEnum):
    """What the service knows about an adapter version."""

    LEARNING = "learning"
    STABLE = "stable"
    BLIND = "blind"
    DRIFTING = "drifting"
    CRITICAL = "critical"
    INSUFFICIENT = "insufficient"
    ERROR = "error"


class Blame(StrEnum):
    """Where the change sits."""

    UNKNOWN = "unknown"
    INPUT = "input"
    ADAPTER = "adapter"
    BASE = "base"
    SERVING = "serving"


class Sureness(StrEnum):
    """How sure it is where the change sits."""

    CONFIRMED = "confirmed"
    LIKELY = "likely"
    NOT_CONFIRMED = "not confirmed"
