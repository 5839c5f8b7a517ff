"""Read times in the forms that logs use."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_MILLISECONDS_FROM: Final = 1e11
"""Seconds since 1970 reach this in the year 5138; such numbers are milliseconds."""
_MICROSECONDS_FROM: Final = 1e14


def moment(value: object) -> datetime | None:
    """Read a time: seconds, milliseconds or microseconds since 1970, or ISO 8601.

    Without an offset it is UTC. None for anything else.

    >>> moment(1764028800) == moment("2025-11-25T00:00:00Z") == moment("2025-11-25 00:00:00")
    True
    """
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(_seconds(float(value)), tz=UTC)
        if isinstance(value, str):
            found = datetime.fromisoformat(value.strip())
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def milliseconds(start: datetime | None, end: datetime | None) -> float | None:
    """Return the time between two moments; None if one is missing or they are reversed."""
    if start is None or end is None or end < start:
        return None
    return round((end - start).total_seconds() * 1e3, 3)


def _seconds(number: float) -> float:
    if number >= _MICROSECONDS_FROM:
        return number / 1e6
    return number / 1e3 if number >= _MILLISECONDS_FROM else number
