"""Try a channel: send a message marked as a test the same way as all messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import Connection

import alerts.types as words
from alerts.message import Alert
from alerts.message import to_json as alert_to_json
from monitor.store.incidents import deliveries, outbox
from monitor.store.incidents.deliveries import DeliveryRow
from monitor.store.incidents.outbox import DeliveryState

UNTAKEN = "no worker took it up in time; is `driftline serve` running with a worker?"


def trial_alerts(
    channel: str, *, by: str, severity: words.Severity, at: datetime
) -> Sequence[Alert]:
    """Return the two messages of a trial: the start of a made-up incident, and its end.

    With both, a receiver that keeps state (PagerDuty, Alertmanager) has nothing left open.
    """
    started = _alert(channel, by=by, severity=severity, at=at)
    ended = _alert(channel, by=by, severity=severity, at=at, id=started.id, ended_at=at)
    return started, ended


def queue(tx: Connection, channel: str, alert: Alert) -> UUID:
    """Queue a trial message; it is sent if the transaction commits."""
    return outbox.enqueue(tx, channel=channel, alert=alert_to_json(alert))


def answered(tx: Connection, message: UUID) -> DeliveryRow | None:
    """Return the message once its first attempt has a result, else None.

    A trial is not retried: a message that the receiver did not accept is withdrawn.
    """
    row = deliveries.fetch(tx, message)
    if row is None or (row.state is DeliveryState.QUEUED and row.last_error is None):
        return None
    return row if row.state is not DeliveryState.QUEUED else given_up(tx, message)


def given_up(tx: Connection, message: UUID) -> DeliveryRow | None:
    """Withdraw a message that no worker took in time; return its row."""
    outbox.withdraw(tx, message, error=UNTAKEN)
    return deliveries.fetch(tx, message)


def _alert(
    channel: str,
    *,
    by: str,
    severity: words.Severity,
    at: datetime,
    id: str | None = None,  # noqa: A002 - the alert's own field
    ended_at: datetime | None = None,
) -> Alert:
    over = ended_at is not None
    return Alert(
        id=id or f"driftline:test:{uuid4()}",
        number=1,
        kind=words.Kind.DRIFT,
        adapter="test",
        version="test",
        status=words.Status.RECOVERED if over else words.Status.STARTED,
        severity=severity,
        verdict=words.VerdictKind.STABLE if over else words.VerdictKind.DRIFTING,
        summary=f"Test of channel {channel}{', its end' if over else ''}: nothing happened",
        reason=f"{by} asked for it",
        at=at,
        started_at=at,
        recovered_at=ended_at,
        test=True,
    )
