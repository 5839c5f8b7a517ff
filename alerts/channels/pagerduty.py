"""Post to PagerDuty's Events API v2: trigger, acknowledge and resolve alerts.

https://developer.pagerduty.com/docs/events-api-v2/overview/
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final, Literal

import msgspec

from alerts.brief import Brief, brief, written
from alerts.delivery import Delivered
from alerts.formats import fitting
from alerts.incident import LONGEST_DEDUP_KEY
from alerts.message import Alert, to_json
from alerts.outgoing import OutgoingClient
from alerts.posting import check_timeout, post_body
from alerts.types import Reason, Severity, Status

LONGEST_SUMMARY: Final = 1024
ROUTING_KEY: Final = re.compile(r"[A-Za-z0-9]{32}")


class Region(StrEnum):
    """The region of the PagerDuty account; a key works in its own region only."""

    US = "us"
    EU = "eu"


ENDPOINTS: Mapping[Region, str] = {
    Region.US: "https://events.pagerduty.com/v2/enqueue",
    Region.EU: "https://events.eu.pagerduty.com/v2/enqueue",
}
SEVERITIES: Mapping[Severity, str] = {Severity.PAGE: "critical", Severity.TICKET: "warning"}
"""With a service's urgency by severity, ``critical`` wakes people and ``warning`` does not."""
DETAILS: Final = (
    *("id", "number", "kind", "status", "adapter", "version", "together", "owner", "tier"),
    *(
        "labels",
        "verdict",
        "blame",
        "update",
        "reason",
        "started_at",
        "recovered_at",
        "onset",
        "requests",
    ),
    *("unlike", "new", "unseen", "scores", "action", "late", "test"),
)
"""Fields of an alert that go into ``custom_details``; never the examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDutySettings:
    """Keys of a ``[[channels]]`` entry of kind ``pagerduty``.

    routing_key
        Integration key of the service: 32 letters and digits.
    url
        Replaces the region's address, for a proxy of your own.
    timeout
        Total seconds for one request.
    """

    routing_key: str = field(repr=False)
    region: Region = Region.US
    url: str | None = field(default=None, repr=False)
    timeout: float = 15.0

    def __post_init__(self) -> None:
        if ROUTING_KEY.fullmatch(self.routing_key) is None:
            raise ValueError("routing_key must be 32 letters and digits: an integration key")
        check_timeout(self.timeout)

    @property
    def endpoint(self) -> str:
        """The URL that events are posted to."""
        return ENDPOINTS[self.region] if self.url is None else self.url


class PagerDuty:
    """Opens one alert for each incident and severity.

    A page has its own key: PagerDuty stays silent about new triggers of an acknowledged alert, and
    acknowledging a ticket does not acknowledge a page. For the same reason, when an acknowledgement
    ends, the alert is resolved and opened anew.
    """

    def __init__(self, settings: PagerDutySettings, client: OutgoingClient) -> None:
        self._settings = settings
        self._client = client
        client.check(settings.endpoint)

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        """Send one event, or two.

        When a ticket has become a page, the page's trigger goes first. When an acknowledgement has
        ended, the resolve of the acknowledged alert goes first. News about an open alert is added
        to it and calls nobody who acknowledged it.
        """
        key = self._settings.routing_key
        if not alert.firing:
            return self._send(follow_up("resolve", alert.id, alert.severity, routing_key=key))
        if alert.status is Status.ACKNOWLEDGED:
            return self._send(follow_up("acknowledge", alert.id, alert.severity, routing_key=key))
        if alert.notification_reason is Reason.LET_GO:
            self._send(follow_up("resolve", alert.id, alert.severity, routing_key=key))
        taken = self._send(trigger(alert, message_id, routing_key=key))
        if alert.status is Status.WORSENED:
            return self._send(follow_up("resolve", alert.id, Severity.TICKET, routing_key=key))
        return taken

    def _send(self, event: bytes) -> Delivered:
        return post_body(
            self._client, self._settings.endpoint, event, timeout=self._settings.timeout
        )


def trigger(alert: Alert, message_id: str, *, routing_key: str) -> bytes:
    """Render the event that opens an alert, or adds to it; under 20 kB."""
    return fitting(alert, partial(_trigger, message_id=message_id, routing_key=routing_key))


def follow_up(
    action: Literal["acknowledge", "resolve"],
    incident: str,
    severity: Severity,
    *,
    routing_key: str,
) -> bytes:
    """Render the event that acknowledges or resolves an alert; PagerDuty ignores unknown ones."""
    return msgspec.json.encode(
        {
            "routing_key": routing_key,
            "event_action": action,
            "dedup_key": dedup_key(incident, severity),
        }
    )


def dedup_key(incident: str, severity: Severity) -> str:
    """Name the alert of one incident at one severity; at most 255 characters."""
    key = f"{incident}:{severity}"
    if len(key) <= LONGEST_DEDUP_KEY:
        return key
    return f"driftline:{hashlib.sha256(incident.encode()).hexdigest()}:{severity}"


def _trigger(alert: Alert, *, truncated: bool, message_id: str, routing_key: str) -> bytes:
    event = {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": dedup_key(alert.id, alert.severity),
        "client": "Driftline",
        "payload": _payload(alert, truncated=truncated, message_id=message_id),
        "links": _links(alert),
    }
    if alert.links.dashboard is not None:
        event["client_url"] = alert.links.dashboard
    return msgspec.json.encode(event)


def _payload(alert: Alert, *, truncated: bool, message_id: str) -> dict[str, object]:
    facts = to_json(alert)
    together, said = alert.together, brief(alert)
    adapter = f"{alert.adapter}@{alert.version}"
    payload: dict[str, object] = {
        "summary": _summary(alert, said)[:LONGEST_SUMMARY] or alert.kind.value,
        "source": adapter if together is None else together.base or "unknown base model",
        "severity": SEVERITIES[alert.severity],
        "timestamp": facts["at"],
        "class": alert.kind.value,
        "custom_details": {
            **written(said),
            **{name: facts[name] for name in DETAILS},
            "changes": [change.text for change in alert.changes],
            "message_id": message_id,
            "truncated": truncated,
        },
    }
    if together is None:
        payload["component"] = alert.adapter
    if alert.owner:
        payload["group"] = alert.owner
    return payload


def _summary(alert: Alert, said: Brief) -> str:
    """Put an update into the summary: PagerDuty shows only this line of an added event."""
    return f"{said.title}. {alert.update.text}" if alert.update else said.title


def _links(alert: Alert) -> list[dict[str, str]]:
    links = (
        ("Incident", alert.links.incident),
        ("Chart", alert.links.chart),
        ("Runbook", alert.links.runbook),
        ("About the detector", alert.links.detector_runbook),
        ("Dashboard", alert.links.dashboard),
    )
    return [{"href": href, "text": text} for text, href in links if href is not None]
