"""Decide which window to evaluate now. Pure: the clock is an argument.

Scheduled windows end on a grid of the interval, shifted by an offset per version so that a fleet is
not due all at once. A requested window ends at ``now - lag``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from monitor.domain import Interval

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MOST_SKIPPED: Final = 1_000
"""Missed windows noted one by one; in a longer absence the older ones share one note."""
LARGEST_STEP: Final = timedelta(seconds=5)
"""The longest time between two ends of windows of a fleet."""
FEWEST_STEPS: Final = 12
"""Ends of windows of a fleet within one interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often windows of one kind end, and how long after its end one is read."""

    interval: timedelta
    lag: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlan:
    """The plan for a due task: evaluate ``window`` (None if too early), note ``skipped``."""

    window: Interval | None
    skipped: tuple[Interval, ...]
    next_due: datetime


def offset_of(key: int, interval: timedelta) -> timedelta:
    """Spread versions over the interval, the same way on every daemon.

    Multiplying by the golden ratio's fraction keeps neighbouring ids far apart. Offsets are
    multiples of a step, because versions that are due together are evaluated at a lower cost.
    """
    step = min(LARGEST_STEP, interval / FEWEST_STEPS)
    return interval * ((key * 0.618_033_988_749_895) % 1.0) // step * step


def last_end(now: datetime, cadence: Cadence, offset: timedelta) -> datetime:
    """Return the newest grid point that is at least ``lag`` old."""
    since = now - cadence.lag - offset - EPOCH
    return EPOCH + offset + (since // cadence.interval) * cadence.interval


def plan(
    *,
    now: datetime,
    cadence: Cadence,
    offset: timedelta,
    start: datetime | None,
    requested: bool = False,
) -> WindowPlan:
    """Decide the window of a due task.

    ``start`` is the end of the last evaluated window (None for a new task, which begins one
    interval before its first end). After downtime the newest window runs and the others are
    skipped; a requested window takes everything since the last one, at most one interval.
    """
    grid = last_end(now, cadence, offset)
    end = now - cadence.lag if requested else grid
    due = grid + cadence.interval + cadence.lag
    if start is not None and end <= start:
        return WindowPlan(window=None, skipped=(), next_due=due)
    begin = end - cadence.interval
    if start is None or start >= begin:
        return WindowPlan(window=Interval(start=start or begin, end=end), skipped=(), next_due=due)
    return WindowPlan(
        window=Interval(start=begin, end=end),
        skipped=_missed(start, begin, cadence.interval),
        next_due=due,
    )


def _missed(start: datetime, end: datetime, interval: timedelta) -> tuple[Interval, ...]:
    count = -((start - end) // interval)
    edges = [max(start, end - k * interval) for k in range(min(count, MOST_SKIPPED) + 1)]
    missed = [Interval(start=a, end=b) for b, a in pairwise(edges) if a < b]
    if edges[-1] > start:
        missed.append(Interval(start=start, end=edges[-1]))
    return tuple(reversed(missed))
