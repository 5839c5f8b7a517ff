"""How an incident ends that does not recover."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Closing(StrEnum):
    """Why an incident ended without recovering: a person, a rule change or another incident."""

    ACCEPTED = "accepted"
    FALSE_PAGE = "false_page"
    RULE_CHANGED = "rule_changed"
    PART_OF_FLEET = "part_of_fleet"
    OUT_OF_SERVICE = "out_of_service"
    """The version no longer receives traffic.

    Its finding still stands, so if the version returns, it reopens the incident, as after a
    recovery.
    """


CLOSINGS: Final = {
    Closing.ACCEPTED: "accepted as normal",
    Closing.FALSE_PAGE: "closed as a false alarm",
    Closing.RULE_CHANGED: "closed by a change of rules",
    Closing.PART_OF_FLEET: "now part of a fleet incident",
    Closing.OUT_OF_SERVICE: "taken out of service",
}
"""How an incident ended that did not recover."""
