"""Choose a message's runbooks: what to do by kind and blame, what a detector may mean."""

from __future__ import annotations

from dataclasses import replace

from alerts.message import Alert, leading
from alerts.types import Kind


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
