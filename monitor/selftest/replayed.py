"""Divide a baseline into two halves, each fitted and replayed in turn. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.season import span_days
from detectors.types import SECONDS_PER_DAY, Window

LONG_DAYS: Final = 4.0
"""From this span on, whole days alternate between the halves; a shorter one is cut in 16."""
CHUNKS: Final = 16
_WHOLE: Final = 0.9
"""Of a day: less is used for fitting, but never replayed as a day."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cut:
    """The division of a baseline into stretches of time, alternating between the halves.

    stretches
        The rows of each, in time order; ``starts`` are their first moments.
    checks
        The number of evaluations in a replayed stretch.
    by_day
        True if a stretch is a day, so that hours and days are kept.
    """

    stretches: tuple[Rows, ...]
    starts: tuple[float, ...]
    checks: int
    check_seconds: float
    rate: float
    by_day: bool

    def half(self, number: int) -> Rows:
        """Return the rows of one half, in time order."""
        return np.concatenate([*self.stretches[number::2], np.empty(0, dtype=np.int64)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplayedCheck:
    """The rows of one evaluation of a replayed stretch, and its time."""

    stretch: int
    check: int
    start: float
    rows: Rows


def cut(baseline: Window, *, per_day: float, check_seconds: float) -> Cut:
    """Divide a baseline to be replayed at ``per_day`` records a day."""
    days = span_days(baseline.at)
    if days >= LONG_DAYS:
        return _by_day(baseline, per_day=per_day, check_seconds=check_seconds)
    rows = np.arange(len(baseline), dtype=np.int64)
    stretches = tuple(np.array_split(rows, CHUNKS))
    seconds = len(baseline) / CHUNKS / per_day * SECONDS_PER_DAY
    return Cut(
        stretches=stretches,
        starts=tuple(float(baseline.at[one[0]]) for one in stretches),
        checks=max(1, round(seconds / check_seconds)),
        check_seconds=check_seconds,
        rate=per_day * check_seconds / SECONDS_PER_DAY,
        by_day=False,
    )


def replay(baseline: Window, cut: Cut, *, half: int) -> Iterator[ReplayedCheck]:
    """Yield the evaluations of one half's stretches, at the requested traffic.

    For more traffic than the baseline had, neighbouring records are added; for less, some are left
    out; a day keeps its hours. At the baseline's own traffic every record comes once.
    """
    chosen = zip(cut.stretches[half::2], cut.starts[half::2], strict=True)
    for number, (rows, start) in enumerate(_replayable(baseline, cut, chosen)):
        places = _places(baseline, cut, rows, start)
        for check, (first, count) in enumerate(places):
            taken = rows[(first + np.arange(count)) % rows.size] if count else rows[:0]
            yield ReplayedCheck(
                stretch=number,
                check=check,
                start=start + check * cut.check_seconds,
                rows=np.sort(taken),
            )


def take(window: Window, rows: Rows, *, start: float, end: float) -> Window:
    """Return some records of a window as a window of their own."""
    return Window(
        start=start,
        end=end,
        at=window.at[rows],
        signals={name: values[rows] for name, values in window.signals.items()},
        subjects=None if window.subjects is None else window.subjects[rows],
    )


def _by_day(baseline: Window, *, per_day: float, check_seconds: float) -> Cut:
    since = baseline.at - baseline.at[0]
    day = (since // SECONDS_PER_DAY).astype(np.int64)
    stretches = tuple(np.flatnonzero(day == number) for number in range(int(day[-1]) + 1))
    usual = len(baseline) / (float(since[-1]) / SECONDS_PER_DAY)
    return Cut(
        stretches=stretches,
        starts=tuple(
            float(baseline.at[0]) + number * SECONDS_PER_DAY for number in range(len(stretches))
        ),
        checks=max(1, round(SECONDS_PER_DAY / check_seconds)),
        check_seconds=check_seconds,
        rate=per_day / usual,
        by_day=True,
    )


def _replayable(
    baseline: Window, cut: Cut, chosen: Iterator[tuple[Rows, float]]
) -> Iterator[tuple[Rows, float]]:
    """Leave out a barely begun last day, and stretches without a record."""
    for rows, start in chosen:
        days = float(baseline.at[-1] - start) / SECONDS_PER_DAY
        if rows.size and (days >= _WHOLE or not cut.by_day):
            yield rows, start


def _places(baseline: Window, cut: Cut, rows: Rows, start: float) -> list[tuple[int, int]]:
    """Return the first index and number of the records of each check, within a stretch."""
    bounds = np.arange(cut.checks + 1)
    if cut.by_day:
        edges = np.searchsorted(baseline.at[rows], start + bounds * cut.check_seconds)
        wanted = np.floor(cut.rate * edges)
    else:
        wanted = np.floor(cut.rate * bounds)
        edges = np.floor(wanted * (rows.size / max(1.0, wanted[-1])))
    counts = np.diff(wanted).astype(np.int64)
    return list(zip(edges[:-1].astype(np.int64).tolist(), counts.tolist(), strict=True))
