"""A diagnosis of one part: how it is, what was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """The state of a part."""

    FINE = "fine"
    NOTE = "note"
    """It works, and something is left out or better otherwise."""
    FAULT = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A part's health, the finding in words, and advice; empty: there is nothing to do."""

    part: str
    health: Health
    found: str
    advice: str = ""


def fine(part: str, found: str, advice: str = "") -> Diagnosis:
    """Say that a part works."""
    return Diagnosis(part=part, health=Health.FINE, found=found, advice=advice)


def note(part: str, found: str, advice: str = "") -> Diagnosis:
    """Say what of a part is left out, or better otherwise."""
    return Diagnosis(part=part, health=Health.NOTE, found=found, advice=advice)


def fault(part: str, found: str, advice: str = "") -> Diagnosis:
    """Say what is wrong with a part."""
    return Diagnosis(part=part, health=Health.FAULT, found=found, advice=advice)
