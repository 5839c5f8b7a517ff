"""Tell which hours of the day and weekdays a reference has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from detectors.season import fit_coverage
from detectors.types import Floats
from monitor.domain import ReferenceId
from monitor.store.references import references

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NOTE: Final = "seen"
"""Key of the builder's note on a reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredHours:
    """The hours of the day (24) and weekdays (7, Monday first), UTC, with at least 5 records.

    Other hours and weekdays are assumed to differ (:mod:`detectors.day_effect`), so that small
    drifts in them are not reported. A detector whose signal some records lack may have seen fewer.
    """

    hours: Sequence[bool]
    weekdays: Sequence[bool]

    @property
    def text(self) -> str:
        """Describe the unseen hours and weekdays.

        >>> office = [8 <= hour < 18 for hour in range(24)]
        >>> CoveredHours(hours=office, weekdays=[True] * 5 + [False] * 2).text
        'not seen yet: 18:00 to 08:00 UTC, Saturday, Sunday'
        >>> CoveredHours(hours=[True] * 24, weekdays=[True] * 7).text
        'every hour and weekday is seen'
        """
        days = [day for day, seen in zip(WEEKDAYS, self.weekdays, strict=True) if not seen]
        unseen = [*_ranges(self.hours), *days]
        return f"not seen yet: {', '.join(unseen)}" if unseen else "every hour and weekday is seen"


def seen_in(at: Floats) -> dict[str, list[bool]]:
    """Return the note for a baseline's times ``(n,)``, epoch seconds, as JSON."""
    found = fit_coverage(at)
    return {"hours": found.hours.tolist(), "weekdays": found.weekdays.tolist()}


def read_seen(tx: Connection, reference_id: ReferenceId) -> CoveredHours | None:
    """Read a ready reference's note; None if an earlier release built it without one."""
    note: Mapping[str, Any] | None = references.details(tx, reference_id).request.get(NOTE)
    if note is None:
        return None
    return CoveredHours(hours=tuple(note["hours"]), weekdays=tuple(note["weekdays"]))


def _ranges(hours: Sequence[bool]) -> list[str]:
    """Name runs of unseen hours; a run over midnight is one."""
    if not any(hours):
        return ["every hour"]
    starts = [hour for hour in range(24) if not hours[hour] and hours[hour - 1]]
    return [f"{start:02}:00 to {_end(hours, start):02}:00 UTC" for start in starts]


def _end(hours: Sequence[bool], start: int) -> int:
    end = start
    while not hours[end % 24]:
        end += 1
    return end % 24
