"""Extrapolate a week of perplexity runs: its mean, its slope, and when it crosses +5 %.

:func:`detectors.perplexity.compare` sees a step at once. The week's mean is for slow changes, and
for a level near the line: it sees a step of +6 % after 6 days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from detectors.perplexity import MARGIN
from detectors.types import Floats

DAY = 86_400.0
WEEK = 7 * DAY
HORIZON = 90 * DAY
"""A line extrapolated further than this from a week of runs means nothing."""
WHOLE_DAYS = 6.0
"""Daily runs of a week span six days."""
FEWEST = 4
"""With fewer runs a line's error is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendCrossing:
    """When the week's mean would reach +5 % if its trend continued; POSIX seconds.

    ``earliest`` to ``latest`` is a 95 % interval.
    """

    at: float
    earliest: float
    latest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """The last 7 days of runs.

    mean
        Perplexity ratio - 1 of their mean log ratio.
    whole
        True if the history covers the 7 days and the runs at least 6 of them; at the beginning, and
        after a downtime, the mean covers less than a week.
    slope
        Change of the log ratio per day; NaN with fewer than 4 runs or less than a day.
    crossing
        None if the mean is already above the line, does not surely rise, or would not cross it
        within 90 days.
    """

    mean: float
    whole: bool
    slope: float
    crossing: TrendCrossing | None

    @property
    def degraded(self) -> bool:
        """True if a whole week's mean is at +5 % or above."""
        return self.whole and self.mean >= MARGIN


def trend(at: Floats, log_ratio: Floats, *, since: float) -> Trend | None:
    """Return the trend of the last 7 days of runs; None without a run.

    The rolling mean of a line runs parallel to it, so it crosses where ``mean + slope t``
    does. The moment's interval is Fieller's: all ``t`` at which the mean's 95 % band
    covers the line; it is bounded where the slope differs from 0, and only then is a
    moment told.

    Parameters
    ----------
    at, log_ratio
        ``(R,)`` POSIX seconds, ascending, and log of the perplexity ratio. Runs older than
        7 days before the newest are left out.
    since
        When the reference of the comparison was made: the history's beginning.

    Notes
    -----
    E. C. Fieller, "Some problems in interval estimation", JRSS B 16 (1954).
    """
    if at.size == 0:
        return None
    now = float(at[-1])
    recent = at > now - WEEK
    days, ratios = (at[recent] - now) / DAY, log_ratio[recent]
    mean = float(ratios.mean())
    slope, moment = np.nan, None
    if days.size >= FEWEST and np.ptp(days) >= 1.0:
        slope, error, spread = _line(days, ratios)
        moment = _moment(mean, slope, error=error, spread=spread, freedom=days.size - 2)
    return Trend(
        mean=float(np.expm1(mean)),
        whole=now - since >= WEEK and bool(np.ptp(days) >= WHOLE_DAYS),
        slope=slope,
        crossing=None
        if moment is None
        else TrendCrossing(
            at=now + moment[0] * DAY,
            earliest=now + moment[1] * DAY,
            latest=now + moment[2] * DAY,
        ),
    )


def _line(days: Floats, ratios: Floats) -> tuple[float, float, float]:
    """Return slope, its standard error and that of the mean, by least squares."""
    centred = days - days.mean()
    squares = float(centred @ centred)
    slope = float(centred @ ratios) / squares
    residual = ratios - ratios.mean() - slope * centred
    variance = float(residual @ residual) / (days.size - 2)
    return slope, float(np.sqrt(variance / squares)), float(np.sqrt(variance / days.size))


def _moment(
    mean: float, slope: float, *, error: float, spread: float, freedom: int
) -> tuple[float, float, float] | None:
    """Return the days until the crossing, its earliest and its latest; None if not certain."""
    missing = float(np.log1p(MARGIN)) - mean
    if missing <= 0.0 or slope <= 0.0 or missing / slope > HORIZON / DAY:
        return None
    t = float(scipy.special.stdtrit(freedom, 0.975))
    a = slope**2 - (t * error) ** 2
    if a <= 0.0:
        return None
    half = t * np.sqrt(error**2 * missing**2 + a * spread**2)
    earliest, latest = (slope * missing - half) / a, (slope * missing + half) / a
    return missing / slope, max(float(earliest), 0.0), float(latest)
