"""The closed sets of words in incidents and messages; the service speaks by the same ones."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

Moment = Annotated[datetime, Meta(tz=True)]
"""A time with its offset; a time without one is refused."""

Count = Annotated[int, Meta(ge=0)]
"""Zero or more."""


class Severity(StrEnum):
    """The urgency of a message: a ticket waits for the morning, a page does not."""

    TICKET = "ticket"
    PAGE = "page"

    @property
    def rank(self) -> int:
        """0 for a ticket, 1 for a page; larger is more urgent."""
        return 1 if self is Severity.PAGE else 0


class Kind(StrEnum):
    """An incident's subject; an incident of one kind never resolves another kind."""

    DRIFT = "drift"
    NO_DATA = "no_data"
    BLIND = "blind"
    """Records come, but too few of them can be compared with the reference."""
    ERROR = "error"
    ROUTING = "routing"
    RETRAIN = "retrain"
    CANARY = "canary"


class Status(StrEnum):
    """A message's news about its incident."""

    STARTED = "started"
    WORSENED = "worsened"
    RECOVERED = "recovered"
    REOPENED = "reopened"
    UPDATED = "updated"
    """It is still open, and its facts differ from what people were told."""
    ACKNOWLEDGED = "acknowledged"
    """Somebody acknowledged it; sent only to receivers with their own incidents."""


class Reason(StrEnum):
    """Why a message is sent now, in Alertmanager's words where it has one."""

    FIRST = "first_notification"
    NEW_ALERTS = "new_alerts_in_group"
    NEW_RESOLVED = "new_resolved_alerts"
    ALL_RESOLVED = "all_alerts_resolved"
    NOT_ACKNOWLEDGED = "not_acknowledged"
    """The first message to a channel that hears only of what nobody has acknowledged."""
    UPDATED = "incident_updated"
    REPEAT = "repeat_interval_elapsed"
    ACKNOWLEDGED = "acknowledged"
    LET_GO = "acknowledgement_ended"
    """Repeated because the acknowledgement ended; sent only to receivers that were told of it."""


class VerdictKind(StrEnum):
    """The service's verdict on an adapter version."""

    LEARNING = "learning"
    STABLE = "stable"
    BLIND = "blind"
    DRIFTING = "drifting"
    CRITICAL = "critical"
    INSUFFICIENT = "insufficient"
    ERROR = "error"


class Blame(StrEnum):
    """Where the change lies."""

    UNKNOWN = "unknown"
    INPUT = "input"
    ADAPTER = "adapter"
    BASE = "base"
    SERVING = "serving"


class Sureness(StrEnum):
    """The certainty of the blame."""

    CONFIRMED = "confirmed"
    LIKELY = "likely"
    """The signals say so; no probe has confirmed it."""
    NOT_CONFIRMED = "not confirmed"
