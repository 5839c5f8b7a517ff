"""Add the links that a message gets when it is sent: runbooks and the image of its signals.

Added as it is sent, so that what is sent again later leads where pages are then. The image
is for people who are not logged in, so its link is signed and ends::

    <base>/v1/incidents/7/chart.svg?expires=1772000000&signature=…
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from alerts.message import Alert, leading
from alerts.types import Kind

CHART_LASTS: Final = timedelta(days=30)
"""Counted from the message: as long as somebody may still investigate the incident."""
_PURPOSE: Final = b"driftline chart link 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLinks:
    """The service's public address, and the key that signs links to images.

    ``base_url`` is None if the service has no public address: then there are no links. ``key`` is
    None if there are no images.
    """

    base_url: str | None = None
    key: bytes | None = None

    def linked(self, alert: Alert) -> Alert:
        """Add an incident's links to its message; a test message gets none."""
        linked = with_runbooks(alert, self.base_url)
        incident = alert.links.incident
        if self.key is None or self.base_url is None or incident is None or alert.test:
            return linked
        if alert.kind is not Kind.DRIFT:
            return linked
        number = int(incident.rpartition("/")[2])
        expires = int((alert.at + CHART_LASTS).timestamp())
        query = f"expires={expires}&signature={signature(self.key, number, expires)}"
        chart = f"{self.base_url.rstrip('/')}/v1/incidents/{number}/chart.svg?{query}"
        return replace(linked, links=replace(linked.links, chart=chart))


def chart_key(subject_key: bytes) -> bytes:
    """Derive the key for links from the key that all processes of an installation share."""
    return hmac.digest(subject_key, _PURPOSE, hashlib.sha256)


def signature(key: bytes, incident: int, expires: int) -> str:
    """Sign a link to the image of an incident; ``expires`` in seconds since 1970."""
    signed = f"{incident}.{expires}".encode()
    return hmac.new(key, signed, hashlib.sha256).hexdigest()


def permits(key: bytes, incident: int, *, expires: int, signed: str, now: datetime) -> bool:
    """True if we signed the link and it has not expired."""
    ours = hmac.compare_digest(signature(key, incident, expires).encode(), signed.encode())
    return ours and now.timestamp() < expires


def with_runbooks(alert: Alert, base_url: str | None) -> Alert:
    """Add links to this service's runbooks; the adapter's own runbook comes first.

    Returns the alert unchanged for a test, or if the service's public address ``base_url`` is
    unknown. Done when a message is sent, so that a repeat links to the current pages.
    """
    if base_url is None or alert.test:
        return alert
    base = f"{base_url.rstrip('/')}/runbooks"
    lead = leading(alert.scores)
    links = replace(
        alert.links,
        runbook=alert.links.runbook or f"{base}/{runbook_of(alert)}",
        detector_runbook=None if lead is None else f"{base}/detector-{lead.detector}",
    )
    return replace(alert, links=links)


def runbook_of(alert: Alert) -> str:
    """Name the runbook about what to do."""
    return f"blame-{alert.blame}" if alert.kind is Kind.DRIFT else f"kind-{alert.kind}"
