"""Describe a move that a gate has stopped, for a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from alerts.message import ActionLine, Done
from monitor.traffic.fallback.gate_names import Gate

BRAKES: Final = frozenset({Gate.AGE, Gate.COOL_DOWN, Gate.ADAPTER_BUDGET, Gate.FLEET_BUDGET})
"""Gates that a person may pass: they say nothing against the target, nor against the finding."""
SHARED: Final = frozenset({Gate.COMMON_CAUSE, Gate.FLEET_UNSEEN, Gate.FLEET_INCIDENT})
"""Gates that doubt the base model or the engine."""
WAYS_OUT: Final[Mapping[str, str]] = {
    Gate.SELF_HEALTH: "Read some of its answers. Bad? On the incident, send traffic away from it.",
    Gate.PERSON: "Ask who set the route. Nobody there? On the incident, send traffic away.",
    Gate.HOLD: "Ask who holds the route. Nobody there? End the hold, then send traffic away on"
    " the incident.",
    Gate.KILL_SWITCH: "Ask who set the kill switch before you send traffic away.",
    Gate.TARGET: "No other version is fit: have one served and admitted, or treat it as an outage.",
}
"""The way out for a person, where the gate is more than a brake."""


def blocked_line(kind: str, gate: str | None, *, reason: str, target: str) -> ActionLine:
    """Describe a move that a gate has stopped; ``target`` is named where a person may move."""
    return ActionLine(
        done=Done.BLOCKED,
        kind=kind,
        text=reason,
        target=target if gate in BRAKES else "",
        instead=WAYS_OUT.get(gate or "", ""),
        short="move unconfirmed" if gate == Gate.UNFINISHED else "",
        unconfirmed=gate == Gate.UNFINISHED,
        shared=gate in SHARED,
    )
