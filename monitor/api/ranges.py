"""The range of time that a page shows, as its address says it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from monitor.domain import Interval

AGES: Final = ("1h", "24h", "7d", "30d")
"""The ranges that a page has buttons for."""
SHORTEST: Final = timedelta(minutes=1)
LONGEST: Final = timedelta(days=90)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_AGE: Final = re.compile(r"(\d{1,5})([mhd])")


class RangeRefused(ValueError):  # noqa: N818 - it is what a person asked for, and why not
    """The range makes no sense; the message is a sentence for the person who asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRange:
    """A range of time; ``age`` is the button that chooses it, empty for any other."""

    shown: Interval
    age: str = ""
    fixed: bool = False
    """True if it ends at a time that was asked for, and so does not move on."""

    @property
    def query(self) -> str:
        """The part of an address that asks for it again."""
        if self.age:
            return f"from={self.age}"
        start = f"from={_written(self.shown.start)}"
        return f"{start}&to={_written(self.shown.end)}" if self.fixed else start

    @property
    def zooms(self) -> dict[str, str]:
        """The neighbouring ranges, by what a link to one does."""
        start, end = self.shown.start, self.shown.end
        half = (end - start) / 2
        steps = {
            "Earlier": (start - half, end - half),
            "Later": (start + half, end + half),
            "Zoom in": (start + half / 2, end - half / 2),
            "Zoom out": (start - half, end + half),
        }
        return {
            name: f"from={_written(first)}&to={_written(last)}"
            for name, (first, last) in steps.items()
        }


def read_range(since: str, until: str, *, usual: str, now: datetime) -> TimeRange:
    """Read ``from`` and ``to`` of an address; empty ones mean ``usual`` and now.

    Each is a time in UTC or an age: ``7d`` is seven days ago.

    Raises
    ------
    RangeRefused
        One of them is neither, or they do not begin and end a range that can be shown.

    >>> found = read_range("7d", "", usual="24h", now=datetime(2026, 11, 28, tzinfo=UTC))
    >>> found.shown.start.isoformat(), found.age
    ('2026-11-21T00:00:00+00:00', '7d')
    """
    start = _moment("from", since or usual, now=now)
    end = _moment("to", until, now=now) if until else now
    if start >= end:
        raise RangeRefused(
            f"The range begins at {_said(start)}, which is not before its end, {_said(end)}."
        )
    if end - start > LONGEST:
        raise RangeRefused(f"A range has {LONGEST.days} days at most: choose a later beginning.")
    if end - start < SHORTEST:
        raise RangeRefused("A range has a minute at least: choose an earlier beginning.")
    age = (since or usual) if not until else ""
    return TimeRange(
        shown=Interval(start=start, end=end), age=age if age in AGES else "", fixed=bool(until)
    )


def age_of(text: str) -> timedelta:
    """Read an age.

    >>> age_of("7d")
    datetime.timedelta(days=7)
    """
    found = _AGE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no age")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _moment(name: str, text: str, *, now: datetime) -> datetime:
    try:
        if _AGE.fullmatch(text.strip()):
            return now - age_of(text.strip())
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RangeRefused(
            f"“{name}” is not a time: write it in UTC as 2026-11-28T14:30,"
            " or as an age such as 24h, 7d or 30d."
        ) from None


def _written(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M")


def _said(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
