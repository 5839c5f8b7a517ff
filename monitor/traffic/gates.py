"""The gates that stop any automatic move of traffic, by a fallback or a canary. Pure."""

from __future__ import annotations

from datetime import datetime
from shlex import quote

from alerts.words import clock_time
from monitor.domain import IncidentId
from monitor.store.traffic.routes import RouteRow
from monitor.traffic.killswitch import SwitchReading


def killed(switch: SwitchReading) -> str | None:
    """Say who set the kill switch, or None."""
    return f"the kill switch is on: {switch.reason}" if switch.on else None


def held(row: RouteRow | None, now: datetime) -> str | None:
    """Say until when a person has pinned the route, or None."""
    until = row.hold_until if row else None
    if until is None or now >= until:
        return None
    adapter = quote(row.route.adapter) if row else ""
    end = f"`driftline route release {adapter}` ends that"
    return f"the route is held until {clock_time(until, now=now)} ({end})"


def base_in_question(incident: IncidentId | None) -> str | None:
    """Say which open incident blames the base or its engine, or None."""
    if incident is None:
        return None
    return f"the base or its engine changed (fleet incident {incident} is open)"
