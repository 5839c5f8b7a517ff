"""Messages, channels and silences as people see them."""

from __future__ import annotations

from datetime import datetime

from alerts import matching
from alerts.silences import Silence
from monitor.outbox.channels import ChannelFacts
from monitor.store.incidents.deliveries import DeliveryRow
from monitor.store.incidents.receivers import ChannelHealth
from monitor.views.message import ChannelBody, DeliveryBody, SilenceBody


def delivery(row: DeliveryRow) -> DeliveryBody:
    """Write a message without its body, which may carry prompt text where people opted in."""
    words = {name: row.alert.get(name) for name in ("status", "severity", "summary")}
    return DeliveryBody.of(
        row,
        delivery=row.id,
        incident=row.incident_id,
        **{name: said if isinstance(said, str) else None for name, said in words.items()},
    )


def channel(one: ChannelFacts, health: ChannelHealth) -> ChannelBody:
    """Write a channel, and whether it takes what is sent."""
    return ChannelBody.of(
        health,
        channel=one.name,
        kind=one.kind,
        match=matching.to_json(one.matcher),
        fallback=one.fallback,
        unacknowledged_for_s=one.unacknowledged_for.total_seconds(),
        oldest_seconds=health.oldest.total_seconds(),
        failing_seconds=health.failing.total_seconds(),
    )


def silence(one: Silence, now: datetime) -> SilenceBody:
    """Write a silence."""
    return SilenceBody.of(
        one, silence=one.id, match=matching.to_json(one.matcher), active=one.active(now)
    )
