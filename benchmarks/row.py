"""One line of the table: what we measured, what a peer needs, what cannot be beaten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured quantity; ``what`` says whose."""

    what: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What was wanted, what was seen, and whether that is enough."""

    text: str
    value: float
    unit: str
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table; ``number`` is the line's place in the list of goals."""

    number: int
    metric: str
    ours: Figure
    goals: tuple[Goal, ...]
    peers: tuple[Figure, ...] = ()
    limit: Figure | None = None
    note: str = ""


def at_least(text: str, *, value: float, floor: float, unit: str) -> Goal:
    """Want ``value`` at or above ``floor``."""
    return Goal(text=f"≥ {text}", value=float(value), unit=unit, met=bool(value >= floor))


def at_most(text: str, *, value: float, ceiling: float, unit: str) -> Goal:
    """Want ``value`` at or below ``ceiling``."""
    return Goal(text=f"≤ {text}", value=float(value), unit=unit, met=bool(value <= ceiling))


def to_json(row: Row) -> dict[str, Any]:
    """Write a row as JSON values."""
    return asdict(row)


def from_json(body: Mapping[str, Any]) -> Row:
    """Read what :func:`to_json` wrote."""
    limit = body["limit"]
    return Row(
        number=body["number"],
        metric=body["metric"],
        ours=Figure(**body["ours"]),
        goals=tuple(Goal(**goal) for goal in body["goals"]),
        peers=tuple(Figure(**peer) for peer in body["peers"]),
        limit=None if limit is None else Figure(**limit),
        note=body["note"],
    )
