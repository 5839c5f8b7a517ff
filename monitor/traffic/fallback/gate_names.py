"""The checks that can stop a move, by name and in words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from alerts.message import ActionLine, Done


class Gate(StrEnum):
    """The name of the check that stopped a move."""

    EVIDENCE = "evidence"
    VERDICT = "verdict"
    TRAFFIC = "traffic"
    UNFINISHED = "unfinished"
    AGE = "age"
    PERSON = "person"
    HOLD = "hold"
    COMMON_CAUSE = "common_cause"
    FLEET_UNSEEN = "fleet_unseen"
    TARGET = "target"
    ADMISSION = "admission"
    KILL_SWITCH = "kill_switch"
    FLEET_INCIDENT = "fleet_incident"
    SELF_HEALTH = "self_health"
    COOL_DOWN = "cool_down"
    ADAPTER_BUDGET = "adapter_budget"
    FLEET_BUDGET = "fleet_budget"


WHY_BLOCKED: Final[Mapping[str, str]] = {
    Gate.AGE: "the evidence was too old",
    Gate.PERSON: "a person had set the route since",
    Gate.HOLD: "the route was held",
    Gate.COMMON_CAUSE: "several adapters turned critical together",
    Gate.FLEET_UNSEEN: "other adapters had not been evaluated yet",
    Gate.TARGET: "there was no version to move to",
    Gate.ADMISSION: "the version to move to was not admitted",
    Gate.KILL_SWITCH: "the kill switch was on",
    Gate.FLEET_INCIDENT: "the base model itself was in doubt",
    Gate.SELF_HEALTH: "Driftline could not trust its own measurements",
    Gate.COOL_DOWN: "traffic had been moved shortly before",
    Gate.ADAPTER_BUDGET: "the adapter had used its fallbacks of the day",
    Gate.FLEET_BUDGET: "the fleet had used its fallbacks of the hour",
}
"""The words for people about a gate that kept Driftline from moving traffic."""


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
