"""What receivers document that they take, to read our bodies with.

PagerDuty: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ and the
OpenAPI document of its Events API v2.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Url = Annotated[str, Meta(pattern=r"^https?://[^\s]+$")]


class PagerDutyLink(Struct, forbid_unknown_fields=True, kw_only=True):
    href: Url
    text: str = ""


class PagerDutyPayload(Struct, forbid_unknown_fields=True, kw_only=True):
    summary: Annotated[str, Meta(min_length=1, max_length=1024)]
    source: Annotated[str, Meta(min_length=1)]
    severity: Literal["critical", "error", "warning", "info"]
    timestamp: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")] = ""
    component: str = ""
    group: str = ""
    class_: str = msgspec.field(name="class", default="")
    custom_details: dict[str, Any]


class PagerDutyEvent(Struct, forbid_unknown_fields=True, kw_only=True):
    routing_key: Annotated[str, Meta(min_length=32, max_length=32)]
    event_action: Literal["trigger", "acknowledge", "resolve"]
    dedup_key: Annotated[str, Meta(min_length=1, max_length=255)]
    payload: PagerDutyPayload | None = None
    links: list[PagerDutyLink] = []
    client: str = ""
    client_url: Url | None = None


def pagerduty_event(body: bytes) -> PagerDutyEvent:
    """Read one event; a trigger must have a payload."""
    event = msgspec.json.decode(body, type=PagerDutyEvent)
    assert event.event_action != "trigger" or event.payload is not None
    return event
